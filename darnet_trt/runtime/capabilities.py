"""What each backend can do on this machine, and what to install for the rest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from darnet_trt.runtime.environment import gpus, package_version
from darnet_trt.runtime.openvino_import import import_openvino

__all__ = ["Capability", "capabilities"]


@dataclass(frozen=True)
class Capability:
    """One backend on this machine.

    Attributes:
        backend: The name `build --target` and the manifest use, or "torch".
        version: Installed version; None where absent.
        builds: What it can build here; empty for nothing.
        runs: What it can run here; empty for nothing.
        remedy: What to do to get more from it; empty where nothing is missing.
    """

    backend: str
    version: str | None
    builds: str
    runs: str
    remedy: str


def _openvino(version: str) -> Capability:
    core = import_openvino().Core()
    devices = [str(device) for device in core.available_devices]
    offered = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES") if "CPU" in devices else []
    precisions = [p for p in ("FP32", "BF16", "FP16", "INT8") if p in offered]
    offers = {"CPU": f"CPU in {', '.join(p.lower() for p in precisions)}"}
    runs = "; ".join(offers.get(device, device) for device in devices)
    return Capability("openvino", version, "CPU", runs, "")


def _onnxruntime(version: str) -> Capability:
    import onnxruntime

    providers = onnxruntime.get_available_providers()
    runs = [name for name in ("CPU", "CUDA") if f"{name}ExecutionProvider" in providers]
    remedy = ""
    if gpus() and "CUDA" not in runs:
        remedy = "for this GPU: pip install 'darnet-trt[gpu]'"
    return Capability("onnxruntime", version, "CPU, GPU", ", ".join(runs), remedy)


def _tensorrt_rtx(version: str) -> Capability:
    found = gpus()
    remedy = "" if found else "running its plans needs an NVIDIA RTX GPU and its driver"
    return Capability(
        "tensorrt-rtx",
        version,
        "any RTX GPU; needs none to build",
        ", ".join(gpu.name for gpu in found),
        remedy,
    )


def _tensorrt(version: str) -> Capability:
    found = gpus()
    names = ", ".join(gpu.name for gpu in found)
    remedy = "" if found else "building and running need an NVIDIA GPU and its driver"
    return Capability("tensorrt", version, names, names, remedy)


def _torch(version: str) -> Capability:
    return Capability("torch", version, "", "training, reference", "")


_BACKENDS: tuple[tuple[str, tuple[str, ...], str, Callable[[str], Capability]], ...] = (
    ("openvino", ("openvino",), "cpu", _openvino),
    ("onnxruntime", ("onnxruntime", "onnxruntime-gpu"), "cpu", _onnxruntime),
    ("tensorrt-rtx", ("tensorrt-rtx", "tensorrt_rtx"), "rtx", _tensorrt_rtx),
    ("tensorrt", ("tensorrt",), "gpu", _tensorrt),
    ("torch", ("torch",), "train", _torch),
)


def capabilities() -> tuple[Capability, ...]:
    """Ask every backend; one that is installed but does not load is reported as such."""
    found = []
    for backend, distributions, extra, describe in _BACKENDS:
        version = next((v for d in distributions if (v := package_version(d))), None)
        if version is None:
            remedy = f"pip install 'darnet-trt[{extra}]'"
            found.append(Capability(backend, None, "", "", remedy))
            continue
        try:
            found.append(describe(version))
        except (ImportError, OSError, RuntimeError) as error:
            reason = str(error).strip().partition("\n")[0]
            found.append(Capability(backend, version, "", "", f"does not load: {reason}"))
    return tuple(found)
