"""Time several things against each other.

They take turns, round after round in one process, so that what slows the machine slows all of
them.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np

LEAST_ROUNDS: Final = 3
"""With fewer a median is no better than a single sample."""

PAUSE_MS: Final = 50
"""Before each turn: the threads of the engine before it spin for a moment after its own."""

WARM_UP_MS: Final = 200
"""Untimed runs at the start of a GPU's turn, as in trtexec: an idle GPU has lowered its clocks."""
GPU_TURN_MS: Final = 500
"""Timed runs of a GPU's turn; one run takes a few ms, of which the clock's steps are too much."""


@dataclass(frozen=True)
class Latency:
    """Times of one engine, in the order in which they were taken.

    Attributes:
        samples_ms: One a round; several a round for an engine on a GPU.
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
    runs: Mapping[str, Callable[[], object]],
    rounds: int,
    *,
    budget_s: float = math.inf,
    on_gpu: Collection[str] = (),
    after: Callable[[str], None] = lambda name: None,
) -> dict[str, Latency]:
    """Time every run once a round, in turns, after one untimed run each.

    Args:
        runs: By name.
        rounds: Timed turns of each.
        budget_s: Start no round after this time, except for the first `LEAST_ROUNDS`.
        on_gpu: Names of those on a GPU: a turn warms up for `WARM_UP_MS`, then every run of
            `GPU_TURN_MS` is timed.
        after: Called with the name after each timed run.
    """
    samples: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        _timed(run)
    started = time.perf_counter()
    for done in range(rounds):
        if done >= LEAST_ROUNDS and time.perf_counter() - started > budget_s:
            break
        for name, run in runs.items():
            time.sleep(PAUSE_MS / 1000)
            if name in on_gpu:
                _repeated(run, WARM_UP_MS)
            least_ms = GPU_TURN_MS if name in on_gpu else 0
            samples[name] += _repeated(run, least_ms, partial(after, name))
    return {name: Latency(tuple(taken)) for name, taken in samples.items()}


def _repeated(
    run: Callable[[], object], least_ms: float, after: Callable[[], None] = lambda: None
) -> list[float]:
    """Time one run, and more until `least_ms` have passed; return each time in ms."""
    taken_ms: list[float] = []
    started = time.perf_counter()
    while not taken_ms or (time.perf_counter() - started) * 1000 < least_ms:
        taken_ms.append(_timed(run))
        after()
    return taken_ms


def _timed(run: Callable[[], object]) -> float:
    """Return the time of one run in ms."""
    start = time.perf_counter()
    run()
    return (time.perf_counter() - start) * 1000


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
