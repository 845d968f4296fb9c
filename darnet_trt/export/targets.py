"""What `build` shall make: `--target` and `--precision` become a list of candidates."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, cast, get_args

from darnet_trt.bundle.manifest import Backend, Precision
from darnet_trt.errors import BuildError, DeviceError, MissingPackageError, UsageError
from darnet_trt.runtime.engines.onnxruntime.package import import_onnxruntime
from darnet_trt.runtime.engines.openvino.package import cpu_precisions
from darnet_trt.runtime.engines.tensorrt.gpu import open_device
from darnet_trt.runtime.engines.tensorrt.package import (
    PACKAGES,
    PORTABLE,
    RTX_TARGETS,
    TensorRTBackend,
)

__all__ = ["Asked", "Candidate", "candidates", "plan_backends"]

Asked = Literal["auto", "fp32", "bf16", "fp16", "int8"]
_BACKENDS: Final = get_args(Backend)

# What a backend can be asked for here.
_PRECISIONS: Final[dict[Backend, tuple[Precision, ...]]] = {
    "openvino": ("fp32", "bf16", "fp16", "int8"),
    "onnxruntime": ("fp32", "int8"),
    "tensorrt": ("fp32", "fp16", "int8"),
    "tensorrt-rtx": ("fp32", "fp16", "int8"),
}
# What `auto` builds beside what it measures on this CPU.
_AUTO: Final[dict[Backend, tuple[Precision, ...]]] = {
    "onnxruntime": ("fp32", "int8"),
    "tensorrt": ("fp16", "int8"),
    "tensorrt-rtx": ("fp16", "int8"),
}


@dataclass(frozen=True)
class Candidate:
    """One engine to build.

    Attributes:
        backend: What builds and runs it.
        precision: What it shall run in.
        target: "cpu", "cuda", "portable", "sm89", …
    """

    backend: Backend
    precision: Precision
    target: str = "cpu"

    @property
    def name(self) -> str:
        """Unique in a bundle."""
        target = "" if self.target == "cpu" else f"-{self.target}"
        return f"{self.backend}{target}-{self.precision}"


def candidates(
    targets: Sequence[str], asked: Asked, *, calibrated: bool = False
) -> tuple[Candidate, ...]:
    """Parse `--target` and find what this machine can build of it.

    Args:
        targets: "openvino", "onnxruntime", "onnxruntime:cuda", "tensorrt-rtx",
            "tensorrt-rtx:sm86,sm89", "tensorrt"; none takes OpenVINO and ONNX Runtime, whichever
            is installed.
        asked: The precision; "auto" takes fp32 and, where the CPU has it, bf16 on the CPU, fp16
            on GPUs, and int8 wherever there is calibration data. Int8 comes with the float engine
            that it must outrun: fp32 on the CPU, fp16 on GPUs.
        calibrated: Whether there is calibration data.

    Raises:
        UsageError: An unknown target, a precision that a named target does not have, or int8
            without calibration data.
        MissingPackageError: A package that a named target needs is not installed.
        BuildError: `tensorrt` without the GPU that it builds for.
    """
    if asked == "int8" and not calibrated:
        raise UsageError(
            "int8 needs scans to calibrate with", where="--precision", do="add --calibration DIR"
        )
    if targets:
        wanted = dict.fromkeys(pair for text in targets for pair in _parse(text))
    else:
        wanted = dict.fromkeys((b, "cpu") for b in _installed() if _offers(b, asked))
    found = [
        Candidate(b, p, t)
        for b, t in wanted
        for p in _precisions(b, asked, t)
        if p != "int8" or calibrated
    ]
    if not found:
        raise UsageError(
            f"no engine here runs {asked} by default", do="name the backend with --target"
        )
    return tuple(found)


def plan_backends(wanted: Sequence[Candidate]) -> set[TensorRTBackend]:
    """Which builders of TensorRT plans are among the candidates'."""
    return {cast(TensorRTBackend, c.backend) for c in wanted if c.backend in PACKAGES}


def _installed() -> list[Backend]:
    backends: tuple[Backend, ...] = ("openvino", "onnxruntime")
    found = [b for b in backends if importlib.util.find_spec(b) is not None]
    if not found:
        raise MissingPackageError("openvino", extra="cpu")
    return found


def _parse(text: str) -> list[tuple[Backend, str]]:
    """One `--target` → backend and target pairs."""
    name, colon, rest = text.partition(":")
    if name not in _BACKENDS:
        raise UsageError(f"there is no target {name!r}", do=f"choose from {', '.join(_BACKENDS)}")
    backend = cast(Backend, name)
    if (backend, rest) == ("onnxruntime", "cuda"):
        return [(backend, _cuda_provider())]
    if backend != "tensorrt-rtx" and colon:
        raise UsageError(
            f"{backend} builds for this machine and takes no {rest!r}", do=f"say --target {backend}"
        )
    if backend in PACKAGES:
        package, extra = PACKAGES[backend]
    else:
        package, extra = backend, "cpu"
    if importlib.util.find_spec(package) is None:
        raise MissingPackageError(package, extra=extra)
    if backend == "tensorrt-rtx":
        architectures = rest.split(",") if colon else [PORTABLE]
        for architecture in architectures:
            if architecture not in RTX_TARGETS:
                raise UsageError(
                    f"TensorRT-RTX does not build for {architecture!r}",
                    do=f"choose from {', '.join(RTX_TARGETS)}; "
                    "for other GPUs use --target tensorrt on that machine",
                )
        return [(backend, architecture) for architecture in architectures]
    return [(backend, _gpu() if backend == "tensorrt" else "cpu")]


def _cuda_provider() -> str:
    """ONNX Runtime's target on an NVIDIA GPU."""
    if "CUDAExecutionProvider" in import_onnxruntime(extra="gpu").get_available_providers():
        return "cuda"
    raise MissingPackageError("onnxruntime-gpu", extra="gpu")


def _gpu() -> str:
    """The target of the GPU that the builder and the runner take: the first that CUDA shows."""
    try:
        capability = open_device("tensorrt").capability
    except DeviceError as error:
        raise BuildError(
            f"TensorRT builds only for the GPU it finds, and {error.what}",
            do="run this on the machine that has it, or use --target tensorrt-rtx",
        ) from error
    return "sm{}{}".format(*capability)


def _offers(backend: Backend, asked: Asked) -> bool:
    return asked == "auto" or asked in _PRECISIONS[backend]


def _precisions(backend: Backend, asked: Asked, target: str) -> tuple[Precision, ...]:
    if not _offers(backend, asked) or (target, asked) == ("cuda", "int8"):
        able = ", ".join(p for p in _PRECISIONS[backend] if (target, p) != ("cuda", "int8"))
        raise UsageError(
            f"{backend} has no {asked} here", do=f"choose --precision auto or one of {able}"
        )
    if target == "cuda":
        return ("fp32",)
    if asked == "int8" and backend in PACKAGES:
        return ("fp16", "int8")
    if asked == "int8":
        return ("fp32", "int8")
    if backend != "openvino":
        return _AUTO[backend] if asked == "auto" else (asked,)
    able_here = cpu_precisions()
    if asked == "auto":
        return (*(p for p in ("fp32", "bf16") if p in able_here), "int8")
    if asked not in able_here:
        raise UsageError(
            f"OpenVINO does not compute in {asked} on this CPU, it has {', '.join(able_here)}",
            do="choose one of these or --precision auto",
        )
    return (asked,)
