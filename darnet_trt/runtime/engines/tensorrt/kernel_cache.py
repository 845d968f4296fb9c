"""TensorRT-RTX's runtime cache: the kernels it compiled while a plan ran, for the next start.

A plan of TensorRT-RTX holds no machine code: its kernels are compiled on the GPU's machine when
they are first needed. One file for each plan, in the user's cache. TensorRT-RTX itself refuses one
of another version, GPU or driver. A cache that it does not take or that cannot be read or kept is
no error: the kernels are compiled once more.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from darnet_trt.errors import OutputError
from darnet_trt.machine.cache import cache_folder
from darnet_trt.machine.files import whole_file

__all__ = ["RuntimeCache", "file_for"]


def file_for(sha256: str) -> Path:
    """Where the cache of the plan with that digest is."""
    return cache_folder("runtime") / f"{sha256}.cache"


class RuntimeCache:
    """One plan's, which all its contexts share.

    Args:
        engine: The `ICudaEngine`; the GPU must be this thread's.
        file: Read now, and written by `store`.
    """

    def __init__(self, engine: Any, file: Path) -> None:
        self._file = file
        self._cache = engine.create_runtime_config().create_runtime_cache()
        with suppress(OSError):
            self._cache.deserialize(file.read_bytes())

    def serve(self, config: Any) -> None:
        """Let the contexts of an `IRuntimeConfig` take kernels from it and add to it."""
        config.set_runtime_cache(self._cache)

    def store(self) -> None:
        """Keep what it holds by now."""
        content = self._cache.serialize()
        if content is None:  # the GPU failed
            return
        with suppress(OSError, OutputError):
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with whole_file(self._file) as out:
                out.write(bytes(content))
