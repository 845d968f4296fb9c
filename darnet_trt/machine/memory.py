"""Find out how much memory this process may still take, and read and write amounts of it."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Final

from darnet_trt.errors import UsageError
from darnet_trt.machine.cpus import CGROUPS, own_cgroups

_UNITS: Final = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def free_memory(
    meminfo: Path = Path("/proc/meminfo"),
    cgroups: Path = CGROUPS,
    membership: Path = Path("/proc/self/cgroup"),
) -> int:
    """Return how many bytes this process and its children may still take; much where not known.

    Args:
        meminfo: See proc_meminfo(5).
        cgroups: The mount point of cgroup v2. Limits of v1 are not read.
        membership: See cgroups(7); v2's line is "0::/path".
    """
    free = sys.maxsize
    try:
        lines = dict(line.split(":", 1) for line in meminfo.read_text().splitlines())
        free = int(lines["MemAvailable"].split()[0]) * 1024
        groups = own_cgroups(cgroups, membership.read_text())
    except (OSError, KeyError):  # not Linux
        return free
    for group in groups:
        try:
            most = (group / "memory.max").read_text().strip()
            used = int((group / "memory.current").read_text())
        except OSError:  # the top group has no such files
            continue
        if most != "max":
            free = min(free, max(0, int(most) - used))
    return free


def shown(size: float) -> str:
    """Return bytes for a person, in units that `size_of` reads: "3 KiB", "850 MiB", "1.5 GiB"."""
    if size >= _UNITS["G"]:
        return f"{size / _UNITS['G']:.1f} GiB"
    unit = "M" if size >= _UNITS["M"] else "K"
    return f"{size / _UNITS[unit]:.0f} {unit}iB"


def size_of(text: str, option: str) -> int:
    """Return the bytes that a person means: 4G, 1500M, 1.5GB or 2GiB, all in powers of 1024.

    So do systemd (MemoryMax=4G) and Docker (--memory 4g).

    Args:
        text: The size.
        option: Where it was given.

    Raises:
        UsageError: It is no size.
    """
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*([KMGT]?)(?:I?B)?", text.strip().upper())
    if match is None:
        raise UsageError(f"{text!r} is not a size", where=option, do="write it as 4G or 1500M")
    return int(float(match[1]) * _UNITS[match[2]])
