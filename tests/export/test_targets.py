"""`--target` and `--precision` as lists of engines."""

import importlib.util
from types import SimpleNamespace

import onnxruntime
import pytest

from darnet_trt.errors import BuildError, MissingPackageError, UsageError
from darnet_trt.export import targets
from darnet_trt.export.targets import Candidate, candidates
from darnet_trt.runtime.engines.cuda.device import no_gpu
from darnet_trt.runtime.engines.openvino.package import cpu_precisions
from darnet_trt.runtime.engines.tensorrt.package import PORTABLE, RTX_TARGETS

rtx = pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx") is None, reason="tensorrt_rtx is not installed"
)


def names(*arguments, **options):
    return [c.name for c in candidates(*arguments, **options)]


def test_auto_builds_the_precisions_of_this_cpu():
    expected = ["openvino-fp32", "onnxruntime-fp32"]
    if "bf16" in cpu_precisions():
        expected.insert(1, "openvino-bf16")
    assert names([], "auto") == expected


def test_one_precision():
    assert names([], "fp32") == ["openvino-fp32", "onnxruntime-fp32"]
    assert names(["onnxruntime", "onnxruntime"], "fp32") == ["onnxruntime-fp32"]


def test_with_calibration_data_int8_is_built_beside_fp32():
    with_int8 = names([], "auto", calibrated=True)
    assert [name for name in with_int8 if name not in names([], "auto")] == [
        "openvino-int8",
        "onnxruntime-int8",
    ]
    assert names(["openvino"], "int8", calibrated=True) == ["openvino-fp32", "openvino-int8"]
    assert names(["openvino"], "fp32", calibrated=True) == ["openvino-fp32"]


def test_int8_without_calibration_data_is_refused():
    with pytest.raises(UsageError, match=r"--precision int8: .*add --calibration"):
        candidates(["openvino"], "int8")


@rtx
def test_calibrated_plans():
    for asked in ("int8", "auto"):  # fp16 is what int8 must outrun
        assert names(["tensorrt-rtx"], asked, calibrated=True) == [
            "tensorrt-rtx-portable-fp16",
            "tensorrt-rtx-portable-int8",
        ]


@rtx
def test_rtx_architectures():
    assert names(["tensorrt-rtx:sm89"], "bf16") == ["tensorrt-rtx-sm89-bf16"]
    assert names(["tensorrt-rtx"], "auto") == ["tensorrt-rtx-portable-fp16"]
    assert candidates(["tensorrt-rtx:sm89,sm86", "tensorrt-rtx:sm89"], "fp32") == (
        Candidate("tensorrt-rtx", "fp32", "sm89"),
        Candidate("tensorrt-rtx", "fp32", "sm86"),
    )


@rtx
def test_the_list_of_architectures_is_the_packages():
    import tensorrt_rtx

    known = set(tensorrt_rtx.ComputeCapability.__members__) - {"NONE", "CURRENT"}
    assert {target.upper() for target in RTX_TARGETS if target != PORTABLE} == known


@pytest.mark.parametrize(
    ("wanted", "precision", "message"),
    [
        (["cuda"], "auto", "unknown target 'cuda'"),
        (["openvino:sm89"], "auto", "not for 'sm89'"),
        (["onnxruntime"], "bf16", "onnxruntime does not build bf16.* choose auto, fp32, int8"),
        pytest.param(["tensorrt-rtx:sm90"], "auto", "does not build for 'sm90'", marks=rtx),
        pytest.param(["tensorrt-rtx:"], "auto", "does not build for ''", marks=rtx),
    ],
)
def test_unusable_targets_are_refused(wanted, precision, message):
    with pytest.raises(UsageError, match=message):
        candidates(wanted, precision)


@pytest.mark.skipif("fp16" in cpu_precisions(), reason="this CPU has fp16")
def test_a_precision_that_openvino_would_replace_is_refused():
    with pytest.raises(UsageError, match="fp16 on this CPU"):
        candidates(["openvino"], "fp16")


def test_onnx_runtime_on_a_gpu_needs_its_own_package():
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        assert names(["onnxruntime:cuda"], "auto") == ["onnxruntime-cuda-fp32"]
        return
    with pytest.raises(MissingPackageError, match=r"onnxruntime-gpu .*darnet-trt\[gpu\]"):
        candidates(["onnxruntime:cuda"], "auto")


def test_tensorrt_needs_the_package(monkeypatch):
    monkeypatch.setitem(targets.PACKAGES, "tensorrt", ("absent_tensorrt", "gpu"))
    with pytest.raises(MissingPackageError, match=r"absent_tensorrt .*darnet-trt\[gpu\]"):
        candidates(["tensorrt"], "auto")


@pytest.fixture
def tensorrt(tmp_path, monkeypatch):
    (tmp_path / "tensorrt.py").touch()  # so that it counts as installed
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.usefixtures("tensorrt")
def test_tensorrt_builds_for_the_gpu_that_cuda_shows_first(monkeypatch):
    hopper = SimpleNamespace(capability=(9, 0))
    monkeypatch.setattr(targets, "open_device", lambda backend: hopper)
    assert candidates(["tensorrt"], "fp16") == (Candidate("tensorrt", "fp16", "sm90"),)


@pytest.mark.usefixtures("tensorrt")
def test_tensorrt_without_a_gpu(monkeypatch):
    def none(backend):
        raise no_gpu()

    monkeypatch.setattr(targets, "open_device", none)
    with pytest.raises(BuildError, match=r"no NVIDIA GPU here; .*--target tensorrt-rtx"):
        candidates(["tensorrt"], "fp16")
