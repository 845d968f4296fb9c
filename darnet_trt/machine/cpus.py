"""How many CPUs this process may keep busy, and how it shares them."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Final

__all__ = ["cgroup_quota", "share_cpus", "usable_cpus"]

_CGROUPS: Final = Path("/sys/fs/cgroup")
_OWN_CGROUP: Final = Path("/proc/self/cgroup")


def usable_cpus() -> int:
    """CPUs that it may run on, and no more than its container or service may use; at least 1."""
    linux = hasattr(os, "sched_getaffinity")
    cpus = len(os.sched_getaffinity(0)) if linux else os.cpu_count() or 1
    try:
        quota = cgroup_quota(_CGROUPS, _OWN_CGROUP.read_text())
    except OSError:  # another system
        return cpus
    return max(1, math.ceil(min(cpus, quota)))


def share_cpus() -> None:
    """Let torch's threads sleep while they wait for each other; call it before torch is imported.

    By default GNU's OpenMP spins. Where another process wants the same CPUs, the thread that all
    wait for then does not get one: beside one busy process, on 2 cores, a training step took 0.36
    to 0.41 s instead of 0.59 to 0.60 s (benchmarks/cpu/shared_cpus.py).
    Who sets OMP_WAIT_POLICY keeps it.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def cgroup_quota(root: Path, membership: str) -> float:
    """The CPUs' worth of time that control groups leave a process; infinite without a limit.

    Args:
        root: Where cgroup v2 is mounted; the older v1 is not looked at.
        membership: What /proc/PID/cgroup says: "0::/path" is v2's line (cgroups(7)).
    """
    own = next((line[4:] for line in membership.splitlines() if line.startswith("0::/")), "")
    quota = math.inf
    for group in (Path(own), *Path(own).parents):
        try:
            most, _, period = (root / group / "cpu.max").read_text().partition(" ")
        except OSError:  # the top group has no limit, and so no file
            continue
        if most != "max":
            quota = min(quota, int(most) / int(period))
    return quota
