"""Files inside packed files."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO


def open_file(path: Path) -> BinaryIO:
    """Open a file of a scan for reading; the stream can seek.

    Raises:
        OSError: As `Path.open` does.
    """
    return path.open("rb")
