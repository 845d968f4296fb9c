"""The parity gate: an engine enters a bundle if it agrees with the reference on the same scans.

A class flip is a scan whose most probable class differs. If the reference gave the two classes
nearly the same probability (within the probability limit), a flip is only reported; otherwise the
engine fails.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, cast

import numpy as np
import numpy.typing as npt

from darnet_trt.bundle.manifest import Parity, Precision
from darnet_trt.runtime.engines.runner import NOT_FINITE, Outputs, Runner, run


@dataclass(frozen=True)
class Limits:
    """The limits of an engine's differences from the reference.

    Attributes:
        probability: Of any class, absolute.
        logits: Of any logit, over the largest reference logit's magnitude.
        cam: Of any value of the class activation map, over the reference's largest magnitude.
        features: The same for the pooled features.
    """

    probability: float
    logits: float
    cam: float
    features: float


# The formats round to 2⁻²⁴ (float32), 2⁻¹¹ (float16) and 2⁻⁹ (bfloat16) in each of some 20
# layers, and a logit is a small difference of large sums. On the paper's network at full size
# (benchmarks/cpu/network/full_size.py) OpenVINO differed in float32 by 2e-6 (logits) and 5e-6
# (map), in bfloat16 by 0.008 and 0.037 and by 0.016 in a probability; the float16 graph by
# 0.0007, 0.002 and 0.0002. The limits leave room above that for other weights; a wrong weight,
# axis or scan gives a logits error near 1. The features differ no more than the map does, so they
# have its limits (docs/familiarity.md has what they differed by on 243 scans).
LIMITS: Final[dict[Precision, Limits]] = {
    # Leaves room for another order of summation.
    "fp32": Limits(probability=1e-4, logits=1e-4, cam=1e-3, features=1e-3),
    # Two more bits than bfloat16, so a quarter of its limits.
    "fp16": Limits(probability=0.007, logits=0.007, cam=0.025, features=0.025),
    "bf16": Limits(probability=0.03, logits=0.03, cam=0.1, features=0.1),
    # It differs by 0.03 to 0.06 in the logits and up to 0.2 in the map. These limits find a wrong
    # scale; whether it keeps the decisions is judged on many scans (`calibration.decisions`).
    "int8": Limits(probability=0.2, logits=0.2, cam=0.5, features=0.5),
}


def compare(reference: Outputs, candidate: Outputs, limits: Limits, source: str) -> Parity:
    """Compare a candidate's outputs with the reference's.

    Args:
        reference: Outputs of the float32 reference, n scans.
        candidate: Outputs for the same scans in the same order.
        limits: For the precision that really ran.
        source: Describes the scans.
    """
    answers = differences(reference, candidate)
    fatal_flips = flips = int(answers.flipped.sum())
    probability, logits, cam = answers.probability, answers.logits, NOT_FINITE
    features = None if reference.features is None or candidate.features is None else NOT_FINITE
    if candidate.finite.all():
        second, first = np.sort(reference.probabilities, 1)[:, -2:].T
        fatal_flips = int((answers.flipped & (first - second > limits.probability)).sum())
        cam = _relative(reference.cam, candidate.cam)
        if reference.features is not None and candidate.features is not None:
            features = _relative(reference.features, candidate.features)
    allowed = {
        "max_probability_difference": limits.probability,
        "max_logits_error": limits.logits,
        "max_cam_error": limits.cam,
    }
    if features is not None:
        allowed["max_features_error"] = limits.features
    return Parity(
        scans=len(answers.flipped),
        source=source,
        class_flips=flips,
        max_probability_difference=probability,
        max_logits_error=logits,
        max_cam_error=cam,
        max_features_error=features,
        limits=allowed,
        passed=fatal_flips == 0
        and probability <= limits.probability
        and logits <= limits.logits
        and cam <= limits.cam
        and (features is None or features <= limits.features),
    )


@dataclass(frozen=True, eq=False)
class Differences:
    """How a candidate's answers differ from the reference's.

    Attributes:
        flipped: Of each scan, whether the most probable class differs, (n,).
        probability: Largest difference of a class's probability.
        logits: Largest difference of a logit over the largest reference logit's magnitude.
    """

    flipped: npt.NDArray[np.bool_]
    probability: float
    logits: float


def differences(reference: Outputs, candidate: Outputs) -> Differences:
    """Compare what a candidate says of each scan; all differs where an output is not finite.

    Args:
        reference: n scans.
        candidate: Of the same scans in the same order.
    """
    expected = reference.probabilities
    if not candidate.finite.all():
        return Differences(np.ones(len(expected), np.bool_), NOT_FINITE, NOT_FINITE)
    return Differences(
        expected.argmax(1) != candidate.logits.argmax(1),
        float(np.abs(expected - candidate.probabilities).max()),
        _relative(reference.logits, candidate.logits),
    )


def gate(
    runner: Runner,
    reference: Outputs,
    inputs: Sequence[npt.NDArray[np.float32]],
    source: str,
) -> Parity:
    """Run a candidate on the reference's scans and compare, by the limits of its precision."""
    limits = LIMITS[cast(Precision, runner.precision)]
    return compare(reference, run(runner, inputs), limits, source)


def exceeded(parity: Parity) -> Sequence[str]:
    """Name each limit that was exceeded, else the class flips."""
    words = {
        "max_probability_difference": "probability difference",
        "max_logits_error": "logits error",
        "max_cam_error": "map error",
        "max_features_error": "features error",
    }
    found = [
        f"{words[name]} {getattr(parity, name):.2g}, allowed {limit:.2g}"
        for name, limit in parity.limits.items()
        if getattr(parity, name) > limit
    ]
    return found or [f"{parity.class_flips} of {parity.scans} classes flipped"]


def _relative(reference: npt.NDArray[np.float32], candidate: npt.NDArray[np.float32]) -> float:
    """Return the largest absolute difference over the reference's largest magnitude."""
    largest = float(np.abs(reference.astype(np.float64)).max())
    return float(np.abs(reference.astype(np.float64) - candidate).max()) / max(largest, 1e-30)
