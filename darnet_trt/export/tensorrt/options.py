"""What a TensorRT plan can be asked for beyond its precision and target."""

from __future__ import annotations

import re
from typing import Final

from pydantic import BaseModel, ConfigDict

from darnet_trt.errors import UsageError
from darnet_trt.runtime.engines.tensorrt.package import TensorRTBackend

__all__ = ["PlanOptions", "batch_range", "check_options"]

_MAX_BATCH: Final = 64  # activations of the paper's network take 0.3 GB a volume in fp16


class PlanOptions(BaseModel):
    """Options of the builder, in TensorRT's own terms.

    Attributes:
        batch: Smallest and largest. Where they differ the plan has two optimization profiles:
            0 for a batch of 1 alone, or of the smallest, and 1 for the whole range, tuned for the
            largest.
        workspace_mib: The most scratch memory; None: all of the GPU's.
        version_compatible: TensorRT only.
        hardware_compatible: TensorRT only: for every GPU from Ampere on.
        optimization_level: TensorRT only: 0 (quick build) to 5 (quick plan); None: its default.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    batch: tuple[int, int] = (1, 1)
    workspace_mib: int | None = None
    version_compatible: bool = False
    hardware_compatible: bool = False
    optimization_level: int | None = None

    @property
    def profiles(self) -> tuple[tuple[int, int, int], ...]:
        """Smallest, preferred and largest batch of each profile; none for a static batch."""
        smallest, largest = self.batch
        if smallest == largest:
            return ()
        return ((smallest,) * 3, (smallest, largest, largest))


def batch_range(text: str) -> tuple[int, int]:
    """`--batch`: "1" or "1:8".

    Raises:
        UsageError: It is neither, or not in 1…64.
    """
    match = re.fullmatch(r"(\d{1,4})(?::(\d{1,4}))?", text)
    if match is None:
        raise UsageError(f"--batch is a number or a range as 1:8, not {text!r}")
    smallest, largest = int(match[1]), int(match[2] or match[1])
    if not 1 <= smallest <= largest <= _MAX_BATCH:
        raise UsageError(
            f"--batch {text} is not between 1 and {_MAX_BATCH}, the smaller number first"
        )
    return smallest, largest


def check_options(options: PlanOptions, backends: set[TensorRTBackend]) -> None:
    """Refuse what would be ignored.

    Raises:
        UsageError: Options without a plan to build, or that TensorRT-RTX does not take.
    """
    if not backends:
        if options != PlanOptions():
            raise UsageError(
                f"{_given(options)[0]} is for TensorRT plans, and none is built",
                do="name one with --target",
            )
        return
    if "tensorrt-rtx" in backends:
        refused = [name for name in _given(options) if name in _NOT_OF_RTX]
        if refused:
            raise UsageError(
                f"TensorRT-RTX takes no {refused[0]}: {_NOT_OF_RTX[refused[0]]}",
                do="leave it out, or build with --target tensorrt",
            )


# What TensorRT-RTX 1.7.1 said or did when asked.
_NOT_OF_RTX: Final = {
    "--version-compatible": "a plan is for the version that built it",
    "--hardware-compatible": "a plan is for its target, or for all with tensorrt-rtx:portable",
    "--optimization-level": "kernels are compiled and chosen on the GPU that runs the plan",
}


def _given(options: PlanOptions) -> list[str]:
    default = PlanOptions()
    return [
        f"--{name.removesuffix('_mib').replace('_', '-')}"
        for name in PlanOptions.model_fields
        if getattr(options, name) != getattr(default, name)
    ]
