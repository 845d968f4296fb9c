"""Find the parts of a network that overflow float16, by their values on scans.

Above 65504 a float16 value is infinite, and new scans can give larger values than the scans at
hand. So a part whose values come near that limit stays in float32.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from onnx import ModelProto

from darnet_trt.bundle.manifest import Artifact
from darnet_trt.calibration.activations.collect import magnitudes
from darnet_trt.errors import BuildError
from darnet_trt.export.context import BuildContext
from darnet_trt.export.gates.parity_scans import ParityScans
from darnet_trt.export.onnx.graph import part_of
from darnet_trt.export.targets import Candidate

LARGEST: Final = float(np.finfo(np.float16).max)
# A part may run in float16 if its values are this many times smaller than the largest float16. In
# a network trained on phantoms no layer gave more on ten scans than 5.7 times what it gave on four.
HEADROOM: Final = 8.0
_WIDE: Final = frozenset({"fp32", "bf16"})  # bfloat16 has float32's range


@dataclass(frozen=True)
class Float16Range:
    """The largest activation, and the parts that must stay in float32.

    Attributes:
        layer: The layer with the largest value.
        magnitude: That value.
        source: The scans.
        in_float32: Parts of the network that stay in float32, in the network's order.
    """

    layer: str
    magnitude: float
    source: str
    in_float32: tuple[str, ...]

    @property
    def note(self) -> str:
        """Return one line for the manifest."""
        found = f"activations up to {self.magnitude:.5g} ({self.layer}) on {self.source}"
        return f"{found}; in float32: {', '.join(self.in_float32)}" if self.in_float32 else found

    def noted(self, plan: Artifact) -> Artifact:
        """Return the plan with the note; an fp32 or bf16 plan is returned unchanged."""
        if plan.precision in _WIDE:
            return plan
        return plan.model_copy(update={"notes": (*plan.notes, self.note)})


def float16_range(
    model: ModelProto,
    scans: ParityScans,
    calibrated: Mapping[str, float],
    *,
    threads: int | None = None,
) -> Float16Range:
    """Run scans through the float32 graph and compare with float16's range.

    Args:
        model: The float32 graph.
        scans: Inputs of the parity gate.
        calibrated: Largest magnitudes of activations on the calibration scans; empty without any.
        threads: CPU threads; None leaves the number to ONNX Runtime.

    Raises:
        BuildError: A value overflows float32 too.
    """
    found = magnitudes(model, scans.inputs, threads=threads)
    for name, magnitude in found.items():
        if not np.isfinite(magnitude):
            raise BuildError(
                f"{name} is infinite or NaN on {scans.source}",
                do="the weights are damaged; train again",
            )
    for name, magnitude in calibrated.items():
        found[name] = max(magnitude, found.get(name, 0.0))
    layer = max(found, key=lambda name: found[name])
    source = f"{scans.source} and the calibration scans" if calibrated else scans.source
    too_large = {name for name, magnitude in found.items() if magnitude > LARGEST / HEADROOM}
    return Float16Range(layer, found[layer], source, _parts(found, too_large))


def range_for(
    candidates: Sequence[Candidate],
    context: BuildContext,
    calibrated: Mapping[str, float],
) -> Float16Range | None:
    """Find what float16 can hold and check it for the candidates; None where all have float32's
    range.

    Raises:
        BuildError: As `float16_range`, or parts must stay in float32 and a candidate is for sm75.
    """
    if all(candidate.precision in _WIDE for candidate in candidates):
        return None
    context.log(f"float16's range: running the float32 graph on {context.scans.source}")
    found = float16_range(
        context.source.float32, context.scans, calibrated, threads=context.threads
    )
    context.log(f"float16's range: {found.note}")
    for candidate in candidates:
        # TensorRT-RTX has no float32 convolution for it.
        lacking = (candidate.backend, candidate.target) == ("tensorrt-rtx", "sm75")
        if lacking and found.in_float32 and candidate.precision not in _WIDE:
            raise BuildError(
                f"{found.layer} reaches {found.magnitude:.5g} on {found.source}; float16 holds at "
                f"most {LARGEST:.0f}, and this architecture has no float32 convolutions",
                where=candidate.name,
                do="build for other GPUs, or train again with weight decay",
            )
    return found


def _parts(names: Collection[str], too_large: Collection[str]) -> tuple[str, ...]:
    """Return the parts that give a value that is too large or read one from the part before."""
    parts = list(dict.fromkeys(part_of(name) for name in names))
    giving = {part_of(name) for name in too_large}
    results = {"stem.1.out", "stem.1.relu", *(f"{part}.out" for part in parts)}
    handing_on = {part_of(name) for name in results.intersection(too_large)}
    before = dict(zip(parts[1:], parts, strict=False))
    return tuple(part for part in parts if part in giving or before.get(part) in handing_on)
