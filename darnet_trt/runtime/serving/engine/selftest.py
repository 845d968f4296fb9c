"""Check an engine before it serves: it must give what the bundle's reference gave."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, cast

import numpy as np
import numpy.typing as npt

from darnet_trt.bundle.manifest import Precision
from darnet_trt.bundle.reading import Bundle
from darnet_trt.bundle.reference import read_reference
from darnet_trt.errors import BundleError
from darnet_trt.runtime.engines.loading import Engine
from darnet_trt.runtime.engines.parity import LIMITS, compare, exceeded
from darnet_trt.runtime.engines.runner import Outputs, Runner, joined

_WARM: Final = 2  # first runs, in which engines choose kernels and reserve memory


@dataclass(frozen=True)
class SelfTest:
    """What a self-test found.

    Attributes:
        volume_s: The engine's median time for a volume, warm.
        remark: What could not be checked; empty where all was.
    """

    volume_s: float
    remark: str = ""


def self_test(bundle: Bundle, engine: Engine) -> SelfTest:
    """Warm an engine up, and compare it with the outputs that are stored in its bundle.

    The limits are those of the parity gate for the precision that it runs in. An engine that
    somebody accepted although it had failed the gate is not held to them here.

    Args:
        bundle: From `open_bundle`.
        engine: One of its engines, loaded.

    Raises:
        BundleError: It gives something else, or the stored outputs cannot be read.
    """
    reference = read_reference(bundle)
    if reference is None:
        inputs = [np.zeros((1, *bundle.manifest.preprocessing.size), np.float32)]
    else:
        inputs = list(reference.inputs)
    found, volume_s = _outputs(engine.runner, inputs)
    if not found.finite.all():
        raise _failed(bundle, engine, "its outputs are not all finite")
    if reference is None:
        return SelfTest(volume_s, "the bundle has no reference outputs to compare the engine with")
    expected = Outputs(reference.logits, reference.cam, reference.features)
    limits = LIMITS[cast(Precision, engine.runner.precision)]
    parity = compare(expected, found, limits, "the self-test")
    if parity.passed:
        return SelfTest(volume_s)
    differs = ", ".join(exceeded(parity))
    if engine.artifact.accepted is not None:
        return SelfTest(volume_s, f"{differs}; accepted by {engine.artifact.accepted}")
    raise _failed(bundle, engine, differs)


def _outputs(runner: Runner, inputs: Sequence[npt.NDArray[np.float32]]) -> tuple[Outputs, float]:
    """Return the outputs of a warm engine, and its median time for a volume."""
    for _ in range(_WARM):
        runner.infer(inputs[0][None])
    times: list[float] = []
    outputs: list[Outputs] = []
    for each in inputs:
        began = time.perf_counter()
        outputs.append(runner.infer(each[None]))
        times.append(time.perf_counter() - began)
    return joined(outputs), float(np.median(times))


def _failed(bundle: Bundle, engine: Engine, why: str) -> BundleError:
    return BundleError(
        f"the engine {engine.artifact.name} failed its self-test: {why}",
        where=bundle.path,
        do="see darnet-trt bundle check, or choose another engine with --artifact",
    )
