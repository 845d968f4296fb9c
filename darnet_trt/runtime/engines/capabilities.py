"""Find what each backend can do on this machine, and what to install for the rest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from darnet_trt.errors import UsageError
from darnet_trt.kernels.build import cached_library, source_key
from darnet_trt.kernels.library import Library, covers
from darnet_trt.kernels.toolchain import how_to_get_the_cuda_build
from darnet_trt.machine.hardware import Gpu, gpus, package_version
from darnet_trt.runtime.engines.onnxruntime.package import import_onnxruntime
from darnet_trt.runtime.engines.openvino.package import cpu_precisions, import_openvino
from darnet_trt.runtime.engines.tensorrt.package import RTX_TARGETS


@dataclass(frozen=True)
class Capability:
    """One backend on this machine, or a part that TensorRT's plans need.

    Attributes:
        backend: Its name in `build --target` and in the manifest, or "torch", "cuda-python",
            "pycuda", "plugin".
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
    devices = import_openvino().Core().available_devices
    runs = "; ".join(cpu if device == "CPU" else device for device in devices)
    return Capability("openvino", version, "CPU", runs, "")


def _onnxruntime(version: str) -> Capability:
    providers = import_onnxruntime().get_available_providers()
    runs = [name for name in ("CPU", "CUDA") if f"{name}ExecutionProvider" in providers]
    remedy = ""
    if gpus() and "CUDA" not in runs:
        remedy = "for this GPU: pip uninstall onnxruntime, then pip install 'darnet-trt[gpu]'"
    return Capability("onnxruntime", version, "CPU, GPU", ", ".join(runs), remedy)


def _tensorrt_rtx(version: str) -> Capability:
    able = [g.name for g in gpus() if _target(g) in RTX_TARGETS]
    remedies = []
    if not able:
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
    if package_version("pycuda") is None:
        remedy = "running its plans needs pycuda: pip install 'darnet-trt[gpu]'"
        return Capability("tensorrt", version, names, "", remedy)
    return Capability("tensorrt", version, names, names, "")


def _target(gpu: Gpu) -> str:
    return "sm" + gpu.compute_capability.replace(".", "")


def _cuda_python(version: str) -> Capability:
    from cuda.bindings import runtime

    _, driver = runtime.cudaDriverGetVersion()
    remedy = "" if driver else "it found no NVIDIA driver"
    runs = "memory for tensorrt-rtx, graphs for tensorrt" if driver else ""
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


def _torch(version: str) -> Capability:
    return Capability("torch", version, "", "training, reference", "")


_BACKENDS: tuple[tuple[str, tuple[str, ...], str, Callable[[str], Capability]], ...] = (
    ("openvino", ("openvino",), "cpu", _openvino),
    ("onnxruntime", ("onnxruntime", "onnxruntime-gpu"), "cpu", _onnxruntime),
    ("tensorrt-rtx", ("tensorrt-rtx", "tensorrt_rtx"), "rtx", _tensorrt_rtx),
    ("tensorrt", ("tensorrt",), "gpu", _tensorrt),
    ("cuda-python", ("cuda-bindings",), "rtx", _cuda_python),
    ("pycuda", ("pycuda",), "gpu", _pycuda),
    ("torch", ("torch",), "train", _torch),
)


def capabilities() -> tuple[Capability, ...]:
    """Describe every backend, also those that are absent or do not load."""
    found = []
    for backend, distributions, extra, describe in _BACKENDS:
        version = next((v for d in distributions if (v := package_version(d))), None)
        if version is None:
            remedy = f"pip install 'darnet-trt[{extra}]'"
            found.append(Capability(backend, None, "", "", remedy))
            continue
        try:
            found.append(describe(version))
        except Exception as error:  # a package's first call may raise anything
            reason = str(error).strip().partition("\n")[0]
            found.append(Capability(backend, version, "", "", f"does not load: {reason}"))
    try:
        found.append(_plugin())
    except UsageError as error:
        found.append(Capability("plugin", None, "", "", str(error)))
    return tuple(found)
