"""Means and spreads of the trained networks' measures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from darnet_trt.evaluation.metrics import Scores
from darnet_trt.training.ablation.paper import MEASURES, VARIANTS
from darnet_trt.training.ablation.scored import Scored
from darnet_trt.training.model import Attention

Indices = npt.NDArray[np.intp]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Score:
    """A measure of one variant.

    Attributes:
        mean: Over folds and seeds.
        over_folds: Standard deviation (n − 1) over the folds of their means over the seeds.
        over_seeds: Standard deviation (n − 1) over the seeds of their means over the folds.
            Either is nan for a single one.
    """

    mean: float
    over_folds: float
    over_seeds: float


def score(grid: Floats) -> Score:
    """Summarize a measure of the trainings, (folds, seeds); nan where it is not defined."""
    kept = grid[~np.isnan(grid).any(1)]  # without the folds in which it is not defined
    if not len(kept):
        return Score(np.nan, np.nan, np.nan)
    return Score(float(kept.mean()), _spread(kept.mean(1)), _spread(kept.mean(0)))


def _spread(values: Floats) -> float:
    return float(values.std(ddof=1)) if len(values) > 1 else float("nan")


def scores(grids: Mapping[Attention, Mapping[str, Floats]]) -> dict[Attention, dict[str, Score]]:
    """Summarize each measure of each variant."""
    return {
        variant: {measure: score(grid) for measure, grid in of_variant.items()}
        for variant, of_variant in grids.items()
    }


class Scans:
    """The scans of one side, and what every network answered for them.

    Args:
        scored: Of that side; at least one.
    """

    def __init__(self, scored: Sequence[Scored]) -> None:
        self._trainings = [one.training for one in scored]
        self._answers = [Scores.of(one.logits, one.labels) for one in scored]
        patients = {s: p for one in scored for s, p in zip(one.scans, one.patients, strict=True)}
        self.patients = tuple(patients.values())
        place = {scan: index for index, scan in enumerate(patients)}
        self._rows = [np.array([place[scan] for scan in one.scans]) for one in scored]
        self._folds = sorted({one.training.fold for one in scored})
        self._seeds = sorted({one.training.seed for one in scored})

    def measures(self, drawn: Indices | None = None) -> dict[Attention, dict[str, Floats]]:
        """Return each variant's measures, (folds, seeds).

        Args:
            drawn: Indices into `patients`; a scan that occurs twice counts twice. None: every scan
                once.
        """
        times: Callable[[Indices], Indices] = np.ones_like
        if drawn is not None:
            count = np.bincount(drawn, minlength=len(self.patients))
            times = count.__getitem__
        empty = np.full((len(self._folds), len(self._seeds)), np.nan)
        found: dict[Attention, dict[str, Floats]] = {
            variant: {measure: empty.copy() for measure in MEASURES} for variant in VARIANTS
        }
        for of, answers, rows in zip(self._trainings, self._answers, self._rows, strict=True):
            at = self._folds.index(of.fold), self._seeds.index(of.seed)
            chosen = np.repeat(np.arange(len(rows)), times(rows))
            for measure, value in answers[chosen].of_positive().items():
                found[of.attention][measure][at] = value
        return found
