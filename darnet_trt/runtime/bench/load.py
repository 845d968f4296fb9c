"""Find out whether something else used this machine while engines were timed."""

from __future__ import annotations

from typing import Final

# One busy process on 3 cores already slows an engine that uses all of them.
_LOAD_PER_CORE: Final = 0.3
_STEAL_PERCENT: Final = 2.0


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
