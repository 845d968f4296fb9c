"""Confidence intervals of the difference between two engines, from the same scans.

They assume independent scans: one a patient.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from darnet_trt.evaluation.metrics import concordance

# Two-sided 95 %: a value below the lower end has a chance of 2.5 %, as non-inferiority trials
# require.
_TAIL: Final = 0.025
_Z: Final = 1.959964
_RESAMPLES: Final = 2000


def paired_areas(
    reference: npt.NDArray[Any],
    candidate: npt.NDArray[Any],
    labels: npt.NDArray[np.int64],
    positive: int,
) -> tuple[float, float, float, float]:
    """Compare two engines' areas under the ROC curve on the same scans.

    The interval has two parts. The first is a percentile bootstrap, resampled within each class. It
    cannot show what happened in no scan, so there is a second: if none of k scans of a side changed
    its place in the order, up to `share_at_most(0, k)` of new scans may, and each takes its share
    of the area with it (the rule of three of Hanley and Lippman-Hand, JAMA 249, 1983, 1743-1745,
    with Wilson's limit); k is the number of scans of the smaller side. The parts are combined as
    the root of their squares (Newcombe, Statistics in Medicine 17, 1998, 873-890; Zou and Donner,
    ibid. 27, 2008, 1693-1702). So the interval is never narrower than the number of scans allows.
    It does not depend on the order of the scans, and is the same each time.

    Args:
        reference: Scores of the first engine, (n,).
        candidate: Scores of the same scans, (n,).
        labels: Classes, (n,).
        positive: The class that should score above the others; it and another must occur.

    Returns:
        The area of the first engine, that of the second, and the ends of the 95 % interval of
        second − first.
    """
    order = np.lexsort((candidate, reference, labels))
    reference, candidate, labels = reference[order], candidate[order], labels[order]
    positives = labels == positive
    before = concordance(reference, positives)
    after = concordance(candidate, positives)
    # How often each scan is drawn: with it the area of a resample is two products.
    rng = np.random.default_rng(0)
    drawn = np.concatenate(
        [
            rng.multinomial(count, np.full(count, 1 / count), _RESAMPLES)
            for count in np.unique(labels, return_counts=True)[1]
        ],
        axis=1,
    )
    resampled = ((drawn[:, positives] @ (after - before)) * drawn[:, ~positives]).sum(1)
    drawn_low, drawn_high = np.quantile(resampled / before.size, (_TAIL, 1 - _TAIL))
    found = float(after.mean() - before.mean())
    unseen = share_at_most(0, min(before.shape))
    lower = max(-1.0, found - math.hypot(max(0.0, found - drawn_low), unseen))
    upper = min(1.0, found + math.hypot(max(0.0, drawn_high - found), unseen))
    return float(before.mean()), float(after.mean()), lower, upper


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
