"""Measure how two engines' decisions on the same scans differ."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from darnet_trt.bundle.manifest import Difference
from darnet_trt.evaluation.intervals import accuracy_interval, paired_areas
from darnet_trt.evaluation.metrics import softmax
from darnet_trt.scan.cohorts import POSITIVE

Logits = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Side:
    """The scans of the positive class, or the others.

    Attributes:
        scans: Number of scans.
        flips: Of these, the scans whose most probable class differs.
    """

    scans: int
    flips: int


@dataclass(frozen=True)
class Movement:
    """The movement of decisions. A scan with NaN or infinity counts as flipped and moved by 1.

    Attributes:
        scans: Number of all scans.
        broken: Scans for which an engine gave NaN or infinity.
        broken_reference: Scans for which the reference gave NaN or infinity.
        flips: Scans whose most probable class differs.
        sure_flips: Flipped scans of which the reference was sure.
        positive: The scans of the positive class, by label; without labels, those that the
            reference calls so.
        others: The other scans.
        called: Number of classes that the reference assigns.
        far: Scans of which a probability moved far.
        mean_drift: Mean over the scans of the class probability that moved most; what moved far
            counts as moved by that limit.
        max_drift: The largest of these.
    """

    scans: int
    broken: int
    broken_reference: int
    flips: int
    sure_flips: int
    positive: Side
    others: Side
    called: int
    far: int
    mean_drift: float
    max_drift: float


def movement(
    reference: Logits, candidate: Logits, labels: Labels | None, sure_lead: float, far: float
) -> Movement:
    """Compare classes and probabilities.

    Args:
        reference: Logits, (n, classes).
        candidate: Logits for the same scans.
        labels: Classes, (n,); None if not known.
        sure_lead: The reference is sure if its first class leads the second by at least this.
        far: A probability moves far if it moves by more than this.
    """
    lacking = ~np.asarray(np.isfinite(reference).all(1))
    broken = lacking | ~np.asarray(np.isfinite(candidate).all(1))
    before = softmax(np.where(broken[:, None], 0, reference))
    after = softmax(np.where(broken[:, None], 0, candidate))
    second, first = np.sort(before, 1)[:, -2:].T
    classes = before.argmax(1)
    flipped = broken | (classes != after.argmax(1))
    drift = np.where(broken, 1.0, np.abs(after - before).max(1))
    positive = (classes if labels is None else labels) == POSITIVE
    capped = np.minimum(drift, far)
    return Movement(
        scans=len(drift),
        broken=int(broken.sum()),
        broken_reference=int(lacking.sum()),
        flips=int(flipped.sum()),
        sure_flips=int((flipped & (broken | (first - second >= sure_lead))).sum()),
        positive=Side(int(positive.sum()), int((positive & flipped).sum())),
        others=Side(int((~positive).sum()), int((~positive & flipped).sum())),
        called=len(np.unique(classes)),
        far=int((drift > far).sum()),
        mean_drift=math.fsum(capped) / len(drift),  # the same for every order of the scans
        max_drift=float(drift.max()),
    )


@dataclass(frozen=True)
class Labelled:
    """The correctness of both engines' decisions.

    Attributes:
        counts: Scans of each class, in the order of the logits.
        auc: AUC of the positive class against the rest; None if one side is absent.
        accuracy: Accuracy of all classes.
    """

    counts: tuple[int, ...]
    auc: Difference | None
    accuracy: Difference

    @property
    def scans(self) -> int:
        """Number of all scans."""
        return sum(self.counts)

    @property
    def positive(self) -> int:
        """Number of scans of the positive class."""
        return self.counts[POSITIVE]

    @property
    def others(self) -> int:
        """Number of the other scans."""
        return self.scans - self.positive


def labelled(reference: Logits, candidate: Logits, labels: Labels) -> Labelled:
    """Compare both engines with the labels.

    Args:
        reference: Logits, (n, classes), finite.
        candidate: Logits for the same scans, finite.
        labels: Classes, (n,).
    """
    counts = np.bincount(labels, minlength=reference.shape[1])
    auc = None
    if 0 < counts[POSITIVE] < len(labels):
        first, second, lower, upper = paired_areas(
            _log_odds(reference), _log_odds(candidate), labels, POSITIVE
        )
        auc = Difference(reference=first, candidate=second, lower=lower, upper=upper)
    before, after = reference.argmax(1) == labels, candidate.argmax(1) == labels
    lost, gained = int((before & ~after).sum()), int((after & ~before).sum())
    lower, upper = accuracy_interval(lost, gained, len(labels))
    accuracy = Difference(
        reference=float(before.mean()), candidate=float(after.mean()), lower=lower, upper=upper
    )
    return Labelled(tuple(counts.tolist()), auc, accuracy)


def _log_odds(logits: Logits) -> npt.NDArray[np.float64]:
    """Return the positive class's log odds: unlike probabilities, they stay apart near 0 and 1."""
    exact = logits.astype(np.float64)
    rest = np.logaddexp.reduce(np.delete(exact, POSITIVE, axis=1), axis=1)
    return np.asarray(exact[:, POSITIVE] - rest)
