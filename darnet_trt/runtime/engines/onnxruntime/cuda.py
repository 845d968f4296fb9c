"""Find what ONNX Runtime's CUDA provider needs, and what it really ran.

https://onnxruntime.ai/docs/execution-providers/CUDA-ExecutionProvider.html
"""

from __future__ import annotations

import ctypes
import json
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import numpy as np

from darnet_trt.errors import DarnetError, DeviceError, MissingPackageError
from darnet_trt.runtime.engines.onnxruntime.package import how_to_reinstall

CUDA: Final = "CUDAExecutionProvider"
_HOST: Final = "libonnxruntime_providers_shared.so"  # the provider needs its symbols
_PROVIDER: Final = "libonnxruntime_providers_cuda.so"
_CUDNN: Final = "libcudnn.so.9"  # ONNX Runtime opens it at the first convolution
_DRIVER: Final = "libcuda.so"
_REMEDY: Final = "install NVIDIA's driver (580 or later for CUDA 13), or choose a CPU engine"


def prepare_cuda(onnxruntime: ModuleType) -> None:
    """Load CUDA and cuDNN from NVIDIA's Python packages, for the sessions that come.

    ONNX Runtime itself looks for them only where the system keeps its libraries.

    Raises:
        MissingPackageError: This build of ONNX Runtime has no CUDA provider.
    """
    if CUDA not in onnxruntime.get_available_providers():
        raise MissingPackageError(
            "onnxruntime-gpu",
            extra="gpu",
            what=f"onnxruntime {onnxruntime.__version__} is a build without CUDA",
            do=how_to_reinstall("gpu"),
        )
    if hasattr(onnxruntime, "preload_dlls"):  # since 1.21
        with redirect_stdout(StringIO()):  # it prints what it does not find
            onnxruntime.preload_dlls()


def cuda_obstacle(onnxruntime: ModuleType) -> DarnetError | None:
    """Return why the CUDA provider cannot start here; None where it finds a GPU."""
    try:
        prepare_cuda(onnxruntime)
    except MissingPackageError as error:
        return error
    folder = Path(onnxruntime.__file__ or "").parent / "capi"
    ctypes.CDLL(str(folder / _HOST), ctypes.RTLD_GLOBAL)
    try:
        provider = ctypes.CDLL(str(folder / _PROVIDER))
        ctypes.CDLL(_CUDNN)
    except OSError as error:
        reason = str(error).replace(f"{folder / _PROVIDER}: ", "")
        if reason.startswith(_DRIVER):
            return DeviceError(f"the NVIDIA driver is not installed ({reason})", do=_REMEDY)
        return MissingPackageError(
            "onnxruntime-gpu",
            extra="gpu",
            what=f"a library that onnxruntime needs for CUDA does not load ({reason})",
        )
    # Of the CUDA runtime, which the provider has loaded.
    status = provider.cudaGetDeviceCount(ctypes.byref(ctypes.c_int()))
    if status == 0:
        return None
    provider.cudaGetErrorString.restype = ctypes.c_char_p
    said = provider.cudaGetErrorString(status).decode()
    return DeviceError(f"onnxruntime finds no usable GPU (CUDA error {status}: {said})", do=_REMEDY)


def executed(session: Any, provider: str) -> tuple[str | None, int]:
    """Run zeros once in a session that profiles, and read what ran.

    An ONNX file may ask for a type that the provider does not compute in.

    Args:
        session: Made with `enable_profiling`; it stops profiling. Its profile is deleted.
        provider: The one that was asked for.

    Returns:
        The precision of the convolutions that the provider ran, the narrowest where they differ;
        None where it ran none. And how many convolutions another provider ran.
    """
    volume = session.get_inputs()[0]
    session.run(None, {volume.name: np.zeros((1, *volume.shape[1:]), np.float32)})
    profile = Path(session.end_profiling())
    events: list[dict[str, Any]] = json.loads(profile.read_text())
    profile.unlink()
    ran = [event["args"] for event in events if "input_type_shape" in event.get("args", {})]
    convolutions = [node for node in ran if "Conv" in node["op_name"]]
    its_own = [node for node in convolutions if node["provider"] == provider]
    types = {kind for node in its_own for tensor in node["input_type_shape"] for kind in tensor}
    narrow = {"int8": {"int8", "uint8"}, "fp16": {"float16"}, "bf16": {"bfloat16"}}
    precision = next((name for name, kinds in narrow.items() if kinds & types), "fp32")
    return precision if its_own else None, len(convolutions) - len(its_own)
