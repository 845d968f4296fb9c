"""TensorRT's timing cache: measurements of one build that speed up the next.

There is one file for each version and GPU, in the user's cache. It is replaced in one step, so
that parallel builds always read a whole file; the last one's measurements stay. If TensorRT
rejects a cache, a new one is started. TensorRT-RTX measures nothing and has no such cache.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from darnet_trt.errors import OutputError
from darnet_trt.machine.cache import cache_folder
from darnet_trt.machine.files import whole_file


def file_for(version: str, target: str) -> Path:
    """Return the path of the cache for a TensorRT version and GPU."""
    return cache_folder("timing") / f"tensorrt-{version}-{target}.cache"


def load(config: Any, file: Path) -> None:
    """Give the builder the cache in the file, or an empty one, which it will fill."""
    try:
        content = file.read_bytes()
    except OSError:
        content = b""
    # A file may be damaged, or of another version or GPU in spite of its name.
    for start in (content, b""):
        cache = config.create_timing_cache(start)
        if cache is not None and config.set_timing_cache(cache, False):
            return


def store(config: Any, file: Path) -> str | None:
    """Save the builder's measurements; return the reason if that fails."""
    cache = config.get_timing_cache()
    saved = None if cache is None else cache.serialize()
    if saved is None:
        return "TensorRT gives none"
    content = bytes(saved)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(file) as out:
            out.write(content)
    except (OSError, OutputError) as error:
        return str(error)
    return None
