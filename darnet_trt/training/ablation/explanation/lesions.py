"""Compare what a network looks at with where a phantom's lesions are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from darnet_trt.evaluation.evidence import grown, stride, tents
from darnet_trt.training.ablation.explanation.regions import Regions

Float = npt.NDArray[np.float32]
STAGES = 4


@dataclass(frozen=True)
class LesionScore:
    """How well a network's map and gates agree with the lesions of a scan; nan where undefined.

    Attributes:
        energy_in_lungs: Share of the positive evidence for the scan's class that lies in the lungs.
        energy_in_lesions: Share that lies in lesions.
        lesions_of_lungs: The lesions' share of the lungs: what a map that is even over the lungs,
            and zero elsewhere, would have in lesions.
        hottest_touches: 1 if the cell with most evidence touches a lesion, else 0. A cell reaches
            half-way to its neighbours.
        by_chance: Share of the cells that touch the lungs which touch a lesion, too.
        gates: Correlation (Pearson) of each stage's depth gates with the area of the lesions in
            its slices; empty for a network without depth attention.
    """

    energy_in_lungs: float
    energy_in_lesions: float
    lesions_of_lungs: float
    hottest_touches: float
    by_chance: float
    gates: tuple[float, ...]


def score_lesions(cam: Float, gates: Sequence[Float], regions: Regions) -> LesionScore:
    """Score one scan that has lesions.

    Args:
        cam: The map of the scan's class, (d/8, h/16, w/16).
        gates: Of each stage, (d of the stage,).
        regions: Of the input.
    """
    lungs, lesions = regions.lungs, regions.lesions
    evidence = grown(cam, lungs.shape).clip(0).astype(np.float64)
    energy = float(evidence.sum())
    in_lungs, in_lesions = np.nan, np.nan
    if energy > 0:
        in_lungs = float((evidence * lungs).sum()) / energy
        in_lesions = float((evidence * lesions).sum()) / energy
    of_lungs, of_lesions = (_cells(mask > 0.5, cam.shape) for mask in (lungs, lesions))
    hottest = np.unravel_index(int(cam.argmax()), cam.shape)
    area = lesions.sum((1, 2))
    return LesionScore(
        in_lungs,
        in_lesions,
        float(lesions.sum() / lungs.sum()),
        float(of_lesions[hottest]),
        float(of_lesions[of_lungs].mean()) if of_lungs.any() else np.nan,
        tuple(_correlation(of_stage, area) for of_stage in gates),
    )


def mean_score(scores: Sequence[LesionScore]) -> LesionScore:
    """Return the mean of each score over the scans for which it is defined."""
    singles = {
        field.name: _mean([getattr(one, field.name) for one in scores])
        for field in fields(LesionScore)
        if field.name != "gates"
    }
    gates = tuple(_mean(stage) for stage in zip(*(one.gates for one in scores), strict=True))
    return LesionScore(**singles, gates=gates)


def _mean(values: Sequence[float]) -> float:
    kept = [value for value in values if not np.isnan(value)]
    return float(np.mean(kept)) if kept else np.nan


def _cells(mask: npt.NDArray[np.bool_], cells: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    """Return which cells of the map have a voxel of the mask that is nearest to their centre."""
    touched = mask
    for axis, count in enumerate(cells):
        n = mask.shape[axis]
        nearest = np.minimum((np.arange(n) + stride(n, count) // 2) // stride(n, count), count - 1)
        inside = [touched.take(np.flatnonzero(nearest == cell), axis) for cell in range(count)]
        touched = np.stack([one.any(axis) for one in inside], axis)
    return touched


def _correlation(gates: Float, area: Float) -> float:
    """Correlate a stage's gates with the lesions' area, which each of its slices weighs."""
    weights = tents(len(area), len(gates))
    of_stage = weights.T @ area / weights.sum(0)
    if np.ptp(gates) == 0 or np.ptp(of_stage) == 0:
        return float("nan")
    return float(np.corrcoef(gates, of_stage)[0, 1])
