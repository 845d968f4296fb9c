"""Measure a network on patients it has not seen, as in the paper's Table 2.

`docs/evaluation.md` defines every figure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from darnet_trt.evaluation.intervals import midranks
from darnet_trt.scan.cohorts import POSITIVE

BINS: Final = 15
"""Of the calibration error, as in Guo et al. 2017."""

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


def area(scores: npt.NDArray[Any], positive: npt.NDArray[np.bool_]) -> float:
    """Return the area under the ROC curve: the chance that a positive scores above a negative.

    Equal scores count half. It is the Mann-Whitney statistic. Both kinds must occur.
    """
    count = int(positive.sum())
    above = midranks(scores)[positive].mean() - (count + 1) / 2
    return float(above / (len(scores) - count))


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
    if not len(labels):
        return {}
    predicted = logits.argmax(1)
    result: dict[str, float] = {"scans": len(labels)}
    for index, name in enumerate(classes):
        of_class = labels == index
        result[f"scans_{name}"] = int(of_class.sum())
        result[f"correct_{name}"] = int((of_class & (predicted == index)).sum())
    result["accuracy"] = float((predicted == labels).mean())
    probabilities = softmax(logits)
    odds = log_odds(logits)
    actual, called = labels == POSITIVE, predicted == POSITIVE
    if actual.any() and not actual.all():
        result["auc"] = area(odds[:, POSITIVE], actual)
        result["sensitivity"] = float(called[actual].mean())
        result["specificity"] = float((~called[~actual]).mean())
        result["f1"] = _f1(actual, called)
    result |= _each_class(odds, labels, predicted, classes)
    result["log_loss"] = float(np.logaddexp(0, -odds[np.arange(len(labels)), labels]).mean())
    result["calibration_error"] = calibration_error(probabilities, labels)
    result["overconfidence"] = float(probabilities.max(1).mean()) - result["accuracy"]
    return result


def _each_class(
    odds: npt.NDArray[np.float32],
    labels: npt.NDArray[np.int64],
    predicted: npt.NDArray[np.int64],
    classes: Sequence[str],
) -> dict[str, float]:
    """Return the measures of each class that occurs, against the rest, and their means."""
    found: dict[str, list[float]] = {"precision": [], "recall": [], "f1": [], "auc": []}
    result: dict[str, float] = {}
    for index, name in enumerate(classes):
        actual, called = labels == index, predicted == index
        if not actual.any():
            continue
        hits = int((actual & called).sum())
        measures = {
            "precision": hits / max(1, int(called.sum())),
            "recall": hits / int(actual.sum()),
            "f1": _f1(actual, called),
        }
        if not actual.all():
            measures["auc"] = area(odds[:, index], actual)
        for measure, value in measures.items():
            result[f"{measure}_{name}"] = value
            found[measure].append(value)
    means = {f"macro_{name}": float(np.mean(values)) for name, values in found.items() if values}
    return result | means


def _f1(actual: npt.NDArray[np.bool_], called: npt.NDArray[np.bool_]) -> float:
    return 2 * int((actual & called).sum()) / (int(actual.sum()) + int(called.sum()))


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
    of_bin = np.ceil(confidence * BINS)
    for one in np.unique(of_bin):
        members = of_bin == one
        yield Bin(
            int(members.sum()), float(confidence[members].mean()), float(right[members].mean())
        )


def calibration_error(probabilities: Floats, labels: npt.NDArray[np.int64]) -> float:
    """Return the mean over the scans of their bin's |accuracy − confidence|, 0…1.

    Guo et al. 2017, equation 5, "expected calibration error". It is too high for few scans: a
    perfectly calibrated network does not reach 0.
    """
    bins = reliability(probabilities, labels)
    return sum(one.scans * abs(one.accuracy - one.confidence) for one in bins) / len(labels)
