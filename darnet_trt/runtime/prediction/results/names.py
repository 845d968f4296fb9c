"""Name the files of a result so that a person finds them."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

from darnet_trt.runtime.prediction.results.result import Result


def scan_name(scan: str) -> str:
    """Return the last two parts of a scan's path: the last one alone is often only a number."""
    return "/".join(part for part in Path(scan).parts[-2:] if part != os.sep)


def result_name(result: Result) -> str:
    """Return the start of a file name that a person finds, different for each study.

    Such as `P0001-1_series-3_Thorax-B40f_1cf44c9d`: the last two parts of the study's path, the
    number and description of the series, and 8 digits of a hash of the study's key. It says nothing
    of the patient but what the path and the description say.
    """
    series = result.series
    parts = [_readable(scan_name(result.scan)[-60:]) or "scan"]
    if series is not None and series.number is not None:
        parts.append(f"series-{series.number}")
    if series is not None:
        parts.append(_readable(series.description[:40]))
    key = result.key.encode("utf-8", "backslashreplace")
    return "_".join([*filter(None, parts), short_hash(key)])


def short_hash(content: bytes) -> str:
    """Return 8 hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()[:8]


def _readable(text: str) -> str:
    """Return text with letters and digits alone, and hyphens in place of all others."""
    return re.sub("[^A-Za-z0-9]+", "-", text).strip("-")
