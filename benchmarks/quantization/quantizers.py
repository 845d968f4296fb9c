"""Run other quantizers on the same network, with the settings that suit it best."""

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

Scans = Sequence[npt.NDArray[np.float32]]  # each (1, d, h, w)

_NOT_CONVOLUTIONS = ["MatMul", "Multiply", "Add", "ReduceMean", "Sigmoid"]

# ModelOpt pins other releases of onnx and onnxruntime than ours, so it runs in its own environment.
_MODELOPT = """
import sys
import numpy as np
from modelopt.onnx.quantization import quantize

method, plain, scans, out = sys.argv[1:]
quantize(
    plain,
    calibration_data={"input": np.load(scans)},
    calibration_method=method,
    calibration_eps=["cpu"],
    high_precision_dtype="fp32",
    op_types_to_quantize=["Conv"],
    nodes_to_exclude=["classifier"],
    output_path=out,
    log_level="ERROR",
)
"""


def nncf(settings: Literal["defaults", "min-max"], plain: Path, scans: Scans, out: Path) -> Path:
    """Quantize with OpenVINO's NNCF.

    Args:
        settings: "defaults": NNCF's defaults, with mixed signed and unsigned activations.
            "min-max", the best found for this network: only convolutions, the extremes of all scans
            instead of their mean over scans, and no correction of biases.
        plain: The float32 ONNX file without functions.
        scans: The scans that calibrate.
        out: A folder for the result.

    Returns:
        The .xml file.
    """
    import nncf
    import openvino
    from nncf.quantization.range_estimator import RangeEstimatorParametersSet

    options: dict[str, object] = {}
    if settings == "min-max":
        options = {
            "ignored_scope": nncf.IgnoredScope(types=_NOT_CONVOLUTIONS, names=["cam"]),
            "advanced_parameters": nncf.AdvancedQuantizationParameters(
                activations_range_estimator_params=RangeEstimatorParametersSet.MINMAX,
                disable_bias_correction=True,
            ),
        }
    quantized = nncf.quantize(
        openvino.convert_model(plain),
        nncf.Dataset(scans, lambda scan: scan[None]),
        preset=nncf.QuantizationPreset.MIXED,
        subset_size=len(scans),
        **options,
    )
    file = out / f"nncf-{settings}.xml"
    openvino.save_model(quantized, file, compress_to_fp16=False)
    return file


def onnxruntime(plain: Path, scans: Scans, out: Path) -> Path:
    """Quantize with ONNX Runtime, in the form that it runs fastest: u8 activations, convolutions.

    Only its min-max method is used: the others keep the activations of all scans in memory.

    Args:
        plain: As above.
        scans: As above.
        out: As above.

    Returns:
        The .onnx file.
    """
    from onnxruntime import quantization as ort

    class Reader(ort.CalibrationDataReader):
        def __init__(self) -> None:
            self._left = iter(scans)

        def get_next(self) -> dict[str, npt.NDArray[np.float32]] | None:
            scan = next(self._left, None)
            return None if scan is None else {"input": scan[None]}

    file = out / "onnxruntime.onnx"
    ort.quantize_static(
        plain,
        file,
        Reader(),
        op_types_to_quantize=["Conv"],
        nodes_to_exclude=["classifier"],
        per_channel=True,
        activation_type=ort.QuantType.QUInt8,
        weight_type=ort.QuantType.QInt8,
    )
    return file


def modelopt(
    python: Path, method: Literal["entropy", "max"], plain: Path, scans: Scans, out: Path
) -> Path:
    """Quantize with NVIDIA's ModelOpt for TensorRT: symmetric int8.

    Args:
        python: The interpreter of an environment with nvidia-modelopt[onnx].
        method: Its method; entropy is its default.
        plain: As above.
        scans: As above.
        out: As above.

    Returns:
        The .onnx file.
    """
    file, inputs = out / f"modelopt-{method}.onnx", out / "scans.npy"
    np.save(inputs, np.stack(scans))
    words = [python, "-c", _MODELOPT, method, plain, inputs, file]
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return file
