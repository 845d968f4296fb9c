"""Confidence intervals of any measure, by drawing patients.

The scans of a patient are alike, so patients are drawn, each with all of their scans: the cluster
bootstrap (Davison and Hinkley, Bootstrap Methods and their Application, 1997, section 3.8).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from statistics import NormalDist
from typing import Final

import numpy as np
import numpy.typing as npt

Indices = npt.NDArray[np.intp]
"""Name the scans that were drawn, by number; one that was drawn twice occurs twice."""

_LEAST_DEFINED: Final = 0.5
"""Share of the draws that must give a value. Where fewer do, there is no interval."""
_NORMAL: Final = NormalDist()


def bootstrap_each(
    measures: Callable[[Indices], Mapping[str, float]],
    patients: Sequence[str],
    *,
    mirrored: Sequence[str] = (),
    draws: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, tuple[float, float]]:
    """Return the ends of the interval of each of several measures, from the same draws.

    The interval is BCa: corrected for bias, and for skewness by leaving out one patient after the
    other (Efron, Journal of the American Statistical Association 82, 1987, 171-185), and widened
    for few patients (Hesterberg, The American Statistician 69, 2015, 371-386, section 3.5).

    Draws for which a measure is absent or nan, as an AUC without a positive scan, are left out.

    Args:
        measures: Gets the indices of the scans drawn.
        patients: Of each scan.
        mirrored: Measures that scatter only raises, as means of absolute values. A draw adds as
            much to the measure as the sample did to the truth, so its ends are mirrored at the
            measure and kept in 0…1 (the basic interval; Davison and Hinkley, section 2.4).
        draws: How often to draw.
        level: How often such intervals hold the truth.
        seed: Of the draws.

    Returns:
        The intervals by name; none where there are fewer than two patients, and none for a measure
        that is not defined for all scans or for half of the draws.
    """
    names, member = np.unique(np.asarray(patients, dtype=object).astype(str), return_inverse=True)
    count = len(names)
    whole = {k: v for k, v in measures(np.arange(len(member))).items() if not math.isnan(v)}
    if count < 2:
        return {}
    order = np.argsort(member, kind="stable")
    scans = np.split(order, np.bincount(member).cumsum()[:-1])
    rng = np.random.default_rng(seed)

    def values(chosen: npt.NDArray[np.int64]) -> list[float]:
        found = measures(np.concatenate([scans[one] for one in chosen]))
        return [found.get(name, math.nan) for name in whole]

    drawn = np.array([values(rng.integers(count, size=count)) for _ in range(draws)])
    everyone = np.arange(count)
    without = np.array([values(np.delete(everyone, one)) for one in everyone])
    result = {}
    for column, (name, value) in enumerate(whole.items()):
        kept = _defined(drawn[:, column])
        if len(kept) < _LEAST_DEFINED * draws:
            continue
        if name in mirrored:
            result[name] = _mirrored(value, kept, count, level)
        else:
            result[name] = _ends(value, kept, _defined(without[:, column]), count, level)
    return result


def _defined(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return values[~np.isnan(values)]


def _ends(
    value: float,
    drawn: npt.NDArray[np.float64],
    without: npt.NDArray[np.float64],
    patients: int,
    level: float,
) -> tuple[float, float]:
    """Return the ends of the BCa interval.

    Args:
        value: The measure of all scans.
        drawn: That of each draw.
        without: That of all but one patient, for each.
        patients: Their number.
        level: As of `bootstrap_each`.
    """
    below = np.mean(drawn < value) + np.mean(drawn == value) / 2  # few scans have few values
    rim = 0.5 / len(drawn)
    bias = _NORMAL.inv_cdf(min(max(float(below), rim), 1 - rim))
    apart = without.mean() - without if len(without) else np.zeros(1)
    spread = float((apart**2).sum()) ** 1.5
    skewness = float((apart**3).sum()) / (6 * spread) if spread else 0.0
    half = _widened(level, patients)
    ends = []
    for z in (bias - half, bias + half):
        slope = 1 - skewness * z
        share = _NORMAL.cdf(bias + z / slope) if slope > 0 else float(z > 0)
        ends.append(float(np.quantile(drawn, share)))
    return ends[0], ends[1]


def _mirrored(
    value: float, drawn: npt.NDArray[np.float64], patients: int, level: float
) -> tuple[float, float]:
    """Return the ends of the basic interval, in 0…1."""
    share = _NORMAL.cdf(_widened(level, patients))
    low, high = (2 * value - float(np.quantile(drawn, q)) for q in (share, 1 - share))
    return min(max(low, 0.0), 1.0), min(max(high, 0.0), 1.0)


def _widened(level: float, patients: int) -> float:
    """Return the normal quantile for √(k/(k − 1)) times that of Student's t, k patients.

    The draws of k patients spread less than samples of k patients do, by the root; and their spread
    is itself uncertain. The quantile of t is Cornish and Fisher's expansion.
    """
    z, k = _NORMAL.inv_cdf((1 + level) / 2), patients - 1
    t = z + (z**3 + z) / (4 * k) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * k**2)
    return t * math.sqrt(patients / k)
