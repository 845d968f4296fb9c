"""Confidence intervals: of one engine's measures, and of the difference of two engines.

They assume independent scans: one a patient.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

# Two-sided 95 %: a value below the lower end has a chance of 2.5 %, as non-inferiority trials
# require.
_Z: Final = 1.959964

Scores = npt.NDArray[np.float64]


def paired_areas(
    reference: npt.NDArray[Any],
    candidate: npt.NDArray[Any],
    labels: npt.NDArray[np.int64],
    positive: int,
) -> tuple[float, float, float, float]:
    """Compare two engines' areas under the ROC curve on the same scans.

    The interval has two parts. The first is that of DeLong, DeLong and Clarke-Pearson (Biometrics
    44, 1988, 837-845), computed from ranks (Sun and Xu, IEEE Signal Processing Letters 21, 2014,
    1389-1393). It cannot show what happened in no scan, so there is a second: if none of k scans of
    a side changed its place in the order, up to `share_at_most(0, k)` of new scans may, and each
    takes its share of the area with it (the rule of three of Hanley and Lippman-Hand, JAMA 249,
    1983, 1743-1745, with Wilson's limit); k is the number of scans of the smaller side. The parts
    are combined as the root of their squares (Newcombe, Statistics in Medicine 17, 1998, 873-890;
    Zou and Donner, ibid. 27, 2008, 1693-1702). So the interval is never narrower than the number of
    scans allows. `benchmarks/quantization/coverage.py` shows how often it covers the truth.

    Args:
        reference: Scores of the first engine, (n,).
        candidate: Scores of the same scans, (n,).
        labels: Classes, (n,).
        positive: The class that should score above the others; it and another must occur.

    Returns:
        The area of the first engine, that of the second, and the ends of the 95 % interval of
        second − first.
    """
    order = np.lexsort((candidate, reference, labels))  # so sums do not depend on the scans' order
    positives = labels[order] == positive
    before = _shares_in_order(reference[order], positives)
    after = _shares_in_order(candidate[order], positives)
    first, second = float(before[0].mean()), float(after[0].mean())
    variance = sum(_variance_of_mean(a - b) for a, b in zip(after, before, strict=True))
    unseen = share_at_most(0, min(map(len, before)))
    half = math.hypot(_Z * math.sqrt(variance), unseen)
    return first, second, max(-1.0, second - first - half), min(1.0, second - first + half)


def area_interval(
    scores: npt.NDArray[Any], positives: npt.NDArray[np.bool_], z: float = _Z
) -> tuple[float, float, float]:
    """Return the area under the ROC curve, and the ends of its interval, by default of 95 %.

    The ends are the areas that a score test just does not reject, with Hanley and McNeil's variance
    (Newcombe, Statistics in Medicine 25, 2006, 559-573, method 5). So the interval has a width also
    where every scan is in order.

    Args:
        scores: Scores of the scans, (n,).
        positives: Which of them should score above the others, (n,); both kinds must occur.
        z: Standard deviations on each side.
    """
    m, n = int(positives.sum()), int((~positives).sum())
    area = float(_shares_in_order(scores, positives)[0].mean())
    others = (m + n) / 2 - 1

    def rejected(true: float) -> bool:
        spread = 1 + others * ((1 - true) / (2 - true) + true / (1 + true))
        return abs(area - true) > z * math.sqrt(true * (1 - true) * spread / (m * n))

    return area, _edge(rejected, 0.0, area), _edge(rejected, 1.0, area)


def _edge(rejected: Callable[[float], bool], far: float, kept: float) -> float:
    """Return the value between `far` and `kept` that is nearest to `far` and not rejected."""
    for _ in range(50):
        middle = (far + kept) / 2
        if rejected(middle):
            far = middle
        else:
            kept = middle
    return kept


def share_interval(found: int, scans: int) -> tuple[float, float]:
    """Return the ends of Wilson's 95 % interval of the share `found` / `scans`."""
    return 1 - share_at_most(scans - found, scans), share_at_most(found, scans)


def _shares_in_order(scores: npt.NDArray[Any], positives: npt.NDArray[np.bool_]) -> list[Scores]:
    """Return each positive's share of the others below it, and each other's of the positives above.

    A scan with an equal score counts half. The mean of either is the area.
    """
    high, low, ranks = scores[positives], scores[~positives], _midranks(scores)
    return [
        (ranks[positives] - _midranks(high)) / len(low),
        1 - (ranks[~positives] - _midranks(low)) / len(high),
    ]


def _midranks(scores: npt.NDArray[Any]) -> Scores:
    """Return each score's rank from 1; equal scores share their mean rank."""
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    return np.asarray((counts.cumsum() - (counts - 1) / 2)[inverse])


def _variance_of_mean(values: Scores) -> float:
    return float(values.var(ddof=1)) / len(values) if len(values) > 1 else 0.0


def accuracy_interval(lost: int, gained: int, scans: int) -> tuple[float, float]:
    """Return the 95 % interval of the difference of two engines' accuracies.

    It is Tango's score interval for paired proportions (Statistics in Medicine 17, 1998, 891-908).
    Unlike a bootstrap's, it is wide if a few scans showed no change.

    Args:
        lost: Scans that only the reference classifies correctly.
        gained: Scans that only the candidate classifies correctly.
        scans: Number of all scans.
    """
    return _score_limit(lost, gained, scans), -_score_limit(gained, lost, scans)


def share_at_most(found: int, scans: int) -> float:
    """Return the upper end of Wilson's 95 % interval of the share `found` / `scans`."""
    spread = _Z * math.sqrt(found * (scans - found) / scans + _Z**2 / 4)
    return (found + _Z**2 / 2 + spread) / (scans + _Z**2)


@cache
def largest_share(found: int, scans: int, chance: float) -> float:
    """Return the largest share of new scans of which so few would still be found.

    It is the upper end of the exact one-sided interval (Clopper and Pearson, Biometrika 26, 1934,
    404-413) with a confidence of 1 − `chance`.
    """
    if found == scans:
        return 1.0
    kept, excluded = found / scans, 1.0
    for _ in range(50):
        middle = (kept + excluded) / 2
        if _at_most(found, scans, middle) > chance:
            kept = middle
        else:
            excluded = middle
    return excluded


@cache
def most_found(scans: int, share: float, chance: float) -> int:
    """Return how many may be found so that `largest_share` is at most `share`; -1 if none may."""
    found = -1
    while found + 1 < scans and _at_most(found + 1, scans, share) <= chance:
        found += 1
    return found


def _at_most(found: int, scans: int, share: float) -> float:
    """Return the chance to find at most so many if this is the share, 0 < share < 1."""
    return math.fsum(
        math.exp(
            math.lgamma(scans + 1)
            - math.lgamma(k + 1)
            - math.lgamma(scans - k + 1)
            + k * math.log(share)
            + (scans - k) * math.log1p(-share)
        )
        for k in range(found + 1)
    )


@cache
def _score_limit(lost: int, gained: int, scans: int) -> float:
    """Return the lowest difference that the score test does not reject."""

    def statistic(difference: float) -> float:
        # The most likely probability of a loss if this were the difference.
        b = lost + gained - (2 * scans + lost - gained) * difference
        root = b * b + 8 * scans * lost * difference * (1 - difference)
        loss = (b + math.sqrt(max(root, 0.0))) / (4 * scans)
        variance = scans * (2 * loss + difference * (1 - difference))
        return (gained - lost - scans * difference) / math.sqrt(max(variance, 1e-300))

    rejected, kept = -1.0, (gained - lost) / scans
    for _ in range(60):
        middle = (rejected + kept) / 2
        if statistic(middle) > _Z:
            rejected = middle
        else:
            kept = middle
    return kept
