"""Read what a service holds of the machine: memory, threads, descriptors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields

import psutil


@dataclass(frozen=True)
class Footprint:
    """Count what a process and those below it hold.

    Attributes:
        own: Resident bytes of the first process alone, which lives as long as the service.
        rss: Resident bytes of all, pages that several share counted for each.
        pss: Resident bytes, shared pages divided by those who share them.
        threads: Of all.
        descriptors: Open ones of all.
        processes: How many.
    """

    own: float
    rss: float
    pss: float
    threads: float
    descriptors: float
    processes: float


def footprint(processes: Iterable[psutil.Process]) -> Footprint:
    """Read it; a process that ends meanwhile does not count."""
    own = rss = pss = threads = descriptors = count = 0
    for process in processes:
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            memory = process.memory_full_info()
            own = own or memory.rss
            rss, pss = rss + memory.rss, pss + memory.pss
            threads += process.num_threads()
            descriptors += process.num_fds()
            count += 1
    return Footprint(own, rss, pss, threads, descriptors, count)


def least(of: Sequence[Footprint]) -> Footprint:
    """Return the smallest of each: an hour may end while a child holds a study."""
    return Footprint(*(min(getattr(each, f.name) for each in of) for f in fields(Footprint)))
