"""Turn `--target` and `--precision` into a list of engines to build."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, cast, get_args

from darnet_trt.bundle.manifest import Artifact, Backend, Precision
from darnet_trt.bundle.plan import Plan
from darnet_trt.errors import BuildError, DeviceError, MissingPackageError, UsageError
from darnet_trt.runtime.engines.onnxruntime.cuda import cuda_obstacle
from darnet_trt.runtime.engines.onnxruntime.package import (
    cpu_extra,
    import_onnxruntime,
    onnxruntime_packages,
)
from darnet_trt.runtime.engines.openvino.package import cpu_precisions
from darnet_trt.runtime.engines.tensorrt.gpu import open_device
from darnet_trt.runtime.engines.tensorrt.package import (
    PACKAGES,
    PORTABLE,
    RTX_TARGETS,
    TensorRTBackend,
)

Asked = Literal["auto", "fp32", "bf16", "fp16", "int8"]
_BACKENDS: Final = get_args(Backend)

# Precisions that each backend can build.
_PRECISIONS: Final[dict[str, tuple[Precision, ...]]] = {
    "openvino": ("fp32", "bf16", "fp16", "int8"),
    "onnxruntime": ("fp32", "int8"),
    "onnxruntime:cuda": ("fp32", "fp16"),
    "tensorrt": ("fp32", "bf16", "fp16", "int8"),
    "tensorrt-rtx": ("fp32", "bf16", "fp16", "int8"),
}
# Precisions that `auto` builds; for OpenVINO it asks the CPU.
_AUTO: Final[dict[str, tuple[Precision, ...]]] = {
    "onnxruntime": ("fp32", "int8"),
    "onnxruntime:cuda": ("fp32", "fp16"),
    "tensorrt": ("fp16", "int8"),
    "tensorrt-rtx": ("fp16", "int8"),
}


@dataclass(frozen=True)
class Candidate:
    """One engine to build.

    Attributes:
        backend: The software that runs it.
        precision: The precision asked for.
        target: "cpu", "cuda", "portable", "sm89", …
    """

    backend: Backend
    precision: Precision
    target: str = "cpu"

    @property
    def name(self) -> str:
        """Return its name, unique in a bundle."""
        target = "" if self.target == "cpu" else f"-{self.target}"
        return f"{self.backend}{target}-{self.precision}"

    def artifact(
        self,
        files: dict[str, str],
        batch: tuple[int, int],
        producer: dict[str, str],
        *notes: str,
        plan: Plan | None = None,
    ) -> Artifact:
        """Return its entry in the manifest before it has run; see `Artifact` for the arguments."""
        return Artifact(
            name=self.name,
            files=files,
            backend=self.backend,
            precision=self.precision,
            target=self.target,
            batch=batch,
            producer=producer,
            notes=notes,
            plan=plan,
        )


def candidates(
    targets: Sequence[str], asked: Asked, *, calibrated: bool = False
) -> tuple[Candidate, ...]:
    """Parse `--target` and list the engines to build.

    Args:
        targets: "openvino", "onnxruntime", "onnxruntime:cuda", "tensorrt-rtx",
            "tensorrt-rtx:sm86,sm89", "tensorrt"; none means OpenVINO and ONNX Runtime, if
            installed.
        asked: The precision. "auto" means fp32 and (if the CPU computes in it) bf16 on the CPU,
            fp16 in plans, fp32 and fp16 for ONNX Runtime on a GPU, and int8 if there is
            calibration data. Int8 comes with the float engine that it must outrun: fp32 on the
            CPU, fp16 in plans.
        calibrated: Whether there is calibration data.

    Raises:
        UsageError: A target is unknown or does not have the precision, or int8 has no calibration
            data.
        MissingPackageError: A package to build with is not installed, or not whole.
        DeviceError: `onnxruntime:cuda` is named and there is no usable GPU.
        BuildError: `tensorrt` is named and there is no GPU to build for.
    """
    if asked == "int8" and not calibrated:
        raise UsageError(
            "int8 needs scans to calibrate with",
            where="--precision int8",
            do="add --calibration SCANS",
        )
    if targets:
        wanted = dict.fromkeys(pair for text in targets for pair in _parse(text))
    else:
        on_cpu: tuple[Backend, ...] = ("openvino", "onnxruntime")
        installed = [b for b in on_cpu if _is_installed(b)]
        if not installed:
            raise MissingPackageError("openvino", extra=cpu_extra())
        wanted = dict.fromkeys((b, "cpu") for b in installed if _offers(b, asked))
    found = [
        Candidate(b, p, t)
        for b, t in wanted
        for p in _precisions(b, asked, t)
        if p != "int8" or calibrated
    ]
    if not found:
        raise UsageError(
            f"no CPU backend that is installed builds {asked}",
            where="--precision",
            do="name another backend with --target",
        )
    if any(c.backend == "onnxruntime" or c.precision in ("fp16", "int8") for c in found):
        import_onnxruntime()  # it runs the engine, or finds the ranges for float16 and int8
    return tuple(found)


def plan_backends(wanted: Sequence[Candidate]) -> set[TensorRTBackend]:
    """Return the backends of the TensorRT plans to build."""
    return {cast(TensorRTBackend, c.backend) for c in wanted if c.backend in PACKAGES}


def _is_installed(package: str) -> bool:
    if package == "onnxruntime":  # pip may leave its empty folder
        return bool(onnxruntime_packages())
    return importlib.util.find_spec(package) is not None


def _parse(text: str) -> list[tuple[Backend, str]]:
    """Parse one `--target` into pairs of backend and target."""
    name, colon, rest = text.partition(":")
    if name not in _BACKENDS:
        raise UsageError(
            f"unknown target {name!r}", where="--target", do=f"choose from {', '.join(_BACKENDS)}"
        )
    backend = cast(Backend, name)
    if (backend, rest) == ("onnxruntime", "cuda"):
        if (obstacle := cuda_obstacle(import_onnxruntime(extra="gpu"))) is not None:
            raise obstacle
        return [(backend, "cuda")]
    if backend != "tensorrt-rtx" and colon:
        raise UsageError(
            f"{backend} builds only for this machine, not for {rest!r}",
            where="--target",
            do=f"use --target {backend}",
        )
    if backend in PACKAGES:
        package, extra = PACKAGES[backend]
    else:
        package, extra = backend, cpu_extra()
    if not _is_installed(package):
        raise MissingPackageError(package, extra=extra)
    if backend == "tensorrt-rtx":
        architectures = rest.split(",") if colon else [PORTABLE]
        for architecture in architectures:
            if architecture not in RTX_TARGETS:
                raise UsageError(
                    f"TensorRT-RTX does not build for {architecture!r}",
                    where="--target",
                    do=f"choose from {', '.join(RTX_TARGETS)}; for other GPUs use --target "
                    "tensorrt on a machine with that GPU",
                )
        return [(backend, architecture) for architecture in architectures]
    return [(backend, _gpu() if backend == "tensorrt" else "cpu")]


def _gpu() -> str:
    """Return the target of the first GPU that CUDA lists: the one that builder and runner use."""
    try:
        capability = open_device("tensorrt").capability
    except DeviceError as error:
        raise BuildError(
            f"TensorRT builds only for a GPU of this machine, and {error.what}",
            do="build on the machine with the GPU, or use --target tensorrt-rtx",
        ) from error
    return "sm{}{}".format(*capability)


def _offers(backend: str, asked: Asked) -> bool:
    return asked == "auto" or asked in _PRECISIONS[backend]


def _precisions(backend: Backend, asked: Asked, target: str) -> tuple[Precision, ...]:
    kind = "onnxruntime:cuda" if target == "cuda" else backend
    # TensorRT-RTX 1.7 has no int8 3D convolution for it: it computes in float16 and moves 1.5 times
    # the bytes of a float16 plan.
    lacks_int8 = (backend, target) == ("tensorrt-rtx", "sm75")
    if not _offers(kind, asked):
        raise UsageError(
            f"{kind} does not build {asked} engines",
            where="--precision",
            do=f"choose auto, {', '.join(_PRECISIONS[kind])}",
        )
    if asked == "int8" and backend in PACKAGES:
        return ("fp16", "int8")
    if asked == "int8":
        return ("fp32", "int8")
    if backend != "openvino":
        found = _AUTO[kind] if asked == "auto" else (asked,)
        return tuple(p for p in found if p != "int8" or not lacks_int8)
    able_here = cpu_precisions()
    if asked == "auto":
        return (*(p for p in ("fp32", "bf16") if p in able_here), "int8")
    if asked not in able_here:
        raise UsageError(
            f"OpenVINO does not compute in {asked} on this CPU",
            where="--precision",
            do=f"choose auto, {', '.join(able_here)}",
        )
    return (asked,)
