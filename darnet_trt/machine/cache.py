"""Find the user's cache folder, and make keys for its entries."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path


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
