"""Tell a runner that drifts from one that is steady, however its times scatter.

Drift is what changes with the place in the run: a trend, a step, a warm-up that was left in, a
clock that is throttled, a slow wave. Steady are heavy tails, neighbours that are alike, and modes
that come and go many times. What is left after the shape of a drift has been taken out tells one
from the other: neighbours that are alike stay alike, a drift leaves noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from darnet_trt.runtime.bench.statistics.dependence import (
    Series,
    integrated_autocorrelation,
    is_dependent,
    ranks,
)

LEAST_SAMPLES: Final = 20
LEAST_CHANGE: Final = 0.01
"""A smaller change of the median within the run is not called a drift, however certain it is."""

_LEAST_WORTH: Final = 30
"""Effective samples below which times that wander are not called steady."""
_PARTS: Final = 5
_SHAPES: Final = 3
_NOTHING: Final = 1e-9
"""Residual, as a share of the whole, below which a run is a shape without noise."""


@dataclass(frozen=True)
class Drift:
    """Say whether a runner drifts.

    Attributes:
        verdict: "too few": fewer than `LEAST_SAMPLES`, or dependent ones that are worth too few to
            tell a drift from times that wander for long.
        change: Largest over smallest median of the run's fifths, minus 1; None below
            `LEAST_SAMPLES`.
    """

    verdict: Literal["steady", "drifting", "too few"]
    change: float | None


def drift(samples: Series) -> Drift:
    """Judge a run.

    The ranks of the samples are fitted with the three shapes that take out most. The run drifts
    where they take out more than a steady run's would: the limit rises as the effective number of
    what is left falls. That limit, and what follows, come from simulated runners
    (`python -m benchmarks.bench.intervals`), with noise of 2 %.

    A trend, a step, throttling or a slow wave of 5 % is called drifting in 98 % of runs of 100
    samples; with 50, a trend in 75 % and a step in 98 %. A warm-up that is over after a third of
    100 samples has to be 10 % for that. Of a random walk by 10 %, 75 to 87 % of runs are called
    drifting, and nearly all others have too few samples. Steady runs of 100 samples and more are
    called drifting in some 1 %, with modes that last ten samples in 10 % of runs of 100 and in 2 %
    of 300. With fewer samples, neighbours that are alike cannot be told from a drift; both seldom
    get an interval then.
    """
    count = len(samples)
    if count < LEAST_SAMPLES:
        return Drift("too few", None)
    medians = [float(np.median(part)) for part in np.array_split(samples, _PARTS)]
    change = max(medians) / min(medians) - 1
    if change < LEAST_CHANGE:
        return Drift("steady", change)
    rank = ranks(samples)
    taken, left = _fitted(rank)
    if taken > _limit(count, left):
        return Drift("drifting", change)
    worth = count / integrated_autocorrelation(rank) if is_dependent(samples) else count
    return Drift("too few" if worth < _LEAST_WORTH else "steady", change)


def _fitted(rank: Series) -> tuple[float, float]:
    """Fit shapes, one after the other (Pati and others, Asilomar 1993, orthogonal matching).

    Returns:
        What they take out, in variances of an independent mean; and the effective number of what
        is left.
    """
    shapes, count = _shapes(len(rank)), len(rank)
    total = float(rank @ rank)
    if total == 0:
        return 0.0, float(count)
    left = rank
    fitted: list[Series] = []
    for _ in range(_SHAPES):
        shape = shapes[np.argmax(np.abs(shapes @ left))]
        for other in fitted:
            shape = shape - (shape @ other) * other
        fitted.append(shape / np.linalg.norm(shape))
        left = left - (fitted[-1] @ left) * fitted[-1]
        if float(left @ left) < _NOTHING * total:
            break
    rest = float(left @ left)
    tau = max(integrated_autocorrelation(left), 1.0)
    return (total - rest) / max(rest / count, _NOTHING * total) / tau, count / tau


def _limit(count: int, effective: float) -> float:
    """Return what 98 % of steady runs stay below, by simulation (autocorrelation up to 0.95)."""
    alike = min(count / effective - 1, 1.0)
    return 20 + 250 / count + alike * 3e5 / effective**2


@lru_cache(maxsize=2)
def _shapes(count: int) -> npt.NDArray[np.float64]:
    """Return shapes of drift (shapes, n), each with mean 0 and length 1."""
    time = (np.arange(count) + 0.5) / count
    waves = (np.cos, np.sin)
    shapes = np.array(
        [
            time,
            *(time > at for at in np.linspace(0.05, 0.95, 19)),
            *(np.maximum(time - at, 0) for at in np.linspace(0.1, 0.9, 9)),
            *(np.minimum(time, at) for at in np.linspace(0.1, 0.9, 9)),
            *(np.exp(-time / constant) for constant in (0.02, 0.05, 0.1, 0.2)),
            *(wave(2 * np.pi * turns * time) for turns in (1, 2) for wave in waves),
            *(np.cos(np.pi * halves * time) for halves in (1, 3, 5)),
        ],
        dtype=np.float64,
    )
    shapes -= shapes.mean(axis=1, keepdims=True)
    return np.asarray(shapes / np.linalg.norm(shapes, axis=1, keepdims=True), dtype=np.float64)
