"""Find the user's cache folder, make keys for its entries, and remove those that nobody uses."""

from __future__ import annotations

import hashlib
import json
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

KEPT_DAYS: Final = 90


def cache_folder(room: str) -> Path:
    """Return $XDG_CACHE_HOME/darnet-trt/ROOM, or ~/.cache/darnet-trt/ROOM; it need not exist."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "darnet-trt" / room


def digest(*parts: object) -> str:
    """Return the first 32 hexadecimal digits of the SHA-256 of JSON values and bytes."""
    found = hashlib.sha256()
    for part in parts:
        found.update(part if isinstance(part, bytes) else json.dumps(part, sort_keys=True).encode())
        found.update(b"\0")
    return found.hexdigest()[:32]


def used(file: Path) -> None:
    """Note that an entry is used today, if it is there: `drop_unused` goes by a file's time."""
    with suppress(OSError):
        os.utime(file)


def drop_unused(room: str) -> None:
    """Remove the files of a room that nobody wrote or `used` for `KEPT_DAYS`, and empty folders."""
    oldest = time.time() - KEPT_DAYS * 86_400
    with suppress(OSError):  # a cache may be missing
        for path in sorted(cache_folder(room).rglob("*"), reverse=True):  # a folder after its files
            with suppress(OSError):  # not empty, or removed meanwhile
                if path.is_dir():
                    path.rmdir()
                elif path.lstat().st_mtime < oldest:
                    path.unlink()
