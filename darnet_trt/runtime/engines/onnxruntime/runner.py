"""Run `model.onnx` with ONNX Runtime: on any CPU, or on an NVIDIA GPU (CUDA provider)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from darnet_trt.errors import BundleError, MissingPackageError
from darnet_trt.runtime.engines.onnxruntime.package import import_onnxruntime
from darnet_trt.runtime.engines.runner import Outputs, count_classes

# The file allows any batch. Each further volume needs memory for its activations (about 0.6 GB at
# the paper's size in float32).
MAX_BATCH: Final = 16

_ERRORS_ONLY: Final = 3  # ONNX Runtime's log severity


class OnnxRuntimeRunner:
    """An ONNX Runtime session on one device.

    Args:
        model: The `.onnx` file, float32 or with quantized convolutions of `calibration.qdq`: "u8",
            which is fast, or "s8".
        device: "cuda" fails if the CUDA provider is missing or does not start; ONNX Runtime itself
            would silently fall back to the CPU.
        threads: CPU threads; None: ONNX Runtime takes one for each physical core.

    Raises:
        MissingPackageError: ONNX Runtime, or its build for GPUs, is not installed.
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
    ) -> None:
        onnxruntime = import_onnxruntime(extra="cpu" if device == "cpu" else "gpu")
        wanted = "CUDAExecutionProvider" if device == "cuda" else "CPUExecutionProvider"
        if wanted not in onnxruntime.get_available_providers():
            raise MissingPackageError("onnxruntime-gpu", extra="gpu")
        options = onnxruntime.SessionOptions()
        options.log_severity_level = _ERRORS_ONLY
        if threads is not None:
            options.intra_op_num_threads = threads
        # TF32 is on by default, with 10 instead of 23 bits. The artifact is fp32, so turn it off.
        settings: dict[str, Any] = {"use_tf32": "0"} if device == "cuda" else {}
        try:
            session = onnxruntime.InferenceSession(
                str(model), options, providers=[(wanted, settings)]
            )
        except Exception as error:  # ONNX Runtime's own classes share no public base
            raise BundleError(
                f"ONNX Runtime cannot load it ({_first_line(error)})",
                where=model,
                do="build the bundle again",
            ) from error
        running = session.get_providers()
        if running[0] != wanted:
            raise BundleError(
                f"ONNX Runtime fell back from {wanted} to {running[0]}",
                where=model,
                do="check the CUDA driver and libraries with: darnet-trt doctor",
            )
        volume = session.get_inputs()[0]
        fixed = all(isinstance(size, int) for size in volume.shape[1:])
        if len(volume.shape) != 5 or not fixed or volume.type != "tensor(float)":
            raise BundleError(
                f"its input is {volume.type} {volume.shape}, expected float (n, 1, d, h, w)",
                where=model,
            )
        _, _, d, h, w = volume.shape
        self.input_size: tuple[int, int, int] = (d, h, w)
        outputs = {output.name: output.shape for output in session.get_outputs()}
        self.classes = count_classes(outputs, model)
        self._input = volume.name
        self._session: Any = session
        # ONNX Runtime runs the types in the file; there is no setting to read back.
        properties = session.get_modelmeta().custom_metadata_map
        self.precision = properties.get("precision", "fp32")
        self.provenance = {
            "onnxruntime": onnxruntime.__version__,
            "device": running[0],
            "threads": "physical cores" if threads is None else str(threads),
        }

    def infer(self, batch: npt.NDArray[np.float32]) -> Outputs:
        """Run volumes of shape (n, 1, d, h, w)."""
        logits, cam = self._session.run(["logits", "cam"], {self._input: batch})
        return Outputs(np.asarray(logits, np.float32), np.asarray(cam, np.float32))

    def close(self) -> None:
        """Free the session."""
        del self._session


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), "no reason")
