"""Run a model on the CPU with OpenVINO.

By default OpenVINO runs a float32 model in bfloat16 if the CPU has it. So the runner sets the
precision of a bundle's engine (`INFERENCE_PRECISION_HINT`) and reads back the one that OpenVINO
uses.

It keeps no cache of compiled models (`CACHE_DIR`): at the paper's size that saved 0.06 of 0.25 s
and cost 116 MB of memory and 141 MB of disk.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from darnet_trt.errors import BundleError
from darnet_trt.runtime.engines.openvino.package import core, import_openvino
from darnet_trt.runtime.engines.runner import OUTPUTS, Outputs, count_classes, joined

# The volumes of a batch run one after the other: 2 or 4 at once were no faster per volume on the
# CPU and needed more memory. So the engine has a static batch of 1, and this number is no limit.
MAX_BATCH: Final = 64

# For int8 the graph has the 8-bit operators; the hint is for the others.
_HINTS: Final = {"fp32": "f32", "bf16": "bf16", "fp16": "f16", "int8": "f32"}
_EFFECTIVE: Final = {"f32": "fp32", "bf16": "bf16", "f16": "fp16"}


class OpenVINORunner:
    """A compiled OpenVINO model on the CPU.

    Args:
        model: The `.xml` (with its `.bin` beside it) or `.onnx` file; float32, or for int8 with
            quantized convolutions.
        precision: The precision of convolutions and matrix products; None: OpenVINO chooses.
        threads: CPU threads; None: OpenVINO takes one for each physical core.
        profiled: Keep the time of each layer in `request`; it costs time.

    Attributes:
        request: OpenVINO's `InferRequest`.

    Raises:
        MissingPackageError: OpenVINO is not installed.
        BundleError: OpenVINO cannot read or compile the model, or it is another network.
    """

    backend = "openvino"
    batch = (1, MAX_BATCH)

    def __init__(
        self,
        model: Path,
        *,
        precision: Literal["fp32", "bf16", "fp16", "int8"] | None,
        threads: int | None = None,
        profiled: bool = False,
    ) -> None:
        openvino = import_openvino()
        config: dict[str, str | int | bool] = {
            "PERFORMANCE_HINT": "LATENCY",
            "PERF_COUNT": profiled,
        }
        if precision is not None:
            config["INFERENCE_PRECISION_HINT"] = _HINTS[precision]
        if threads is not None:
            config["INFERENCE_NUM_THREADS"] = threads
        try:
            network = _read(model)
            size = network.input(0).partial_shape
            self.input_size = (int(str(size[2])), int(str(size[3])), int(str(size[4])))
            network.reshape([1, 1, *self.input_size])
            compiled = core().compile_model(network, "CPU", config)
        except (RuntimeError, ValueError, IndexError) as error:
            raise BundleError(
                f"OpenVINO cannot load it ({_reason(error)})",
                where=model,
                do="build the bundle again",
            ) from error
        outputs = {
            name: [
                size.get_length() if size.is_static else str(size) for size in output.partial_shape
            ]
            for output in compiled.outputs
            for name in output.names
        }
        self.classes = count_classes(outputs, model)
        hint = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
        self.precision: str = _EFFECTIVE.get(hint, hint)
        in_int8 = 0
        if precision == "int8" and (in_int8 := _int8_convolutions(compiled)):
            self.precision = "int8"
        self._tensor = openvino.Tensor
        self.request = compiled.create_infer_request()
        self._outputs = [compiled.output(name) for name in OUTPUTS if name in outputs]
        self.provenance = {
            "openvino": openvino.__version__,
            "device": core().get_property("CPU", "FULL_DEVICE_NAME"),
            "threads": str(compiled.get_property("INFERENCE_NUM_THREADS")),
        }
        if in_int8:
            self.provenance["int8 convolutions"] = str(in_int8)

    def infer(self, batch: npt.NDArray[np.float32]) -> Outputs:
        """Run volumes of shape (n, 1, d, h, w), one after the other."""
        found = []
        for volume in np.require(batch, np.float32, ["C", "W"]):
            # Faster by 0.1 ms than giving the volume to `infer` and taking what it returns. The
            # request keeps the address, not the volume: set one before each `infer`.
            self.request.set_input_tensor(self._tensor(volume[None], shared_memory=True))
            self.request.infer(share_outputs=True)
            answers = (self.request.get_tensor(one).data for one in self._outputs)
            found.append(Outputs(*(np.array(answer, np.float32) for answer in answers)))
        return joined(found)

    def close(self) -> None:
        """Free the engine."""
        del self.request, self._outputs


def _read(model: Path) -> Any:
    """Read a model; refuse other files, on which `read_model` would try all formats and print."""
    from openvino.frontend import FrontEndManager

    format_ = "ir" if model.suffix == ".xml" else "onnx"
    if not FrontEndManager().load_by_framework(format_).supported(model):
        raise ValueError(f"it is not a file of {'OpenVINO IR' if format_ == 'ir' else 'ONNX'}")
    return core().read_model(model)


def _int8_convolutions(compiled: Any) -> int:
    """Count the convolutions that the compiled graph runs on 8-bit data."""
    kernels = [
        operator.get_rt_info()["primitiveType"].astype(str)
        for operator in compiled.get_runtime_model().get_ops()
        if operator.get_rt_info()["layerType"].astype(str) == "Convolution"
    ]
    return sum(kernel.lower().endswith("_i8") for kernel in kernels)


def _reason(error: Exception) -> str:
    """Return the last line: those before it name OpenVINO's source files."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
