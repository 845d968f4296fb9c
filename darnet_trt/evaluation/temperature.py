"""Calibrate probabilities by one number: temperature scaling.

Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, section 4.2: the logits are
divided by a temperature before the softmax. Neither the most probable class nor any class's order
of two logits changes.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from darnet_trt.evaluation.metrics import softmax

_FLATTEST: Final = 1e-2
_STEEPEST: Final = 1e3
"""How far logits may lie from their mean, on average over the scans, when they are divided by the
temperature: with the first the classes are as good as equally probable."""
_STEPS: Final = 60  # each halves the range: more than float64 can tell
_Z: Final = 1.959964  # two-sided 95 %


def calibrated(logits: npt.NDArray[Any], temperature: float) -> npt.NDArray[np.float64]:
    """Return the probabilities, float64 (n, classes)."""
    return softmax(logits.astype(np.float64) / temperature)


def fit_temperature(logits: npt.NDArray[Any], labels: npt.NDArray[np.int64]) -> float:
    """Return the temperature of least log-loss on scans that did not train the weights.

    Where every scan is right the log-loss falls for ever as the temperature goes to 0. So one more
    scan is counted, with the others' logits and every class equally right, as Platt's targets do
    ("Probabilistic Outputs for Support Vector Machines", 1999). It weighs less the more scans there
    are, and logits that are multiplied by a number get that number times the temperature.

    The temperature is 1 where it would raise the log-loss by more than chance: the ends of the 95 %
    interval of the change are both above 0. That can only be where nearly all scans are right and
    the network is surer than so few scans can show.

    Args:
        logits: (n, classes), finite.
        labels: (n,) indices of the classes.
    """
    z = logits.astype(np.float64)
    scale = float((z.max(1) - z.mean(1)).mean()) if len(z) else 0.0
    if scale == 0:
        return 1.0
    right = z[np.arange(len(z)), labels].sum()
    target = (right + z.mean()) / (len(z) + 1)
    # The log-loss is convex in 1 / temperature; its slope is the expected logit less the target.
    low, high = np.log(_FLATTEST), np.log(_STEEPEST)
    for _ in range(_STEPS):
        middle = (low + high) / 2
        expected = (softmax(z * np.exp(middle) / scale) * z).sum(1).mean()
        low, high = (middle, high) if expected < target else (low, middle)
    temperature = scale / float(np.exp(high))
    change = _log_loss(z / temperature, labels) - _log_loss(z, labels)
    error = change.std() / np.sqrt(len(change))
    return 1.0 if change.mean() > _Z * error else temperature


def _log_loss(z: npt.NDArray[np.float64], labels: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Return each scan's, (n,)."""
    return np.asarray(np.logaddexp.reduce(z, axis=1) - z[np.arange(len(z)), labels])
