"""Compare the variants in pairs, on the same scans.

A difference is uncertain for two reasons. Other patients would give another one: the interval over
patients is the cluster bootstrap of `evaluation/bootstrap.py`, which draws patients with all their
scans and leaves every network's answers as they are. And the same networks trained from another
seed would give another one: the seeds of a fold differ in nothing else, so their spread within the
folds shows it. To name a winner both count, the parts combined as the root of their squares (Zou
and Donner, Statistics in Medicine 27, 2008, 1693-1702), at a level that allows for the six pairs
(Bonferroni): among variants that do not differ, some pair is called different in 5 % of ablations
at most. With one seed the second part is not known, and no winner is named.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from typing import Final

import numpy as np

from darnet_trt.evaluation.bootstrap import bootstrap_each
from darnet_trt.training.ablation.paper import MEASURES, VARIANTS
from darnet_trt.training.ablation.scores import Floats, Indices, Scans, score
from darnet_trt.training.model import Attention

LEVEL: Final = 0.95
PAIRS: Final = tuple(combinations(VARIANTS, 2))
CORRECTED: Final = 1 - (1 - LEVEL) / len(PAIRS)
_DRAWN_T: Final = 1_000_000  # of Student's distribution; its quantiles are then right to 1 %

Interval = tuple[float, float]


@dataclass(frozen=True)
class Difference:
    """A measure of `second` minus that of `first`.

    Attributes:
        measure: Its name in `MEASURES`.
        first: A variant.
        second: Another.
        value: The difference.
        over_patients: 95 % interval over patients; nan where no draw of patients changes the
            difference, as with one positive patient: they are too few to show how it varies.
        over_seeds: Standard deviation of the difference between seeds; nan for one seed.
        corrected: Interval over patients and seeds, corrected for the six pairs; over patients
            alone for one seed. Kept in −1…1, where all differences lie; nan like `over_patients`.
        winner: The better variant, where `corrected` leaves zero out; None: neither.
    """

    measure: str
    first: Attention
    second: Attention
    value: float
    over_patients: Interval
    over_seeds: float
    corrected: Interval
    winner: Attention | None


def differences(scans: Scans, draws: int) -> tuple[Difference, ...]:
    """Compare each pair of variants by each measure.

    Args:
        scans: Of one side.
        draws: Of the bootstrap.
    """
    drawn: dict[bytes, dict[str, float]] = {}

    def values(indices: Indices) -> dict[str, float]:
        key = indices.tobytes()
        if key not in drawn:  # both levels ask for the same draws
            grids = scans.measures(indices)
            means = {v: {m: score(grid).mean for m, grid in of.items()} for v, of in grids.items()}
            drawn[key] = {
                _key(m, a, b): means[b][m] - means[a][m] for m in MEASURES for a, b in PAIRS
            }
        return drawn[key]

    usual, corrected = (
        bootstrap_each(values, scans.patients, draws=draws, level=level)
        for level in (LEVEL, CORRECTED)
    )
    grids = scans.measures()
    nowhere = (math.nan, math.nan)
    found = []
    for measure in MEASURES:
        for first, second in PAIRS:
            key = _key(measure, first, second)
            apart = grids[second][measure] - grids[first][measure]
            value = score(apart)
            over_patients = usual.get(key, nowhere)
            ends = _with_seeds(value.mean, corrected.get(key, nowhere), apart)
            if over_patients[0] == over_patients[1]:  # no draw differs: it shows no spread
                over_patients = ends = nowhere
            winner = None
            if not math.isnan(value.over_seeds):
                winner = second if ends[0] > 0 else first if ends[1] < 0 else None
            found.append(
                Difference(
                    measure,
                    first,
                    second,
                    value.mean,
                    over_patients,
                    value.over_seeds,
                    ends,
                    winner,
                )
            )
    return tuple(found)


def _key(measure: str, first: Attention, second: Attention) -> str:
    return f"{measure} {first} {second}"


def _with_seeds(value: float, over_patients: Interval, apart: Floats) -> Interval:
    """Widen an interval over patients by the spread of a difference (folds, seeds) over seeds."""
    kept = apart[~np.isnan(apart).any(1)]
    folds, seeds = kept.shape
    if not folds or seeds < 2:
        return over_patients
    error = math.sqrt(float(kept.var(axis=1, ddof=1).sum()) / seeds) / folds
    half = _student((1 + CORRECTED) / 2, folds * (seeds - 1)) * error
    low, high = over_patients
    low, high = value - math.hypot(value - low, half), value + math.hypot(high - value, half)
    return float(np.clip(low, -1, 1)), float(np.clip(high, -1, 1))  # a nan stays one


@cache
def _student(share: float, freedom: int) -> float:
    """Return a quantile of Student's t, from draws: neither numpy nor Python has it."""
    return float(np.quantile(np.random.default_rng(0).standard_t(freedom, _DRAWN_T), share))


def winners(found: Sequence[Difference]) -> list[str]:
    """Say in one line each which network is better; one line if none is."""
    lines = [
        f"{MEASURES[d.measure]}: {VARIANTS[d.winner]} is better than "
        f"{VARIANTS[d.first if d.winner == d.second else d.second]} by {abs(d.value):.4f}"
        for d in found
        if d.winner
    ]
    if lines:
        return lines
    if all(math.isnan(d.over_seeds) for d in found):
        return ["no winner is named from one seed, since another may turn the difference"]
    return ["no winner: no interval leaves zero out"]
