"""ONNX Runtime on a GPU: what it lacks is named, and the float16 graph runs, here on the CPU."""

import numpy as np
import onnxruntime
import pytest

from darnet_trt.errors import DarnetError, DeviceError, MissingPackageError
from darnet_trt.export.onnx.writing import Source, export_onnx
from darnet_trt.machine.hardware import gpus
from darnet_trt.runtime.engines.onnxruntime.cuda import (
    CUDA,
    cuda_obstacle,
    executed,
    prepare_cuda,
)
from darnet_trt.runtime.engines.onnxruntime.runner import OnnxRuntimeRunner, _gpu_failed
from darnet_trt.runtime.engines.parity import LIMITS, compare
from darnet_trt.training.model import Network
from tests.export.networks import trained_like

CPU = "CPUExecutionProvider"


@pytest.fixture(scope="module")
def graphs(tmp_path_factory):
    """The same network in float32 and in float16, with float32 inputs and outputs."""
    folder = tmp_path_factory.mktemp("graphs")
    source = Source(trained_like(Network(width=4, input_size=(8, 32, 32))), "0" * 64)
    for precision in ("fp32", "fp16"):
        export_onnx(source, folder / f"{precision}.onnx", precision)
    return folder


def outputs(model, device):
    runner = OnnxRuntimeRunner(model, device=device)
    shape = (2, 1, *runner.input_size)
    found = runner.infer(np.random.default_rng(0).random(shape, np.float32))
    precision = runner.precision
    runner.close()
    return found, precision


def assert_agree(graphs, device):
    reference, _ = outputs(graphs / "fp32.onnx", "cpu")
    for precision in ("fp32", "fp16"):
        found, ran = outputs(graphs / f"{precision}.onnx", device)
        assert ran == precision
        assert compare(reference, found, LIMITS[precision], "noise").passed


def test_the_float16_graph_keeps_the_limits_of_float16(graphs):
    assert_agree(graphs, "cpu")


@pytest.mark.gpu
def test_both_graphs_on_a_gpu(graphs):
    if not gpus():
        pytest.skip("there is no NVIDIA GPU")
    try:
        prepare_cuda(onnxruntime)
    except MissingPackageError as error:
        pytest.skip(str(error))
    assert_agree(graphs, "cuda")


def profiling(model, tmp_path):
    options = onnxruntime.SessionOptions()
    options.enable_profiling, options.profile_file_prefix = True, str(tmp_path / "profile")
    return onnxruntime.InferenceSession(str(model), options, providers=[CPU])


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_the_precision_is_the_one_that_ran_and_not_the_files(graphs, tmp_path, precision):
    """On the CPU ONNX Runtime computes both in float32; no convolution runs elsewhere."""
    session = profiling(graphs / f"{precision}.onnx", tmp_path)
    assert executed(session, CPU) == ("fp32", 0)
    assert [*tmp_path.iterdir()] == []


def test_convolutions_that_another_provider_ran_are_counted(graphs, tmp_path):
    precision, elsewhere = executed(profiling(graphs / "fp32.onnx", tmp_path), CUDA)
    assert precision is None
    assert elsewhere == 21  # 20 and the head


@pytest.mark.skipif(
    CUDA in onnxruntime.get_available_providers(), reason="this ONNX Runtime has CUDA"
)
def test_a_build_without_cuda_names_both_commands(graphs):
    obstacle = cuda_obstacle(onnxruntime)
    assert isinstance(obstacle, MissingPackageError)
    for fact in ("without CUDA", "pip uninstall -y onnxruntime;", "pip install 'darnet-trt[gpu]'"):
        assert fact in str(obstacle)
    with pytest.raises(DarnetError, match="without CUDA"):
        OnnxRuntimeRunner(graphs / "fp32.onnx", device="cuda")


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (
            "cuda_call.cc:154 std::conditional_t<THRW> onnxruntime::CudaCall(ERRTYPE) CUDA failure "
            "35: CUDA driver version is insufficient for CUDA runtime version ; GPU=-1 ; file=a.cc",
            "CUDA failure 35: CUDA driver version is insufficient for CUDA runtime version",
        ),
        (
            "Non-zero status code. Status Message: bfc_arena.cc:359 Failed to allocate memory for "
            "requested buffer of size 9\n",
            "Failed to allocate memory for requested buffer of size 9",
        ),
        ("something else\nat a place", "something else"),
    ],
)
def test_an_error_of_the_gpu_begins_with_its_reason(said, reason):
    error = _gpu_failed(RuntimeError(said))
    assert isinstance(error, DeviceError)
    assert f"({reason})" in str(error)
