"""Other people's quantizers for the same network, at the settings that suit it best."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

Scans = Sequence[npt.NDArray[np.float32]]  # each (1, d, h, w)

# ModelOpt pins other releases of onnx and onnxruntime than ours, so it runs by itself.
_MODELOPT = """
import sys
import numpy as np
from modelopt.onnx.quantization import quantize

plain, scans, out = sys.argv[1:]
quantize(
    plain,
    calibration_data={"input": np.load(scans)},
    calibration_eps=["cpu"],
    high_precision_dtype="fp32",
    op_types_to_quantize=["Conv"],
    nodes_to_exclude=["classifier"],
    output_path=out,
    log_level="ERROR",
)
"""


def nncf(plain: Path, scans: Scans, out: Path) -> Path:
    """OpenVINO's, with its defaults but for u8 activations that may have a sign.

    Args:
        plain: The float32 ONNX file without functions.
        scans: What calibrates.
        out: A folder.

    Returns:
        The .xml file.
    """
    import nncf
    import openvino

    quantized = nncf.quantize(
        openvino.convert_model(plain),
        nncf.Dataset(scans, lambda scan: scan[None]),
        preset=nncf.QuantizationPreset.MIXED,
        subset_size=len(scans),
    )
    file = out / "nncf.xml"
    openvino.save_model(quantized, file, compress_to_fp16=False)
    return file


def onnxruntime(plain: Path, scans: Scans, out: Path) -> Path:
    """ONNX Runtime's in the form that it runs fastest: u8 activations, convolutions alone.

    Of its methods min-max alone: the others hold what all scans give in memory at once.

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


def modelopt(python: Path, plain: Path, scans: Scans, out: Path) -> Path:
    """NVIDIA's, for TensorRT: symmetric int8, entropy.

    Args:
        python: Of an environment with nvidia-modelopt[onnx].
        plain: As above.
        scans: As above.
        out: As above.

    Returns:
        The .onnx file.
    """
    file, inputs = out / "modelopt.onnx", out / "scans.npy"
    np.save(inputs, np.stack(scans))
    words = [python, "-c", _MODELOPT, plain, inputs, file]
    subprocess.run(words, check=True, stdout=sys.stderr)
    return file
