"""Find out how much memory this process may still take, and read and write amounts of it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

_CGROUPS: Final = Path("/sys/fs/cgroup")


def free_memory(
    meminfo: Path = Path("/proc/meminfo"),
    cgroups: Path = _CGROUPS,
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
        own = next(
            (line[4:] for line in membership.read_text().splitlines() if line.startswith("0::/")),
            "",
        )
    except (OSError, KeyError):  # not Linux
        return free
    for group in (Path(own), *Path(own).parents):
        try:
            most = (cgroups / group / "memory.max").read_text().strip()
            used = int((cgroups / group / "memory.current").read_text())
        except OSError:  # the top group has no such files
            continue
        if most != "max":
            free = min(free, max(0, int(most) - used))
    return free


def shown(size: float) -> str:
    """Return bytes for a person: "850 MB", "1.5 GB"."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"
