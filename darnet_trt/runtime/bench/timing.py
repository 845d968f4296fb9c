"""Time several things against each other.

They take turns, round after round in one process, so that what slows the machine slows all of
them.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

LEAST_ROUNDS: Final = 3
"""With fewer a median is no better than a single sample."""

PAUSE_MS: Final = 50
"""Before each run: the threads of the engine before it spin for a moment after its own."""


@dataclass(frozen=True)
class Latency:
    """Times of one engine, in the order in which they were taken.

    Attributes:
        samples_ms: One a round.
    """

    samples_ms: tuple[float, ...]

    def percentile_ms(self, percent: float) -> float | None:
        """Return the smallest sample that `percent` % of them do not exceed (nearest rank).

        None where the samples are too few for one of them to lie beyond it: p90 needs 10, p99
        needs 100.
        """
        count = len(self.samples_ms)
        if count < needed_samples(percent):
            return None
        rank = int(np.ceil(round(percent * count / 100, 9)))
        return sorted(self.samples_ms)[max(rank, 1) - 1]

    @property
    def median_ms(self) -> float:
        """The median of all samples."""
        return float(np.median(self.samples_ms))

    def summary(self) -> dict[str, Any]:
        """Return median, p90, p99 (None: too few samples), minimum and samples, for JSON."""
        return {
            "median_ms": round(self.median_ms, 3),
            "p90_ms": _rounded(self.percentile_ms(90)),
            "p99_ms": _rounded(self.percentile_ms(99)),
            "min_ms": round(min(self.samples_ms), 3),
            "samples_ms": [round(sample, 3) for sample in self.samples_ms],
        }


def needed_samples(percent: float) -> int:
    """Return how many samples a percentile needs, so that one of them lies beyond it."""
    return int(np.ceil(round(100 / (100 - percent), 9)))


def in_turns(
    runs: Mapping[str, Callable[[], object]], rounds: int, *, budget_s: float = math.inf
) -> dict[str, Latency]:
    """Time every run once a round, in turns, after one untimed turn each.

    Args:
        runs: By name.
        rounds: Timed turns of each.
        budget_s: Start no round after this time, except for the first `LEAST_ROUNDS`.
    """
    samples: dict[str, list[float]] = {name: [] for name in runs}
    _turn(runs)
    started = time.perf_counter()
    for done in range(rounds):
        if done >= LEAST_ROUNDS and time.perf_counter() - started > budget_s:
            break
        for name, taken_ms in _turn(runs).items():
            samples[name].append(taken_ms)
    return {name: Latency(tuple(taken)) for name, taken in samples.items()}


def _turn(runs: Mapping[str, Callable[[], object]]) -> dict[str, float]:
    """Time one run of each, in ms."""
    taken_ms = {}
    for name, run in runs.items():
        time.sleep(PAUSE_MS / 1000)
        start = time.perf_counter()
        run()
        taken_ms[name] = (time.perf_counter() - start) * 1000
    return taken_ms


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
