"""Options that take a number, a range or a list: `--slices 30:300`, `--batch 1,2,4`."""

from __future__ import annotations

import re

from darnet_trt.errors import UsageError


def number_range(text: str, option: str) -> tuple[int, int]:
    """Return the ends of a range: "30:300" → (30, 300), "4" → (4, 4).

    Raises:
        UsageError: It is neither a number nor a range.
    """
    match = re.fullmatch(r"(\d{1,6})(?::(\d{1,6}))?", text)
    if match is None:
        raise UsageError(
            f"{text!r} is neither a number nor a range such as 1:8", where=option, do="correct it"
        )
    return int(match[1]), int(match[2] or match[1])


def numbers(text: str, option: str) -> list[int]:
    """Return the numbers of a list, each once: "1,2,4" → [1, 2, 4].

    Raises:
        UsageError: It is no list of numbers above 0.
    """
    words = [word.strip() for word in text.split(",")]
    if not all(re.fullmatch(r"0*[1-9]\d{0,5}", word) for word in words):
        raise UsageError(
            f"{text!r} is no list of numbers from 1 to 999999", where=option, do="write it as 1,2,4"
        )
    return list(dict.fromkeys(map(int, words)))
