"""Measure a network on patients it has not seen, as in the paper's Table 2."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from darnet_trt.scan.cohorts import POSITIVE


def softmax(logits: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Return the probabilities of logits, float64 (n, classes)."""
    shifted = np.exp(logits.astype(np.float64) - logits.max(1, keepdims=True))
    return np.asarray(shifted / shifted.sum(1, keepdims=True))


def concordance(
    scores: npt.NDArray[Any], positive: npt.NDArray[np.bool_]
) -> npt.NDArray[np.float64]:
    """Compare each positive (row) with each negative (column): 1 if it scores above, ½ if equal.

    The mean is the area under the ROC curve.
    """
    high, low = scores[positive][:, None], scores[~positive]
    return 0.5 * ((high > low).astype(np.float64) + (high >= low))


def evaluate(
    logits: npt.NDArray[np.float32], labels: npt.NDArray[np.int64], classes: Sequence[str]
) -> dict[str, float]:
    """Return the accuracy over all classes, and the measures of the positive one against the rest.

    Args:
        logits: (n, classes).
        labels: (n,) indices into `classes`.
        classes: Their names; the first is the positive one.

    Returns:
        `scans`, `scans_<class>`, `correct_<class>`, `accuracy`, and where both sides occur `auc`,
        `sensitivity`, `specificity`, `f1`. Empty for no scans.
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
    actual, called = labels == POSITIVE, predicted == POSITIVE
    if actual.any() and not actual.all():
        hits = int((actual & called).sum())
        result["auc"] = float(concordance(softmax(logits)[:, POSITIVE], actual).mean())
        result["sensitivity"] = hits / int(actual.sum())
        result["specificity"] = float((~called[~actual]).mean())
        result["f1"] = 2 * hits / (int(actual.sum()) + int(called.sum()))
    return result
