"""Make batches, and say which an engine can be measured with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from darnet_trt.bundle.reading import Bundle
from darnet_trt.errors import UsageError
from darnet_trt.machine.memory import free_memory, shown
from darnet_trt.runtime.engines.runner import Runner, runs_on_gpu
from darnet_trt.runtime.prediction.pipeline.memory import activation_bytes, input_bytes


def volumes(bundle: Bundle, batch: int) -> npt.NDArray[np.float32]:
    """Return random volumes of the network's input, float32 (batch, 1, d, h, w)."""
    size = bundle.manifest.preprocessing.size
    return np.random.default_rng(0).random((batch, 1, *size), np.float32)


def batches_of(
    runners: Mapping[str, Runner], batches: Sequence[int], notify: Callable[[str], None]
) -> dict[str, list[int]]:
    """Return the batches that each engine takes, and tell of those that it does not.

    Args:
        runners: By name.
        batches: As asked for, in order.
        notify: Called with a line.

    Raises:
        UsageError: The first engine, the reference of the ratios, takes none of them.
    """
    taken = {}
    for name, runner in runners.items():
        least, most = runner.batch
        taken[name] = [batch for batch in batches if least <= batch <= most]
        if others := [str(batch) for batch in batches if batch not in taken[name]]:
            said = f"{name} takes batches of {least} to {most}"
            if not any(taken.values()):
                raise UsageError(said, where="--batch", do="give one of these")
            notify(f"{said}: left out {', '.join(others)}")
    return taken


def check_memory(
    bundle: Bundle, runners: Mapping[str, Runner], taken: Mapping[str, Sequence[int]]
) -> None:
    """Refuse batches for whose volumes and activations there is no memory; estimated.

    The engines keep the memory of their largest batch. OpenVINO runs the volumes of a batch one
    after the other, and a GPU's runner has its memory when it is loaded.

    Args:
        bundle: The network's.
        runners: By name; loaded.
        taken: Their batches.

    Raises:
        UsageError: A batch above 1 needs more than there is.
    """
    needed = 0
    for name, own in taken.items():
        one_by_one = runs_on_gpu(runners[name]) or runners[name].backend == "openvino"
        at_once = min(1, len(own)) if one_by_one else max(own, default=0)
        needed += sum(own) * input_bytes(bundle) + at_once * activation_bytes(bundle)
    largest = max(max(own, default=1) for own in taken.values())
    if largest > 1 and needed > (left := free_memory()):
        raise UsageError(
            f"batches of up to {largest} take some {shown(needed)} of memory, and {shown(left)} "
            "are free",
            where="--batch",
            do="give smaller batches or fewer engines",
        )
