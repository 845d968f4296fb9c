"""Measure a network with intervals: what `darnet-trt evaluate` reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from darnet_trt.evaluation.bootstrap import Indices, bootstrap_each
from darnet_trt.evaluation.intervals import share_at_most
from darnet_trt.evaluation.metrics import Scores
from darnet_trt.scan.cohorts import POSITIVE

CALIBRATED: Final = "calibrated_"
"""Begins the measures of the logits over the temperature."""
_OF_PROBABILITIES: Final = ("log_loss", "calibration_error", "overconfidence")
"""What a temperature changes."""
_ABSOLUTE: Final = ("calibration_error", CALIBRATED + "calibration_error")
"""What scatter only raises."""
_UNBOUNDED: Final = {
    name for each in _OF_PROBABILITIES for name in (each, CALIBRATED + each)
} - set(_ABSOLUTE)
"""What is no share of scans, so that 0 and 1 mean nothing special."""


@dataclass(frozen=True)
class Measured:
    """A measure.

    Attributes:
        value: Of the scans that were evaluated.
        low: Lower end of its 95 % interval; None where there is none.
        high: Upper end.
    """

    value: float
    low: float | None = None
    high: float | None = None

    def __str__(self) -> str:
        if self.low is None or self.high is None:
            return f"{self.value:.3f}"
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


def measured(
    logits: npt.NDArray[np.float32],
    labels: npt.NDArray[np.int64],
    patients: Sequence[str],
    classes: Sequence[str],
    *,
    temperature: float = 1.0,
    draws: int = 2000,
) -> dict[str, Measured]:
    """Return every measure of `evaluate` but the counts, each with its interval over patients.

    A measure of which no draw differs, as where no scan is classified wrong, has no spread to draw
    from. There the end is Wilson's limit for the patients of the smallest class that it looks at:
    0 errors in k patients.

    Args:
        logits: (n, classes), finite.
        labels: (n,) indices into `classes`.
        patients: Of each scan.
        classes: Their names; the first is the positive one.
        temperature: Divides the logits for the measures that begin with `CALIBRATED`; at 1 they
            are left out.
        draws: Of the bootstrap.
    """
    scores = Scores.of(logits, labels)
    soft = Scores.of(logits / np.float32(temperature), labels)

    def values(drawn: Indices) -> dict[str, float]:
        found = scores[drawn].measures(classes)
        if temperature != 1:
            calibrated = soft[drawn].of_probabilities()
            found |= {CALIBRATED + name: value for name, value in calibrated.items()}
        return {k: v for k, v in found.items() if k not in counts}

    counts = _counts(classes)
    whole = values(np.arange(len(labels)))
    ends = bootstrap_each(values, patients, draws=draws, mirrored=_ABSOLUTE)
    few = _fewest(labels, patients, classes)
    result = {}
    for name, value in whole.items():
        low, high = ends.get(name, (None, None))
        same = low is not None and low == high and value in (0.0, 1.0)
        if same and name not in (*_UNBOUNDED, *_ABSOLUTE):
            unseen = share_at_most(0, few[name])
            low, high = (1 - unseen, 1.0) if value else (0.0, unseen)
        result[name] = Measured(value, low, high)
    return result


def as_json(found: Mapping[str, Measured]) -> dict[str, dict[str, float | None]]:
    """Return measures as `metrics.json` has them."""
    return {name: asdict(one) for name, one in found.items()}


def _counts(classes: Sequence[str]) -> set[str]:
    return {"scans"} | {f"{count}_{one}" for one in classes for count in ("scans", "correct")}


def _fewest(
    labels: npt.NDArray[np.int64], patients: Sequence[str], classes: Sequence[str]
) -> dict[str, int]:
    """Return for each measure that is a share the patients of the smallest class it looks at."""
    of = np.asarray(patients, dtype=object).astype(str)

    def count(of_group: npt.NDArray[np.bool_]) -> int:
        return len(np.unique(of[of_group]))

    sizes = [count(labels == index) for index in range(len(classes))]
    rest = [count(labels != index) for index in range(len(classes))]
    either = [min(pair) or max(pair) for pair in zip(sizes, rest, strict=True)]
    fewest = {"accuracy": len(np.unique(of)), "specificity": rest[POSITIVE]}
    fewest |= dict.fromkeys(("auc", "sensitivity", "f1"), either[POSITIVE])
    for measure in ("precision", "recall", "f1", "auc"):
        fewest[f"macro_{measure}"] = min((size for size in sizes if size), default=0)
        fewest |= {f"{measure}_{name}": either[index] for index, name in enumerate(classes)}
    return fewest
