"""Read the clocks of the CPUs, and what sets them (the kernel's admin-guide, pm/cpufreq)."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Final

from darnet_trt.runtime.bench.signs.counters import allowed_cpus
from darnet_trt.runtime.bench.signs.readable import readable

MOST_CPUS: Final = 4
"""So many clocks are read at once, to keep the watcher below 0.2 % of a CPU."""


def fastest_mhz(root: Path) -> float | None:
    """Return the clock of the fastest of the first allowed CPUs: those that work run fastest."""
    read = (readable(partial(_mhz, root, cpu)) for cpu in allowed_cpus()[:MOST_CPUS])
    return max((mhz for mhz in read if mhz is not None), default=None)


def governor(root: Path) -> str | None:
    """Return the governors of the allowed CPUs and their driver, "powersave (intel_pstate)"."""
    read = {readable(partial(_governor, root, cpu)) for cpu in allowed_cpus()}
    return ", ".join(sorted(text for text in read if text is not None)) or None


def _mhz(root: Path, cpu: int) -> float:
    return int(_of(root, cpu, "scaling_cur_freq")) / 1000


def _governor(root: Path, cpu: int) -> str:
    return f"{_of(root, cpu, 'scaling_governor')} ({_of(root, cpu, 'scaling_driver')})"


def _of(root: Path, cpu: int, name: str) -> str:
    return (root / f"sys/devices/system/cpu/cpu{cpu}/cpufreq" / name).read_text().strip()
