"""Run an ONNX file with ONNX Runtime: on any CPU, or on an NVIDIA GPU (CUDA provider)."""

from __future__ import annotations

import re
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from darnet_trt.errors import BundleError, DeviceError
from darnet_trt.runtime.engines.onnxruntime.cuda import (
    CUDA,
    cuda_obstacle,
    executed,
    prepare_cuda,
)
from darnet_trt.runtime.engines.onnxruntime.package import import_onnxruntime
from darnet_trt.runtime.engines.runner import OUTPUTS, Outputs, count_classes

# The file allows any batch. Each further volume needs memory for its activations (about 0.6 GB at
# the paper's size in float32).
MAX_BATCH: Final = 16

_ERRORS_ONLY: Final = 3  # ONNX Runtime's log severity
_FATAL_ONLY: Final = 4


class OnnxRuntimeRunner:
    """An ONNX Runtime session on one device.

    Args:
        model: The `.onnx` file, float32, or float16 inside, or with quantized convolutions of
            `calibration.qdq`: "u8", which is fast, or "s8".
        device: "cuda" fails if the CUDA provider is missing or does not start; ONNX Runtime itself
            would silently fall back to the CPU.
        threads: CPU threads; None: ONNX Runtime takes one for each physical core.
        profile: Start of the name of the file that `end_profiling` writes, on the CPU; None: no
            profile, which costs time.

    Raises:
        MissingPackageError: ONNX Runtime, its build for GPUs or a library of CUDA is not installed.
        DeviceError: There is no usable GPU.
        BundleError: ONNX Runtime cannot load the model on this device, or it is another network.
    """

    backend = "onnxruntime"
    batch = (1, MAX_BATCH)

    def __init__(
        self,
        model: Path,
        *,
        device: Literal["cpu", "cuda"] = "cpu",
        threads: int | None = None,
        profile: Path | None = None,
    ) -> None:
        onnxruntime = import_onnxruntime("gpu" if device == "cuda" else None)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = _ERRORS_ONLY
        if threads is not None:
            options.intra_op_num_threads = threads
        if profile is not None:
            options.enable_profiling, options.profile_file_prefix = True, str(profile)
        effective = None
        if device == "cpu":
            session = _session(onnxruntime, model, options, "CPUExecutionProvider", {})
        else:
            session, effective = _on_gpu(onnxruntime, model, options)
        self._on_gpu = device == "cuda"
        volume = session.get_inputs()[0]
        _, _, d, h, w = volume.shape
        self.input_size: tuple[int, int, int] = (d, h, w)
        outputs = {output.name: output.shape for output in session.get_outputs()}
        self.classes = count_classes(outputs, model)
        self._input = volume.name
        self._outputs = [name for name in OUTPUTS if name in outputs]
        self._session: Any = session
        # On the CPU there is nothing to read back: it runs the types in the file.
        properties = session.get_modelmeta().custom_metadata_map
        self.precision = effective or properties.get("precision", "fp32")
        self.provenance = {
            "onnxruntime": onnxruntime.__version__,
            "device": session.get_providers()[0],
            "threads": "physical cores" if threads is None else str(threads),
        }

    def infer(self, batch: npt.NDArray[np.float32]) -> Outputs:
        """Run volumes of shape (n, 1, d, h, w).

        Raises:
            DeviceError: The GPU failed.
        """
        try:
            found = self._session.run(self._outputs, {self._input: batch})
        except Exception as error:  # ONNX Runtime's own classes share no public base
            if self._on_gpu:
                raise _gpu_failed(error) from error
            raise
        return Outputs(*(np.asarray(array, np.float32) for array in found))

    def end_profiling(self) -> Path:
        """Stop profiling, and return the file of the profile."""
        return Path(self._session.end_profiling())

    def close(self) -> None:
        """Free the session."""
        del self._session


def _session(
    onnxruntime: ModuleType, model: Path, options: Any, provider: str, settings: dict[str, str]
) -> Any:
    """Open a session and check its input."""
    try:
        # Without the fallback a failure on the GPU is an error, not a slow run on the CPU.
        session = onnxruntime.InferenceSession(
            str(model), options, providers=[(provider, settings)], enable_fallback=0
        )
    except Exception as error:  # ONNX Runtime's own classes share no public base
        if provider == CUDA and "CUDA" in str(error):
            raise _gpu_failed(error) from error
        raise BundleError(
            f"ONNX Runtime cannot load it ({_first_line(error)})",
            where=model,
            do="build the bundle again",
        ) from error
    volume = session.get_inputs()[0]
    fixed = all(isinstance(size, int) for size in volume.shape[1:])
    if len(volume.shape) != 5 or not fixed or volume.type != "tensor(float)":
        raise BundleError(
            f"its input is {volume.type} {volume.shape}, expected float (n, 1, d, h, w)",
            where=model,
        )
    return session


def _on_gpu(onnxruntime: ModuleType, model: Path, options: Any) -> tuple[Any, str | None]:
    """Open a session on the GPU, run it once, and return it with the precision that ran."""
    prepare_cuda(onnxruntime)
    # One line says why CUDA does not start; ONNX Runtime prints four.
    onnxruntime.set_default_logger_severity(_FATAL_ONLY)
    # TF32 is on by default, with 10 instead of 23 bits; turn it off, for fp32 means float32.
    settings = {"use_tf32": "0"}
    with TemporaryDirectory() as folder:
        options.enable_profiling, options.profile_file_prefix = True, f"{folder}/profile"
        try:
            session = _session(onnxruntime, model, options, CUDA, settings)
            if (running := session.get_providers()[0]) != CUDA:
                raise DeviceError(
                    f"ONNX Runtime fell back from {CUDA} to {running} and does not say why",
                    do="check the GPU and its driver with: nvidia-smi",
                )
            precision, elsewhere = _executed(session)
        except DeviceError as error:
            raise cuda_obstacle(onnxruntime) or error  # noqa: B904, as it may be the same
    if precision is None or elsewhere:
        raise BundleError(
            f"ONNX Runtime ran {elsewhere} of its convolutions on the CPU instead of the GPU",
            where=model,
            do="choose an engine for the CPU",
        )
    return session, precision


def _executed(session: Any) -> tuple[str | None, int]:
    try:
        return executed(session, CUDA)
    except Exception as error:  # as above
        raise _gpu_failed(error) from error


def _gpu_failed(error: Exception) -> DeviceError:
    # Before it stand the functions that passed the error on.
    reason = re.search(r"(CUDA|CUDNN|CUBLAS) failure [^;]*[^; ]|Failed to allocate .*", str(error))
    return DeviceError(
        f"ONNX Runtime failed on the GPU ({reason[0] if reason else _first_line(error)})",
        do="check the GPU, its memory and its driver with: nvidia-smi",
    )


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), "no reason")
