"""Read the value of `--memory`."""

from __future__ import annotations

import re
from typing import Final

from darnet_trt.errors import UsageError

_UNITS: Final = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def memory_size(text: str | None) -> int | None:
    """Return bytes: 4G, 1500M, 1.5GB or 2GiB, all in powers of 1024.

    Raises:
        UsageError: It is no size.
    """
    if text is None:
        return None
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*([KMGT]?)(?:I?B)?", text.strip().upper())
    if match is None:
        what = f"{text!r} is not a size"
        raise UsageError(what, where="--memory", do="write it as 4G or 1500M")
    return int(float(match[1]) * _UNITS[match[2]])
