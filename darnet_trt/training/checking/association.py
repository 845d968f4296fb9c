"""Test whether patients of some classes have a trait more often than chance gives.

A patient counts once. Two rules, for two kinds of evidence:

- **By chance alone.** The smallest probability of all looks together (each group of patients
  against each class, and each number compared between classes) is judged against the same for
  labels exchanged at random between patients (Westfall and Young, Resampling-Based Multiple
  Testing, 1993). So the chance that a clean cohort is called leaky stays at `CHANCE`, however many
  traits are looked at.
- **Odd scans of one class.** Four of 40 patients of one class, and none of 80 others, may be chance
  once in 30 cohorts: no correction for looks lets that pass. But clean cohorts have no scans that
  lie apart from all others in the first place. Where there are some, at least `FEWEST_ODD`
  patients, and all of one class, a chance below `ODD_CHANCE` is enough.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]
Float = npt.NDArray[np.float64]

CHANCE: Final = 0.001
ODD_CHANCE: Final = 0.12
FEWEST_ODD: Final = 3
_DRAWS: Final = 4999
_BATCH: Final = 500
_LEAST: Final = 1e-30


@dataclass(frozen=True)
class Verdict:
    """What a look showed.

    Attributes:
        chance: Of something as striking in any look, if classes and traits had nothing in common.
        label: The class that has most of it; its number.
        telling: Whether it gives the class away.
    """

    chance: float
    label: int
    telling: bool


def judge(
    groups: Sequence[tuple[Mask, bool]], numbers: Sequence[Float], labels: npt.NDArray[np.intp]
) -> tuple[list[Verdict], list[Verdict]]:
    """Judge groups of patients, and numbers of patients.

    Args:
        groups: Which patients have a trait (patients), and whether these are odd.
        numbers: A number of each patient (patients), NaN where it is not known.
        labels: Each patient's class, 0…

    Returns:
        Of each group, and of each number.
    """
    classes = int(labels.max()) + 1
    sizes = np.bincount(labels, minlength=classes)
    looks = [_Members(members, sizes) for members, _ in groups]
    looks_at_numbers = [_Ranks(values) for values in numbers]
    every: list[_Members | _Ranks] = [*looks, *looks_at_numbers]
    if not every:
        return [], []
    actual = np.stack([look.chances(_one_hot(labels[None], classes))[0] for look in every])
    least = _least_of_draws(every, float(actual.min()), labels, classes)
    verdicts = []
    for chances in actual:
        family = float((1 + (least <= chances.min() * (1 + 1e-9)).sum()) / (1 + len(least)))
        verdicts.append(Verdict(family, int(chances.argmin()), family <= CHANCE))
    for place, (members, odd) in enumerate(groups):
        of = np.unique(labels[members])
        alone = classes * float(actual[place].min())
        few = int(members.sum())
        telling = verdicts[place].telling
        if odd and len(of) == 1 and few >= FEWEST_ODD and alone <= ODD_CHANCE and not telling:
            verdicts[place] = Verdict(alone, int(of[0]), True)
    return verdicts[: len(groups)], verdicts[len(groups) :]


def _least_of_draws(
    every: Sequence[_Members | _Ranks],
    smallest: float,
    labels: npt.NDArray[np.intp],
    classes: int,
) -> Float:
    """Return the smallest chance of all looks, for each of many random exchanges of labels.

    Args:
        every: The looks.
        smallest: Of their chances; once it is surely above `CHANCE` among all looks, no more labels
            are exchanged.
        labels: Each patient's class.
        classes: How many.
    """
    rng = np.random.default_rng(0)
    least = []
    for first in range(0, _DRAWS, _BATCH):
        count = min(_BATCH, _DRAWS - first)
        drawn = rng.permuted(np.tile(labels, (count, 1)), axis=1)
        hot = _one_hot(drawn, classes)
        least.append(np.min([look.chances(hot).min(1) for look in every], axis=0))
        if (np.concatenate(least) <= smallest).sum() > CHANCE * (_DRAWS + 1):
            break
    return np.concatenate(least)


def _one_hot(labels: npt.NDArray[np.intp], classes: int) -> Float:
    """Return (draws, patients) as (draws, classes, patients)."""
    return np.asarray(labels[:, None] == np.arange(classes)[:, None], np.float64)


class _Members:
    """A group: the chance of so many of a class in it, or more (Fisher's exact test, one-sided)."""

    def __init__(self, members: Mask, sizes: npt.NDArray[np.intp]) -> None:
        self._members = members.astype(np.float64)
        inside, total = int(members.sum()), int(sizes.sum())
        self._tails = np.ones((len(sizes), inside + 1))
        for label, size in enumerate(sizes.tolist()):
            low = max(0, inside + size - total)
            counts = range(low, min(inside, size) + 1)
            chances = [_hypergeometric(count, inside, size, total) for count in counts]
            tails = np.cumsum(chances[::-1])[::-1]
            self._tails[label, low : low + len(tails)] = np.minimum(tails, 1)
            self._tails[label, low + len(tails) :] = _LEAST

    def chances(self, hot: Float) -> Float:
        """Return (draws, classes)."""
        counts = np.rint(hot @ self._members).astype(int)
        return np.asarray(self._tails[np.arange(hot.shape[1]), counts])


class _Ranks:
    """A number: the chance that ranks of a class lie so high or so low (Wilcoxon's rank sum)."""

    def __init__(self, values: Float) -> None:
        self._known = np.isfinite(values)
        known = values[self._known]
        _, inverse, counts = np.unique(known, return_inverse=True, return_counts=True)
        ends = np.cumsum(counts)
        self._ranks = (ends - (counts - 1) / 2)[inverse]
        self._ranks = self._ranks - self._ranks.mean() if len(known) else self._ranks
        self._variance = float((self._ranks**2).mean()) if len(known) > 1 else 0.0

    def chances(self, hot: Float) -> Float:
        """Return (draws, classes)."""
        hot = hot[:, :, self._known]
        n, sizes = hot.shape[2], hot.sum(2)
        spread = self._variance * sizes * (n - sizes) / max(n - 1, 1)
        z = np.abs(hot @ self._ranks) / np.sqrt(np.maximum(spread, 1e-12))
        z = np.where(spread > 1e-9, z, 0.0)
        return np.asarray(np.maximum(_two_sided(z), _LEAST))


def _hypergeometric(count: int, inside: int, size: int, total: int) -> float:
    return (
        math.comb(size, count) * math.comb(total - size, inside - count) / math.comb(total, inside)
    )


def _two_sided(z: Float) -> Float:
    """Return the chance of a normal value so far from 0."""
    return np.asarray(np.vectorize(math.erfc, otypes=[np.float64])(z / math.sqrt(2)))
