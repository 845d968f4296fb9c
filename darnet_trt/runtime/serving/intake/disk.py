"""Put files on the disk."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import BinaryIO


def write_out(file: BinaryIO) -> None:
    """Have a file's content on the disk."""
    file.flush()
    os.fsync(file.fileno())


def link(source: Path, target: Path) -> bool:
    """Give a file another name; return whether it was free."""
    try:
        os.link(source, target)
    except FileExistsError:
        return False
    return True


def remove(path: Path) -> None:
    """Remove a file, or a folder with all in it; none need be there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
