"""Find the most memory that this process takes during a measurement."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from darnet_trt.runtime.bench.signs.readable import readable

_RESET_PEAK = b"5"  # of /proc/PID/clear_refs: sets VmHWM to what is resident now (proc(5))


class PeakMemory:
    """Follows the resident memory of this process from its creation on.

    The kernel keeps the maximum, and usually lets a process set it back; else samples must do.

    Attributes:
        source: Where the maximum comes from.
    """

    def __init__(self, root: Path) -> None:
        self._process = root / "proc/self"
        self.source: Literal["kernel", "samples"]
        self.source = "samples" if readable(self._reset) is None else "kernel"
        self._most: int | None = None
        self.look()

    def look(self) -> None:
        """Take a sample, where it is needed."""
        if self.source == "samples" and (now := self._bytes("VmRSS")) is not None:
            self._most = max(now, self._most or 0)

    def most_mb(self) -> float | None:
        """Return the maximum in units of 10^6 bytes; None: not readable here."""
        most = self._most if self.source == "samples" else self._bytes("VmHWM")
        return None if most is None else most / 1e6

    def _reset(self) -> int:
        file = os.open(self._process / "clear_refs", os.O_WRONLY)
        try:
            return os.write(file, _RESET_PEAK)
        finally:
            os.close(file)

    def _bytes(self, field: str) -> int | None:
        def read() -> int:
            status = (self._process / "status").read_text()
            return int(dict(line.split(":", 1) for line in status.splitlines())[field].split()[0])

        kib = readable(read)
        return None if kib is None else kib * 1024
