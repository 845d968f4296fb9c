"""Measure where the time goes between a scan's files and the network's input.

It runs in a process that reads scans, as `predict` has them, with the code that `predict` runs
there.
"""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import Final

from darnet_trt.runtime.bench.file_to_result.reading.building import FROM_DISK, reading
from darnet_trt.runtime.bench.file_to_result.reading.models import Reading
from darnet_trt.runtime.bench.file_to_result.reading.once import Round, once
from darnet_trt.runtime.bench.subject import Subject, Trace
from darnet_trt.runtime.bench.turns import in_turns
from darnet_trt.scan.isolated import reader
from darnet_trt.scan.preprocessing import Preprocessing

COLD_ROUNDS: Final = 3
_NAME: Final = "reading"


def measure(
    scan: Path, spec: Preprocessing, *, seconds: float = math.inf, rounds: int | None = None
) -> Reading:
    """Measure the way of one scan, with files that are in no cache, then with files that are.

    Args:
        scan: Its path.
        spec: What makes the input.
        seconds: For the rounds with cached files, warm-up included.
        rounds: How many of them, where `seconds` is infinite.

    Raises:
        UsageError: There are several scans.
        ScanError: It cannot be read, or is refused.
    """
    cold: list[Round] = []
    warm: list[Round] = []
    traces: dict[str, Trace] = {}
    with reader() as process:
        ask = partial(process.run, once, scan, spec, where=scan)
        for _ in range(COLD_ROUNDS):
            cold.append(ask(True))
            if not _was_cold(cold[0]):
                cold = []
                break
        query = Subject(_NAME, lambda: warm.append(ask(False)), turn_ms=0)
        in_turns([query], traces, seconds=seconds, rounds=rounds)
    return reading(traces[_NAME].measured(warm), cold)


def _was_cold(one: Round) -> bool:
    return one.whole.from_disk_mb >= FROM_DISK * one.whole.read_mb
