"""Options of TensorRT plans beyond precision and target."""

from __future__ import annotations

from typing import Final

from pydantic import BaseModel, ConfigDict

from darnet_trt.errors import UsageError
from darnet_trt.runtime.engines.tensorrt.package import TensorRTBackend

_MAX_BATCH: Final = 64  # activations of the paper's network take 0.3 GB a volume in fp16


class PlanOptions(BaseModel):
    """Options of the builder, in TensorRT's own terms.

    Attributes:
        batch: Smallest and largest. Where they differ the plan has two optimization profiles:
            profile 0 for the smallest batch alone, profile 1 for the whole range, tuned for the
            largest.
        workspace_mib: The most scratch memory; None: all of the GPU's.
        version_compatible: TensorRT only: later versions can run the plan too.
        hardware_compatible: TensorRT only: every GPU of the same compute capability can run it.
        optimization_level: TensorRT only: 0 (quick build) to 5 (fastest plan); None: its default.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    batch: tuple[int, int] = (1, 1)
    workspace_mib: int | None = None
    version_compatible: bool = False
    hardware_compatible: bool = False
    optimization_level: int | None = None

    @property
    def profiles(self) -> tuple[tuple[int, int, int], ...]:
        """Return the smallest, preferred and largest batch of each profile; none if fixed."""
        smallest, largest = self.batch
        if smallest == largest:
            return ()
        return ((smallest,) * 3, (smallest, largest, largest))


def check_options(options: PlanOptions, backends: set[TensorRTBackend]) -> None:
    """Refuse options that cannot be used.

    Args:
        options: From the command line.
        backends: Of the plans to build.

    Raises:
        UsageError: A batch out of range, options without a plan to build, or options that
            TensorRT-RTX does not have.
    """
    smallest, largest = options.batch
    if not 1 <= smallest <= largest <= _MAX_BATCH:
        raise UsageError(
            f"{smallest}:{largest} is not an ascending range between 1 and {_MAX_BATCH}",
            where="--batch",
            do="choose other numbers",
        )
    given = _given(options)
    if not backends and given:
        raise UsageError(
            "this option is for TensorRT plans, and none is built",
            where=given[0],
            do="add --target tensorrt-rtx or tensorrt, or leave the option out",
        )
    refused = [name for name in given if name in _NOT_OF_RTX]
    if "tensorrt-rtx" in backends and refused:
        raise UsageError(
            f"TensorRT-RTX does not have this option: {_NOT_OF_RTX[refused[0]]}",
            where=refused[0],
            do="leave it out, or build with --target tensorrt",
        )


# As TensorRT-RTX 1.7.1 answered.
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
