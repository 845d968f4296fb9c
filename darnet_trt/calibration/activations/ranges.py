"""Choose the range that an activation's int8 values cover, from its statistics.

- minmax: all values. Nothing is clipped, but one outlier makes every step coarse.
- percentile: the magnitude that 99.99 % of the elements do not exceed.
- kl: the range whose 128 steps change the distribution of the magnitudes least, zeros left out,
  measured by the Kullback-Leibler divergence (after Migacz, "8-bit inference with TensorRT", GTC
  2017). It is not the entropy calibration of ONNX Runtime, which also follows Migacz, with a
  histogram of both signs and with the zeros, and errs more (docs/precision.md).
- mse: the range with the smallest mean squared error of rounding and clipping together.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, get_args

import numpy as np
import numpy.typing as npt

from darnet_trt.calibration.activations.histogram import Statistics
from darnet_trt.calibration.qdq import Form, Range
from darnet_trt.errors import UsageError

Method = Literal["minmax", "percentile", "kl", "mse"]
METHODS: Final[tuple[Method, ...]] = get_args(Method)

_PERCENT: Final = 99.99
_STEPS: Final = 128  # of int8 on one side of 0
_SIGNED_STEPS: Final = 127  # above 0
_UNSIGNED_STEPS: Final = 255
_CANDIDATES: Final = 256  # ranges tried by mse
_SMOOTHING: Final = 1e-4  # what the divergence takes for an empty bin


def ranges_of(found: Mapping[str, Statistics], method: Method, form: Form) -> dict[str, Range]:
    """Return a range for each tensor.

    Args:
        found: The statistics of each tensor.
        method: One of the methods above.
        form: Decides the steps of a tensor without negative values: 255 in "u8", otherwise 127, as
            for all other tensors.

    Raises:
        UsageError: A tensor has NaN or infinite elements, or is 0 in all scans, so that it has no
            scale.
    """
    ranges = {}
    for name, statistics in found.items():
        if statistics.not_finite:
            raise UsageError(
                f"{statistics.not_finite} values are NaN or infinite in this model",
                where=name,
                do="the weights are damaged; train again",
            )
        if statistics.magnitude == 0:
            raise UsageError(
                "is 0 in all calibration scans, so its range is unknown",
                where=name,
                do="use other scans; if it is still 0, train again",
            )
        steps = _UNSIGNED_STEPS if form == "u8" and not statistics.signed else _SIGNED_STEPS
        largest = min(_threshold(statistics, method, steps), statistics.magnitude)
        ranges[name] = Range(largest, statistics.signed)
    return ranges


def _threshold(found: Statistics, method: Method, steps: int) -> float:
    match method:
        case "minmax":
            return found.magnitude
        case "percentile":
            return _percentile(found)
        case "kl":
            return _kl(found)
        case "mse":
            return _mse(found, steps)


def _percentile(found: Statistics) -> float:
    below = np.cumsum(found.counts)
    wanted = _PERCENT / 100 * below[-1]
    return float(found.edges[int(np.searchsorted(below, wanted)) + 1])


def _mse(found: Statistics, steps: int) -> float:
    """Return the range with the smallest error; elements count as their bin's middle."""
    edges = found.edges
    middles = (edges[:-1] + edges[1:]) / 2
    candidates = found.magnitude * np.arange(1, _CANDIDATES + 1) / _CANDIDATES
    errors = []
    for largest in candidates:
        scale = largest / steps
        stored = np.minimum(np.rint(middles / scale), steps) * scale
        errors.append(float((found.counts * np.square(middles - stored)).sum()))
    return float(candidates[int(np.argmin(errors))])


def _kl(found: Statistics) -> float:
    counts = found.counts.astype(np.float64)
    counts[0] = counts[1]  # zeros from ReLU say nothing about the range
    last = int(np.flatnonzero(found.counts)[-1]) + 1
    stride = max(1, last // 512)  # leaves about 500 ranges to try, which are as good as all
    # The widest is first: it wins if no narrower range is better.
    candidates = range(max(last, _STEPS), _STEPS - 1, -stride)
    best = min(candidates, key=lambda bins: _divergence(counts[:bins], counts[bins:].sum()))
    return float(found.edges[best])


def _divergence(kept: npt.NDArray[np.float64], clipped: float) -> float:
    """Return the divergence between the clipped distribution and its 128 steps."""
    reference = kept.copy()
    reference[-1] += clipped
    groups = np.minimum(np.arange(len(kept)) * _STEPS // len(kept), _STEPS - 1)
    filled = kept > 0
    sums = np.bincount(groups, kept, _STEPS)
    members = np.bincount(groups, filled, _STEPS)
    steps = np.where(filled, (sums / np.maximum(members, 1))[groups], 0.0)
    p, q = (np.where(v > 0, v, _SMOOTHING) for v in (reference, steps))
    p, q = p / p.sum(), q / q.sum()
    return float((p * np.log(p / q)).sum())
