"""What of a network float16 can hold, by the values that its layers give on scans.

Beyond 65504 a float16 value is infinite, and other scans will give larger values than those at
hand: a part whose values come near that stays in float32.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import onnx
from onnx import ModelProto

from darnet_trt.bundle.manifest import Artifact
from darnet_trt.calibration.activations.collect import magnitudes
from darnet_trt.errors import BuildError
from darnet_trt.export.gates.parity_scans import ParityScans
from darnet_trt.export.onnx.graph import part_of
from darnet_trt.export.targets import Candidate

__all__ = ["Float16Range", "float16_range", "range_for"]

LARGEST: Final = float(np.finfo(np.float16).max)
# Of the largest float16 over the largest value that a part in float16 may give on the scans. In a
# network trained on phantoms no layer gave more on ten scans than 5.7 times what it gave on four.
HEADROOM: Final = 8.0


@dataclass(frozen=True)
class Float16Range:
    """What was found.

    Attributes:
        layer: Which gives the largest value.
        magnitude: That value.
        source: The scans.
        in_float32: Parts of the network that float16 cannot be trusted with, in its order.
    """

    layer: str
    magnitude: float
    source: str
    in_float32: tuple[str, ...]

    @property
    def note(self) -> str:
        """For the manifest."""
        found = f"activations up to {self.magnitude:.5g} ({self.layer}) on {self.source}"
        return f"{found}; in float32: {', '.join(self.in_float32)}" if self.in_float32 else found

    def noted(self, plan: Artifact) -> Artifact:
        """With the note, if any of it is float16."""
        if plan.precision == "fp32":
            return plan
        return plan.model_copy(update={"notes": (*plan.notes, self.note)})

    def check_targets(self, candidates: Sequence[Candidate]) -> None:
        """SM75 has no float32 convolutions in TensorRT-RTX.

        Raises:
            BuildError: A candidate is for it, and parts must stay in float32.
        """
        for candidate in candidates:
            lacking = (candidate.backend, candidate.target) == ("tensorrt-rtx", "sm75")
            if lacking and self.in_float32 and candidate.precision != "fp32":
                raise BuildError(
                    f"{self.layer} reaches {self.magnitude:.5g} on {self.source}; float16 ends at "
                    f"{LARGEST:.0f}, and this architecture has no float32 convolutions",
                    where=candidate.name,
                    do="build for other GPUs, or train again with weight decay",
                )


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
        scans: What the parity gate runs.
        calibrated: Largest magnitudes of activations on the calibration scans; empty without any.
        threads: CPU threads; None leaves the number to ONNX Runtime.

    Raises:
        BuildError: Not even float32 holds a value.
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
    file: Path,
    scans: ParityScans,
    calibrated: Mapping[str, float],
    threads: int | None,
    log: Callable[[str], None],
) -> Float16Range | None:
    """`float16_range` of a file, checked for the candidates; None where all are float32.

    Raises:
        BuildError: As `float16_range` and `Float16Range.check_targets`.
    """
    if all(candidate.precision == "fp32" for candidate in candidates):
        return None
    log(f"float16's range: the float32 graph on {scans.source}")
    found = float16_range(onnx.load(file), scans, calibrated, threads=threads)
    log(f"float16's range: {found.note}")
    found.check_targets(candidates)
    return found


def _parts(names: Collection[str], too_large: Collection[str]) -> tuple[str, ...]:
    """Those that give a value that is too large, or read one from the part before."""
    parts = list(dict.fromkeys(part_of(name) for name in names))
    giving = {part_of(name) for name in too_large}
    results = {"stem.1.out", "stem.1.relu", *(f"{part}.out" for part in parts)}
    handing_on = {part_of(name) for name in results.intersection(too_large)}
    before = dict(zip(parts[1:], parts, strict=False))
    return tuple(part for part in parts if part in giving or before.get(part) in handing_on)
