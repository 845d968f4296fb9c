"""Find what each backend can do on this machine, and what to install for the rest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from darnet_trt.errors import DarnetError, UsageError
from darnet_trt.kernels.build import cached_library, source_key
from darnet_trt.kernels.library import Library, covers
from darnet_trt.kernels.toolchain import how_to_get_the_cuda_build
from darnet_trt.machine.hardware import Gpu, gpus, package_version
from darnet_trt.runtime.engines.onnxruntime.cuda import cuda_obstacle
from darnet_trt.runtime.engines.onnxruntime.package import (
    cpu_extra,
    import_onnxruntime,
    onnxruntime_packages,
)
from darnet_trt.runtime.engines.openvino.package import core, cpu_precisions
from darnet_trt.runtime.engines.tensorrt.package import RTX_TARGETS
from darnet_trt.scan.dicom.encoding.gpu import why_not
from darnet_trt.scan.isolated import reader

_NO_RTX_TARGET: Final = (
    "it refuses {}; what runs on this GPU: the kernels, torch, ONNX Runtime (extra gpu), plans of "
    "TensorRT (extra tensorrt)"
)


@dataclass(frozen=True)
class Capability:
    """One backend on this machine, or a part beside them.

    Attributes:
        backend: Its name in `build --target` and in the manifest, or "torch", "cuda-python",
            "pycuda", "nvimgcodec", "plugin".
        version: Installed version, of the plugin the hash of its sources; None if absent.
        builds: What it can build here; empty for nothing.
        runs: What it can run here; empty for nothing.
        remedy: What to do about what is missing; empty if nothing is.
    """

    backend: str
    version: str | None
    builds: str
    runs: str
    remedy: str


def _openvino(version: str) -> Capability:
    cpu = f"CPU in {', '.join(cpu_precisions())}"
    devices = core().available_devices
    runs = "; ".join(cpu if device == "CPU" else device for device in devices)
    return Capability("openvino", version, "CPU", runs, "")


def _onnxruntime(version: str) -> Capability:
    onnxruntime = import_onnxruntime()
    if not gpus():
        return Capability("onnxruntime", version, "CPU", "CPU", "")
    obstacle = cuda_obstacle(onnxruntime)
    if obstacle is not None:
        return Capability("onnxruntime", version, "CPU", "CPU", f"for this GPU: {obstacle}")
    return Capability("onnxruntime", version, "CPU, GPU", "CPU, CUDA", "")


def _tensorrt_rtx(version: str) -> Capability:
    able = [g.name for g in gpus() if _target(g) in RTX_TARGETS]
    remedies = []
    if (refused := _refused_by_rtx()) is not None:
        remedies.append(refused)
    elif not able:
        remedies.append("running its plans needs an NVIDIA RTX GPU and its driver")
    if package_version("cuda-bindings") is None:
        remedies.append("running its plans needs cuda-python: pip install 'darnet-trt[rtx]'")
        able = []
    return Capability(
        "tensorrt-rtx",
        version,
        "any RTX GPU; needs none to build",
        ", ".join(able),
        "; ".join(remedies),
    )


def _tensorrt(version: str) -> Capability:
    names = ", ".join(gpu.name for gpu in gpus())
    if not names:
        return Capability(
            "tensorrt", version, "", "", "building and running need an NVIDIA GPU and its driver"
        )
    if package_version("pycuda") is None and package_version("cuda-bindings") is None:
        remedy = "running its plans needs cuda-python: pip install 'darnet-trt[tensorrt]'"
        return Capability("tensorrt", version, names, "", remedy)
    return Capability("tensorrt", version, names, names, "")


def _target(gpu: Gpu) -> str:
    return "sm" + gpu.compute_capability.replace(".", "")


def _cuda_python(version: str) -> Capability:
    from cuda.bindings import runtime

    _, driver = runtime.cudaDriverGetVersion()
    remedy = "" if driver else "it found no NVIDIA driver"
    runs = "memory and graphs for tensorrt-rtx and tensorrt" if driver else ""
    return Capability("cuda-python", version, "", runs, remedy)


def _pycuda(version: str) -> Capability:
    from pycuda import driver

    driver.init()
    return Capability("pycuda", version, "", "memory for tensorrt", "")


def _plugin() -> Capability:
    """Describe the fused attention's library, if this user has compiled it."""
    # On some boards nvidia-smi does not report the compute capability.
    cards = {g.name: c for g in gpus() if (c := _capability(g)) is not None}
    cuda, cpu = cached_library("cuda", cards.values()), cached_library("cpu")
    if cuda is None:
        remedy = f"running plans with it needs the CUDA build; {how_to_get_the_cuda_build()}"
        builds = "plans (compiled for the CPU)" if cpu else ""
        return Capability("plugin", source_key() if cpu else None, builds, "", remedy)
    target = Library(cuda).target
    unable = [name for name, capability in cards.items() if not covers(target, capability)]
    remedy = ""
    if unable:
        remedy = f"not compiled for {', '.join(unable)}; {how_to_get_the_cuda_build()}"
    return Capability("plugin", source_key(), "plans", target, remedy)


def _capability(gpu: Gpu) -> tuple[int, int] | None:
    major, _, minor = gpu.compute_capability.partition(".")
    return (int(major), int(minor)) if (major + minor).isdigit() else None


def _nvimgcodec(version: str) -> Capability:
    if not gpus():
        remedy = "decoding slices needs an NVIDIA GPU and its driver"
        return Capability("nvimgcodec", version, "", "", remedy)
    with reader() as pixels:  # the processes that it will run in
        remedy = pixels.run(why_not, where=Path("GPU"))
    runs = "" if remedy else "decoding of lossless JPEG 2000 slices"
    return Capability("nvimgcodec", version, "", runs, remedy)


def _torch(version: str) -> Capability:
    remedy = ""
    if gpus() and version.endswith("+cpu"):
        remedy = "built without CUDA; for this GPU see https://pytorch.org/get-started/locally"
    return Capability("torch", version, "", "training, reference", remedy)


_BACKENDS: tuple[tuple[str, str, Callable[[str], Capability]], ...] = (
    ("openvino", "cpu", _openvino),
    ("onnxruntime", "cpu", _onnxruntime),
    ("tensorrt-rtx", "rtx", _tensorrt_rtx),
    ("tensorrt", "tensorrt", _tensorrt),
    ("cuda-python", "rtx", _cuda_python),
    ("pycuda", "pycuda", _pycuda),
    ("nvimgcodec", "gpu-decode", _nvimgcodec),
    ("torch", "train", _torch),
)


def capabilities() -> tuple[Capability, ...]:
    """Describe every backend, also those that are absent or do not load."""
    found = []
    for backend, extra, describe in _BACKENDS:
        version = _version(backend)
        if version is None:
            found.append(Capability(backend, None, "", "", _how_to_get(backend, extra)))
            continue
        try:
            found.append(describe(version))
        except DarnetError as error:
            found.append(Capability(backend, version, "", "", str(error)))
        except Exception as error:  # a package's first call may raise anything
            reason = str(error).strip().partition("\n")[0]
            found.append(Capability(backend, version, "", "", f"does not load: {reason}"))
    try:
        found.append(_plugin())
    except UsageError as error:
        found.append(Capability("plugin", None, "", "", str(error)))
    return tuple(found)


def _refused_by_rtx() -> str | None:
    """Return what runs here instead, if TensorRT-RTX refuses every GPU; None if there is none."""
    if not gpus() or any(_target(gpu) in RTX_TARGETS for gpu in gpus()):
        return None
    return _NO_RTX_TARGET.format(_target(gpus()[0]))


def _version(backend: str) -> str | None:
    if backend == "onnxruntime":
        return next(iter(onnxruntime_packages().values()), None)
    packages = {"cuda-python": "cuda-bindings", "nvimgcodec": "nvidia-nvimgcodec-cu13"}
    return package_version(packages.get(backend, backend))


def _how_to_get(backend: str, extra: str) -> str:
    if backend == "tensorrt-rtx" and (refused := _refused_by_rtx()) is not None:
        return refused
    if backend == "pycuda":
        return "optional for tensorrt, compiled with nvcc: pip install 'darnet-trt[pycuda]'"
    if backend == "nvimgcodec":
        return "optional, decodes JPEG 2000 slices on the GPU: pip install 'darnet-trt[gpu-decode]'"
    return f"pip install 'darnet-trt[{cpu_extra() if extra == 'cpu' else extra}]'"
