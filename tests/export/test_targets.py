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
        candidates(wanted, precision, calibrated=True)


@rtx
def test_auto_leaves_out_int8_where_there_are_no_kernels_for_it():
    found = candidates(["tensorrt-rtx:sm75,sm86"], "auto", calibrated=True)
    assert [f"{c.target}-{c.precision}" for c in found] == ["sm75-fp16", "sm86-fp16", "sm86-int8"]
    asked = candidates(["tensorrt-rtx:sm75"], "int8", calibrated=True)
    assert [c.precision for c in asked] == ["fp16", "int8"]


@pytest.mark.skipif("fp16" in cpu_precisions(), reason="this CPU has fp16")
def test_a_precision_that_openvino_would_replace_is_refused():
    with pytest.raises(UsageError, match="fp16 on this CPU"):
        candidates(["openvino"], "fp16")


@pytest.mark.skipif(
    "CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="it has CUDA"
)
def test_onnx_runtime_on_a_gpu_needs_its_own_package():
    with pytest.raises(MissingPackageError, match=r"without CUDA.*darnet-trt\[gpu\]"):
        candidates(["onnxruntime:cuda"], "auto")


def test_the_precisions_of_onnx_runtime_on_a_gpu(monkeypatch):
    monkeypatch.setattr(targets, "cuda_obstacle", lambda onnxruntime: None)
    both = ["onnxruntime-cuda-fp32", "onnxruntime-cuda-fp16"]
    assert names(["onnxruntime:cuda"], "auto") == both
    assert names(["onnxruntime:cuda"], "fp16") == both[1:]
    with pytest.raises(UsageError, match="auto, fp32, fp16"):
        candidates(["onnxruntime:cuda"], "int8", calibrated=True)


@pytest.mark.parametrize("words", [([], "auto"), (["tensorrt-rtx"], "fp16")])
def test_a_broken_onnx_runtime_is_found_before_anything_is_built(tmp_path, monkeypatch, words):
    record = tmp_path / "onnxruntime_gpu-9.8.7.dist-info"
    record.mkdir()
    text = "Metadata-Version: 2.1\nName: onnxruntime-gpu\nVersion: 9.8.7\n"
    (record / "METADATA").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(MissingPackageError, match="overwrite"):
        candidates(*words)


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
