"""Measure a network on patients it has not seen, as in the paper's Table 2.

`docs/evaluation.md` defines every figure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from darnet_trt.scan.cohorts import POSITIVE

BINS: Final = 15
"""Divide 0…1 for the calibration error, as in Guo et al. 2017."""

Floats = npt.NDArray[np.float64]


def softmax(logits: npt.NDArray[Any]) -> Floats:
    """Return the probabilities of logits, float64 (n, classes)."""
    shifted = np.exp(logits.astype(np.float64) - logits.max(1, keepdims=True))
    return np.asarray(shifted / shifted.sum(1, keepdims=True))


def log_odds(logits: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Return log p/(1 − p) of each class, float32 (n, classes).

    It orders the scans as the probability does, also where that rounds to 0 or 1. float32, as the
    logits are, so that equal odds stay equal whatever the order of the sum.
    """
    values = logits.astype(np.float64)
    count = values.shape[1]
    others = ~np.eye(count, dtype=bool)
    rest = [np.logaddexp.reduce(values[:, others[one]], axis=1) for one in range(count)]
    return np.asarray(values - np.stack(rest, axis=1), np.float32)


@dataclass(frozen=True, eq=False)
class Scores:
    """What the measures need of each scan, so that many draws of scans are measured fast.

    Attributes:
        labels: (n,) indices of the classes.
        predicted: (n,).
        ranks: Dense ranks of each class's odds, (n, classes); equal odds have one rank.
        losses: −log of the label's probability, (n,).
        confidence: Probability of the likeliest class, (n,).
    """

    labels: npt.NDArray[np.int64]
    predicted: npt.NDArray[np.int64]
    ranks: npt.NDArray[np.int64]
    losses: Floats
    confidence: Floats

    @classmethod
    def of(cls, logits: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]) -> Scores:
        """Return the scores of logits (n, classes) with labels (n,)."""
        odds = log_odds(logits)
        ranks = [np.unique(of_class, return_inverse=True)[1] for of_class in odds.T]
        return cls(
            labels,
            logits.argmax(1),
            np.stack(ranks, axis=1),
            np.logaddexp(0, -odds[np.arange(len(labels)), labels].astype(np.float64)),
            softmax(logits).max(1),
        )

    def __getitem__(self, drawn: npt.NDArray[np.intp]) -> Scores:
        """Return the scores of some scans; one may occur twice."""
        return Scores(
            self.labels[drawn],
            self.predicted[drawn],
            self.ranks[drawn],
            self.losses[drawn],
            self.confidence[drawn],
        )

    def measures(self, classes: Sequence[str]) -> dict[str, float]:
        """Return what `evaluate` does."""
        if not len(self.labels):
            return {}
        count = len(classes)
        confusion = np.bincount(self.labels * count + self.predicted, minlength=count**2)
        confusion = confusion.reshape(count, count)
        scans, called = confusion.sum(1).tolist(), confusion.sum(0).tolist()
        hits = confusion.diagonal().tolist()
        result: dict[str, float] = {"scans": len(self.labels)}
        for index, name in enumerate(classes):
            result[f"scans_{name}"], result[f"correct_{name}"] = scans[index], hits[index]
        each: dict[str, list[float]] = {"precision": [], "recall": [], "f1": [], "auc": []}
        for index, name in enumerate(classes):
            if not scans[index]:
                continue
            found = {
                "precision": hits[index] / max(1, called[index]),
                "recall": hits[index] / scans[index],
                "f1": 2 * hits[index] / (scans[index] + called[index]),
            }
            if scans[index] < len(self.labels):
                found["auc"] = area(self.ranks[:, index], self.labels == index)
            for measure, value in found.items():
                result[f"{measure}_{name}"] = value
                each[measure].append(value)
        result |= {f"macro_{name}": sum(v) / len(v) for name, v in each.items() if v}
        ranked = result.get(f"auc_{classes[POSITIVE]}")
        return result | self.of_positive(ranked) | self.of_probabilities()

    def of_positive(self, auc: float | None = None) -> dict[str, float]:
        """Return the accuracy, and the measures of the positive class where it and others occur.

        Args:
            auc: Of the positive class, where it is known already.
        """
        if not len(self.labels):
            return {}
        positive, called = self.labels == POSITIVE, self.predicted == POSITIVE
        found = {"accuracy": float((self.predicted == self.labels).mean())}
        positives, calls = int(positive.sum()), int(called.sum())
        hits = int((positive & called).sum())
        if 0 < positives < len(self.labels):
            found["auc"] = area(self.ranks[:, POSITIVE], positive) if auc is None else auc
            found["sensitivity"] = hits / positives
            found["specificity"] = 1 - (calls - hits) / (len(self.labels) - positives)
            found["f1"] = 2 * hits / (positives + calls)
        return found

    def of_probabilities(self) -> dict[str, float]:
        """Return the measures that a temperature changes."""
        excess = self.confidence - (self.predicted == self.labels)
        return {
            "log_loss": float(self.losses.mean()),
            "calibration_error": _binned_error(self.confidence, excess),
            "overconfidence": float(excess.mean()),
        }


def area(ranks: npt.NDArray[np.int64], positive: npt.NDArray[np.bool_]) -> float:
    """Return the area under the ROC curve: the chance that a positive ranks above a negative.

    Equal ranks count half (the Mann-Whitney statistic). Both kinds must occur.

    Args:
        ranks: (n,), from 0.
        positive: (n,).
    """
    most = int(ranks.max()) + 1
    high = np.bincount(ranks[positive], minlength=most)
    low = np.bincount(ranks[~positive], minlength=most)
    below = low.cumsum() - low / 2
    return float(high @ below / (high.sum() * low.sum()))


def not_measured(positive: str, scans: int) -> str:
    """Say why nothing is measured of the positive class against the rest.

    Args:
        positive: Its name.
        scans: How many are of it: none, or all.
    """
    which = "all usable scans are" if scans else "no usable scan is"
    return f"not measured: {which} of the class {positive}"


def evaluate(
    logits: npt.NDArray[np.float32], labels: npt.NDArray[np.int64], classes: Sequence[str]
) -> dict[str, float]:
    """Return the measures over all classes, of the positive one against the rest, and of each.

    Args:
        logits: (n, classes), finite.
        labels: (n,) indices into `classes`.
        classes: Their names; the first is the positive one.

    Returns:
        `scans`, `scans_<class>`, `correct_<class>`, `accuracy`, `log_loss`, `calibration_error`,
        `overconfidence` (mean probability of the likeliest class, less the accuracy);
        where both sides occur `auc`, `sensitivity`, `specificity`, `f1`; of each class that occurs
        `precision_<class>`, `recall_<class>`, `f1_<class>` and, unless it is the only one,
        `auc_<class>`; the means of these four `macro_precision`, `macro_recall`, `macro_f1`,
        `macro_auc`. Empty for no scans.
    """
    return Scores.of(logits, labels).measures(classes)


@dataclass(frozen=True)
class Bin:
    """Scans whose likeliest class has a probability in one fifteenth of 0…1.

    Attributes:
        scans: Their number.
        confidence: Mean probability of the likeliest class.
        accuracy: Share whose likeliest class is right.
    """

    scans: int
    confidence: float
    accuracy: float


def reliability(probabilities: Floats, labels: npt.NDArray[np.int64]) -> Iterator[Bin]:
    """Yield the bins with scans, from the least confident on.

    Bin k of `BINS` holds probabilities above (k − 1)/BINS and up to k/BINS, as in Guo et al.,
    "On Calibration of Modern Neural Networks", ICML 2017, section 2.

    Args:
        probabilities: (n, classes).
        labels: (n,).
    """
    confidence, right = probabilities.max(1), probabilities.argmax(1) == labels
    of_bin = _bins(confidence)
    for one in np.unique(of_bin):
        members = of_bin == one
        yield Bin(
            int(members.sum()), float(confidence[members].mean()), float(right[members].mean())
        )


def _bins(confidence: Floats) -> npt.NDArray[np.int64]:
    return np.ceil(confidence * BINS).astype(np.int64)


def _binned_error(confidence: Floats, excess: Floats) -> float:
    """Return the mean over the scans of their bin's |accuracy − confidence|, 0…1.

    Guo et al. 2017, equation 5, "expected calibration error". It is too high for few scans: a
    perfectly calibrated network does not reach 0.

    Args:
        confidence: Probability of the likeliest class, (n,).
        excess: The same, less 1 where that class is right, (n,).
    """
    return float(np.abs(np.bincount(_bins(confidence), excess)).sum() / len(confidence))
