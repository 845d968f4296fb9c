"""Say what a part of this process's work cost: time, processor time, bytes from files."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Final, NamedTuple

from darnet_trt.runtime.bench.signs.readable import readable

_IO: Final = Path("/proc/self/io")


class Cost(NamedTuple):
    """Count the cost of a part of the work, or of all so far; NaN where it is not readable.

    Attributes:
        ms: Wall time.
        cpu_ms: Processor time of all threads.
        read_mb: 10^6 bytes from files, from the file cache too (proc_pid_io(5): rchar).
        from_disk_mb: 10^6 bytes that the kernel fetched from a storage device (read_bytes).
    """

    ms: float
    cpu_ms: float
    read_mb: float = 0.0
    from_disk_mb: float = 0.0

    def plus(self, other: Cost) -> Cost:
        """Return the cost of both."""
        return Cost(*(a + b for a, b in zip(self, other, strict=True)))

    def minus(self, other: Cost) -> Cost:
        """Return the cost of what is in this and not in the other."""
        return Cost(*(a - b for a, b in zip(self, other, strict=True)))


def cost_so_far() -> Cost:
    """Return what this process has cost; only differences mean something."""
    read, from_disk = readable(_bytes) or (math.nan, math.nan)
    return Cost(time.perf_counter() * 1e3, time.process_time() * 1e3, read / 1e6, from_disk / 1e6)


def _bytes() -> tuple[int, int]:
    found = dict(line.split(": ") for line in _IO.read_text().splitlines())
    return int(found["rchar"]), int(found["read_bytes"])
