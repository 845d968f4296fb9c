"""Count the CPUs that this process may use, and share them with other processes."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Final

MOST_THREADS: Final = 4096
"""Above it some engines end with an error, and others start that many threads."""
CGROUPS: Final = Path("/sys/fs/cgroup")
"""The mount point of control groups."""
_OWN_CGROUP: Final = Path("/proc/self/cgroup")


_most = math.inf


def use_cpus(most: int) -> None:
    """Have `usable_cpus` return at most this number: other processes use the others."""
    global _most
    _most = most


def usable_cpus() -> int:
    """Return how many CPUs this process and its container or service may use; at least 1."""
    return int(min(_most, _allowed_cpus()))


def _allowed_cpus() -> int:
    linux = hasattr(os, "sched_getaffinity")
    cpus = len(os.sched_getaffinity(0)) if linux else os.cpu_count() or 1
    try:
        quota = cgroup_quota(CGROUPS, _OWN_CGROUP.read_text())
    except OSError:  # not Linux
        return cpus
    return max(1, math.ceil(min(cpus, quota)))


def share_cpus() -> None:
    """Make torch's threads sleep while they wait for each other. Call before importing torch.

    By default the threads of GNU's OpenMP spin, and keep a busy CPU from the thread they wait for.
    With this, a training step on 2 cores beside one busy process took 0.36 to 0.41 s instead of
    0.59 to 0.60 s (benchmarks/cpu/training/shared_cpus.py). A value of OMP_WAIT_POLICY
    that the user has set is kept.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def cgroup_quota(root: Path, membership: str) -> float:
    """Return how many CPUs' time control groups allow a process; infinity without a limit.

    Args:
        root: The mount point of cgroup v2. Limits of v1 are not read.
        membership: The text of /proc/PID/cgroup; v2's line is "0::/path" (cgroups(7)).
    """
    quota = math.inf
    for group in own_cgroups(root, membership):
        try:
            most, _, period = (group / "cpu.max").read_text().partition(" ")
        except OSError:  # the top group has no such file
            continue
        if most != "max":
            quota = min(quota, int(most) / int(period))
    return quota


def own_cgroups(root: Path, membership: str) -> list[Path]:
    """Return the folders of a process's control group and of those above it.

    Args:
        root: As of `cgroup_quota`.
        membership: As of `cgroup_quota`.
    """
    own = next((line[4:] for line in membership.splitlines() if line.startswith("0::/")), "")
    return [root / group for group in (Path(own), *Path(own).parents)]
