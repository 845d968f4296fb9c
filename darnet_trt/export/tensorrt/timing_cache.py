"""TensorRT's timing cache: what it measured in one build, for the next.

One file for each version and GPU, in the user's cache. It is replaced in one step, so that two
builds at once both find a whole file; the later one's measurements stay. A cache that TensorRT
does not take is no error: it starts a new one. TensorRT-RTX measures nothing and has none.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from darnet_trt.errors import OutputError
from darnet_trt.machine.cache import cache_folder
from darnet_trt.machine.files import whole_file

__all__ = ["file_for", "load", "store"]


def file_for(version: str, target: str) -> Path:
    """Where the cache of one TensorRT version and GPU is."""
    return cache_folder("timing") / f"tensorrt-{version}-{target}.cache"


def load(config: Any, file: Path) -> None:
    """Give the builder what the file has, or an empty cache, which it will fill."""
    try:
        content = file.read_bytes()
    except OSError:
        content = b""
    if not config.set_timing_cache(config.create_timing_cache(content), False):
        # Of another version or GPU, whatever its name says.
        config.set_timing_cache(config.create_timing_cache(b""), False)


def store(config: Any, file: Path) -> str | None:
    """Keep what the builder measured; the reason where it cannot be kept."""
    content = bytes(config.get_timing_cache().serialize())
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(file) as out:
            out.write(content)
    except (OSError, OutputError) as error:
        return str(error)
    return None
