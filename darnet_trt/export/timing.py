"""Timing candidates against each other, in alternation so that a slow minute slows them all."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from typing import Final

import numpy as np
import numpy.typing as npt

from darnet_trt.runtime.runner import Runner

__all__ = ["median_ms"]

MIN_ROUNDS: Final = 3  # the least that has a median worth the name
MAX_ROUNDS: Final = 30
BUDGET_S: Final = 5.0  # small networks take what rounds fit; the paper's gets MIN_ROUNDS

# An engine's threads keep spinning for some milliseconds after its run and disturb the next one:
# below this time each measurement is preceded by a run that is not counted.
SETTLE_S: Final = 0.1


def median_ms(runners: Mapping[str, Runner], scan: npt.NDArray[np.float32]) -> dict[str, float]:
    """Median time of one inference by name, after one that is not counted.

    Args:
        runners: By name.
        scan: One input, (1, d, h, w).
    """
    batch = scan[None]
    last = {name: _seconds(runner, batch) for name, runner in runners.items()}
    samples: dict[str, list[float]] = {name: [] for name in runners}
    started = time.perf_counter()
    for index in range(MAX_ROUNDS):
        if index >= MIN_ROUNDS and time.perf_counter() - started > BUDGET_S:
            break
        for name, runner in runners.items():
            if last[name] < SETTLE_S:
                runner.infer(batch)
            last[name] = _seconds(runner, batch)
            samples[name].append(last[name])
    return {name: round(statistics.median(s) * 1000, 3) for name, s in samples.items()}


def _seconds(runner: Runner, batch: npt.NDArray[np.float32]) -> float:
    started = time.perf_counter()
    runner.infer(batch)
    return time.perf_counter() - started
