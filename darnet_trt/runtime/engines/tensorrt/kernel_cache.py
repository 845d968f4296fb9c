"""Keep the kernels that TensorRT-RTX compiled for a plan, for the next start.

A plan of TensorRT-RTX has no machine code: its kernels are compiled on the GPU's machine when they
are first needed. The user's cache has one file for each plan. TensorRT-RTX refuses a file of
another version, GPU or driver. A cache that is refused or cannot be read or written is no error:
the kernels are compiled again.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from darnet_trt.errors import OutputError
from darnet_trt.machine.cache import cache_folder
from darnet_trt.machine.files import whole_file


def file_for(sha256: str) -> Path:
    """Return the cache file of the plan with this digest."""
    return cache_folder("runtime") / f"{sha256}.cache"


class RuntimeCache:
    """The runtime cache of one plan, shared by its contexts.

    Args:
        config: The `IRuntimeConfig` of its contexts, which read kernels from the cache and add to
            it; the GPU must be current in this thread.
        file: Read now, and written by `store`.
    """

    def __init__(self, config: Any, file: Path) -> None:
        self._file = file
        self._cache = config.create_runtime_cache()
        with suppress(OSError):
            self._cache.deserialize(file.read_bytes())
        config.set_runtime_cache(self._cache)

    def store(self) -> None:
        """Write the cache to its file."""
        content = self._cache.serialize()
        if content is None:  # the GPU failed
            return
        with suppress(OSError, OutputError):
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with whole_file(self._file) as out:
                out.write(bytes(content))
