"""Options that take a number or a range: `--slices 30:300`, `--batch 4`."""

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
