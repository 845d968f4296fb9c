"""Read what the kernel counts: CPU time, switches, waiting, throttling, faults.

Files are those of proc(5), of the kernel's admin-guide (cgroup-v1, cgroup-v2, accounting/psi), and
of Documentation/ABI/testing/sysfs-devices-system-cpu.
"""

from __future__ import annotations

import os
import resource
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

import psutil

from darnet_trt.machine.cpus import own_cgroups
from darnet_trt.runtime.bench.signs.readable import readable

_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")


class CpuTime(NamedTuple):
    """Hold the time of the CPUs that this process may use, since the start of the machine.

    Attributes:
        busy_s: Of all processes and the kernel, at work.
        stolen_s: Given to other virtual machines.
        all_s: Idle time too.
    """

    busy_s: float
    stolen_s: float
    all_s: float


class Throttling(NamedTuple):
    """Hold how often quotas held back this process's groups, and the CPU time it cost them."""

    times: int
    cpu_s: float


@dataclass(frozen=True)
class Counters:
    """Hold what the kernel has counted until one moment; None: not readable here.

    Attributes:
        at_s: The moment, by `time.monotonic`.
        cpu: Of the allowed CPUs.
        tree_cpu_s: CPU time of this process and its children, those that have ended too.
        own_cpu_s: Of this process alone.
        involuntary_switches: Of all threads of this process.
        major_faults: Of this process.
        waited_s: How long at least one thread of any process waited for a CPU.
        throttling: By control groups.
        slowed_by_heat: Of the allowed CPUs and their packages.
        swapped_in_bytes: Of the whole machine.
    """

    at_s: float
    cpu: CpuTime | None
    tree_cpu_s: float
    own_cpu_s: float
    involuntary_switches: int
    major_faults: int
    waited_s: float | None
    throttling: Throttling | None
    slowed_by_heat: int | None
    swapped_in_bytes: int | None


def counters(root: Path) -> Counters:
    """Read all counters.

    Args:
        root: Where /proc and /sys are.
    """
    own = resource.getrusage(resource.RUSAGE_SELF)
    return Counters(
        at_s=time.monotonic(),
        cpu=readable(partial(_cpu_time, root)),
        tree_cpu_s=_tree_cpu_s(),
        own_cpu_s=own.ru_utime + own.ru_stime,
        involuntary_switches=own.ru_nivcsw,
        major_faults=own.ru_majflt,
        waited_s=readable(partial(_waited_s, root)),
        throttling=readable(partial(_throttling, root)),
        slowed_by_heat=readable(partial(_slowed_by_heat, root)),
        swapped_in_bytes=readable(partial(_swapped_in_bytes, root)),
    )


def allowed_cpus() -> list[int]:
    """Return the numbers of the CPUs that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def _cpu_time(root: Path) -> CpuTime:
    lines = dict(_pairs(root / "proc/stat"))
    busy = stolen = everything = 0
    for cpu in allowed_cpus():
        # Guest time, which follows, is part of user and nice.
        ticks = [int(word) for word in lines[f"cpu{cpu}"].split()[:8]]
        user, nice, system, _idle, _iowait, irq, softirq, steal = ticks
        busy += user + nice + system + irq + softirq
        stolen += steal
        everything += sum(ticks)
    return CpuTime(busy / _TICKS_PER_S, stolen / _TICKS_PER_S, everything / _TICKS_PER_S)


def _tree_cpu_s() -> float:
    """Sum the times of this process and its children, each with those of its own that ended."""
    me = psutil.Process()
    total = 0.0
    for process in [me, *me.children(recursive=True)]:
        try:
            used = process.cpu_times()
        except psutil.Error:  # it has just ended
            continue
        total += used.user + used.system + used.children_user + used.children_system
    return total


def _waited_s(root: Path) -> float:
    some = dict(_pairs(root / "proc/pressure/cpu"))["some"]
    return int(some.rpartition("total=")[2]) / 1e6


def _throttling(root: Path) -> Throttling:
    """Add up this process's groups and those above them, of cgroup v2 and v1.

    The time is a sum over CPUs in both (`throttled_time` in kernel/sched/fair.c).
    """
    membership = (root / "proc/self/cgroup").read_text()
    mount = root / "sys/fs/cgroup"
    groups = own_cgroups(mount, membership)
    for line in membership.splitlines():
        _, controllers, path = line.split(":", 2)
        if "cpu" in controllers.split(","):
            own = Path(path.lstrip("/"))
            groups += [mount / controllers / group for group in (own, *own.parents)]
    times, cpu_s, found = 0, 0.0, False
    for group in groups:
        if not (group / "cpu.stat").exists():
            continue
        found = True
        stat = dict(_pairs(group / "cpu.stat"))  # the top group of v2 has no quota
        times += int(stat.get("nr_throttled", 0))
        cpu_s += int(stat.get("throttled_usec", 0)) / 1e6 + int(stat.get("throttled_time", 0)) / 1e9
    if not found:
        raise FileNotFoundError("cpu.stat")
    return Throttling(times, cpu_s)


def _slowed_by_heat(root: Path) -> int:
    counts = [
        int(count.read_text())
        for cpu in allowed_cpus()
        for count in (root / f"sys/devices/system/cpu/cpu{cpu}/thermal_throttle").glob("*_count")
        if count.name in ("core_throttle_count", "package_throttle_count")
    ]
    if not counts:
        raise FileNotFoundError("thermal_throttle")
    return sum(counts)


def _swapped_in_bytes(root: Path) -> int:
    return int(dict(_pairs(root / "proc/vmstat"))["pswpin"]) * resource.getpagesize()


def _pairs(file: Path) -> list[tuple[str, str]]:
    """Return the first word of each line, and the rest of it."""
    pairs = (line.split(None, 1) for line in file.read_text().splitlines() if " " in line)
    return [(name, rest) for name, rest in pairs]
