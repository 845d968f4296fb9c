"""Read the energy of CPU packages: RAPL, of Intel and AMD alike, by the kernel's powercap."""

from __future__ import annotations

import threading
from functools import partial
from pathlib import Path

from darnet_trt.runtime.bench.signs.readable import readable

_FOLDER = "sys/class/powercap"


class CpuEnergy:
    """Adds up the joules of all packages from its creation on.

    The counters start again from 0 at some 262 kJ (`max_energy_range_uj`), after 20 minutes at
    200 W: read more often than that, from any thread.

    Attributes:
        note: What to do where the counters exist but are locked; None else.
    """

    def __init__(self, root: Path) -> None:
        # intel-rapl-mmio:0 counts package 0 again; intel-rapl:0:0 is a part of intel-rapl:0.
        zones = sorted((root / _FOLDER).glob("intel-rapl:[0-9]*"))
        named = [zone for zone in zones if _name(zone).startswith("package")]
        opened = [readable(partial(_Package, zone)) for zone in named]
        self._packages = [package for package in opened if package is not None]
        self._total_uj = 0
        self._lock = threading.Lock()
        self.note: str | None = None
        if len(self._packages) < len(named):  # a part would pass for the whole
            self._packages = []
            self.note = f"CPU energy: let this user read /{_FOLDER}/intel-rapl:*/energy_uj"

    def joules(self) -> float | None:
        """Return the joules since the creation; None: not readable here."""
        if not self._packages:
            return None
        with self._lock:
            self._total_uj += sum(readable(package.added_uj) or 0 for package in self._packages)
            return self._total_uj / 1e6


class _Package:
    """Counts one package."""

    def __init__(self, zone: Path) -> None:
        self._counter = zone / "energy_uj"
        self._range_uj = int((zone / "max_energy_range_uj").read_text())
        self._last_uj = int(self._counter.read_text())

    def added_uj(self) -> int:
        now_uj = int(self._counter.read_text())
        last_uj, self._last_uj = self._last_uj, now_uj
        return now_uj - last_uj + (self._range_uj if now_uj < last_uj else 0)


def _name(zone: Path) -> str:
    return readable(lambda: (zone / "name").read_text()) or ""
