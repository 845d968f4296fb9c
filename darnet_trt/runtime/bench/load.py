"""Find out whether something else used this machine while engines were timed."""

from __future__ import annotations

import os
from typing import Final

import psutil

__all__ = ["Load", "busy"]

# One busy process on 3 cores already slows an engine that uses all of them.
_LOAD_PER_CORE: Final = 0.3
_STEAL_PERCENT: Final = 2.0


class Load:
    """The load average at the start, and the CPU time stolen since.

    Attributes:
        before: Processes that wanted a CPU, averaged over the minute before.
    """

    def __init__(self) -> None:
        self.before = round(os.getloadavg()[0], 2)
        psutil.cpu_times_percent()  # the next call counts from here

    def steal_percent(self) -> float:
        """Return the share of CPU time since the start that the hypervisor gave to others."""
        return float(getattr(psutil.cpu_times_percent(), "steal", 0.0))  # only Linux counts it


def busy(load: float, cores: int, steal_percent: float) -> tuple[str, ...]:
    """Return the reasons not to trust ratios of times; empty on an idle machine.

    Args:
        load: Load average of the minute before the start.
        cores: CPUs of the machine, which the load average is about.
        steal_percent: Of the CPU time during the measurement.
    """
    reasons = []
    if load > _LOAD_PER_CORE * cores:
        reasons.append(f"load average {load} on {cores} CPUs before the start")
    if steal_percent > _STEAL_PERCENT:
        reasons.append(f"the hypervisor gave {steal_percent:.0f} % of the CPU time to others")
    return tuple(reasons)
