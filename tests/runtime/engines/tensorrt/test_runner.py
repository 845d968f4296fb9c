"""The runner's order of work, on a GPU that the host simulates (see `host_gpu`)."""

import json
import time
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from darnet_trt.bundle.reading import open_bundle, pick_artifact
from darnet_trt.errors import BundleError, DeviceError, UsageError
from darnet_trt.runtime.engines.onnxruntime.runner import OnnxRuntimeRunner
from darnet_trt.runtime.engines.runner import joined
from darnet_trt.runtime.engines.tensorrt import gpu
from darnet_trt.runtime.engines.tensorrt import lane as tensorrt_lane
from darnet_trt.runtime.engines.tensorrt import plan as tensorrt_plan
from darnet_trt.runtime.engines.tensorrt.messages import Messages
from darnet_trt.runtime.engines.tensorrt.plan import LoadedPlan
from darnet_trt.runtime.engines.tensorrt.runner import TensorRTRunner, open_plan
from darnet_trt.runtime.engines.tensorrt.shapes import parts
from tests.runtime.engines import host_gpu
from tests.runtime.engines.host_gpu import (
    CALLS,
    HostDevice,
    HostGraph,
    HostRuntimeCache,
    activations,
    engines_alive,
    tensorrt,
)
from tests.runtime.engines.plan_bundle import FILE, NAME, put_plan
from tests.tiny_bundle import SIZE, write_onnx

RANGE = ((1, 1, 1), (1, 4, 4))


@pytest.fixture(autouse=True)
def _nothing_is_left(monkeypatch):
    monkeypatch.setattr(tensorrt_lane, "CudaGraph", HostGraph)
    monkeypatch.setattr(HostGraph, "launches", 0)
    yield
    assert HostDevice.open == 0
    assert engines_alive() == 0


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model.onnx"
    write_onnx(path)
    return path


@pytest.fixture(scope="module")
def volumes():
    return np.random.default_rng(0).normal(size=(13, 1, *SIZE)).astype(np.float32)


@pytest.fixture(scope="module")
def expected(model, volumes):
    runner = OnnxRuntimeRunner(model, threads=1)
    outputs = [runner.infer(v[None]) for v in volumes]
    runner.close()
    return joined(outputs)


@pytest.fixture(params=["late", "at once"])
def load(request, model, monkeypatch):
    device = partial(HostDevice, late=request.param == "late")
    for package in ("CudaPythonDevice", "PyCudaDevice"):
        monkeypatch.setattr(gpu, package, device)

    runners = []

    def load(profiles=(), backend="tensorrt", cache=None, content=None):
        content = content or model.read_bytes()
        plan = LoadedPlan(tensorrt(profiles=profiles), backend, content, cache=cache)
        runners.append(TensorRTRunner(plan, precision="fp32"))
        return runners[-1]

    yield load
    for runner in runners:
        runner.close()


def agrees(outputs, expected, rows=slice(None)):
    np.testing.assert_allclose(outputs.logits, expected.logits[rows], atol=1e-6)
    np.testing.assert_allclose(outputs.cam, expected.cam[rows], atol=1e-6)
    np.testing.assert_allclose(outputs.features, expected.features[rows], atol=1e-6)


@pytest.mark.parametrize("backend", ["tensorrt", "tensorrt-rtx"])
def test_a_plan_of_an_older_bundle_has_two_outputs(load, backend, tmp_path, volumes, expected):
    write_onnx(tmp_path / "older.onnx", features=0)
    runner = load(RANGE, backend, content=(tmp_path / "older.onnx").read_bytes())
    for _ in range(3):  # the last as a graph
        found = runner.infer(volumes[:4])
        assert found.features is None
        agrees(replace(found, features=expected.features[:4]), expected, slice(4))


@pytest.mark.parametrize("profiles", [(), RANGE, ((2, 4, 5),)])
@pytest.mark.parametrize("backend", ["tensorrt", "tensorrt-rtx"])
def test_any_batch_agrees_with_onnx_runtime(load, profiles, backend, volumes, expected):
    runner = load(profiles, backend)
    for count in (13, 2, 5, 13, 4, 4, 4):
        agrees(runner.infer(volumes[:count]), expected, slice(count))


@pytest.mark.parametrize("backend", ["tensorrt", "tensorrt-rtx"])
def test_a_runner_allocates_the_activations_of_each_profile_once(load, backend, volumes):
    for profiles, volumes_at_once in (((), [1]), (RANGE, [1, 4])):
        runner = load(profiles, backend)
        runner.infer(volumes[:1])
        runner.infer(volumes[:4])
        assert activations() == volumes_at_once
        runner.close()
        assert activations() == []


def test_a_plan_without_activations(load, volumes, expected, monkeypatch):
    monkeypatch.setattr(host_gpu, "BYTES_OF_A_VOLUME", 0)
    runner = load()
    for _ in range(3):
        agrees(runner.infer(volumes), expected)


def test_outputs_outlive_the_next_run_and_the_runner(load, volumes, expected):
    runner = load()
    first = runner.infer(volumes[:1])
    runner.infer(volumes[1:])
    runner.close()
    runner.close()
    agrees(first, expected, slice(1))


@pytest.mark.parametrize("backend", ["tensorrt", "tensorrt-rtx"])
def test_a_graph_is_captured_once_per_shape_and_changes_no_bit(load, backend, volumes):
    runner = load(RANGE, backend)
    assert runner.provenance["cuda_graph"] == "not captured yet"
    outputs = [runner.infer(volumes[:count]) for count in (1, 1, 1, 4, 8, 3, 1)]
    # Of 1: the second, third and last run; of 4 the second and third part; of 3 none.
    assert HostGraph.launches == 5
    assert runner.provenance["cuda_graph"] == "captured"
    for eager, graph in ((0, 1), (0, 2), (3, 4), (0, 6)):
        first, later = outputs[eager], outputs[graph]
        assert later.logits[: len(first.logits)].tobytes() == first.logits.tobytes()
        assert later.cam[: len(first.cam)].tobytes() == first.cam.tobytes()
        assert later.features[: len(first.features)].tobytes() == first.features.tobytes()


def test_without_a_capture_the_kernels_are_queued(load, volumes, expected, monkeypatch):
    monkeypatch.setattr(HostGraph, "refuse", True)
    runner = load()
    for _ in range(3):
        agrees(runner.infer(volumes), expected)
    assert HostGraph.launches == 0
    assert runner.provenance["cuda_graph"].startswith("off: CUDA failed: operation not permitted")


def test_errors_of_a_capture_do_not_explain_a_later_failure(load, volumes):
    runner = load()
    runner._plan.engine.uncapturable = True
    for _ in range(2):
        runner.infer(volumes[:1])
    said = "the plugin's own words | an internal fault"
    assert runner.provenance["cuda_graph"] == f"off: the engine cannot be captured | {said}"
    runner._plan.engine.broken = True
    with pytest.raises(DeviceError, match=rf"the batch \({said.replace('|', '.')}\)"):
        runner.infer(volumes[:1])


@pytest.mark.parametrize("backend", ["tensorrt", "tensorrt-rtx"])
def test_the_order_of_calls_until_a_graph_is_launched(load, backend, volumes):
    runner = load(RANGE, backend)
    CALLS.clear()
    for _ in range(3):
        runner.infer(volumes[:1])
    assert [
        "create_execution_context",
        "set_optimization_profile_async",
        "set_device_memory",
        *["set_tensor_address"] * 4,
        "set_input_shape",
        "execute_async_v3",
        *["is_stream_capturable"] * (backend == "tensorrt-rtx"),
        "begin capture",
        "execute_async_v3",
        "end capture",
        "launch graph",
        "launch graph",
    ] == CALLS


def test_a_plan_that_cannot_be_captured_says_so(load, volumes, expected):
    runner = load(backend="tensorrt-rtx")
    runner._plan.engine.allocates = True
    for _ in range(3):
        agrees(runner.infer(volumes), expected)
    assert HostGraph.launches == 0
    assert "tensorrt-rtx" in runner.provenance["cuda_graph"]
    assert runner.provenance["cuda_graph"].startswith("off: ")


@pytest.mark.parametrize("backend", ["tensorrt", "tensorrt-rtx"])
def test_without_graphs(load, backend, volumes, expected):
    runner = load(backend=backend)
    runner.without_graphs()
    CALLS.clear()
    agrees(runner.infer(volumes), expected)
    assert not {"begin capture", "is_stream_capturable"} & set(CALLS)
    assert runner.provenance["cuda_graph"] == "off: as asked"
    assert (runner.backend, runner.precision) == (backend, "fp32")


def test_the_gpus_times_of_the_last_part(load, volumes):
    runner = load(RANGE)
    for count in (1, 13):
        started = time.perf_counter()
        runner.infer(volumes[:count])
        whole_ms = 1000 * (time.perf_counter() - started)
        times = runner.gpu_times()
        assert min(times) > 0
        assert sum(times) < whole_ms


@pytest.fixture
def starts(load, volumes, expected, monkeypatch):
    """Start with a file of the runtime cache and run; return whether it was read and accepted."""
    monkeypatch.setattr(HostRuntimeCache, "taken", [])

    def start(file):
        HostRuntimeCache.taken.clear()
        runner = load(backend="tensorrt-rtx", cache=file)
        agrees(runner.infer(volumes), expected)
        runner.close()
        return list(HostRuntimeCache.taken)

    return start


def test_compiled_kernels_are_kept_for_the_next_start(starts, tmp_path):
    file = tmp_path / "runtime" / "x.cache"
    assert starts(file) == []
    assert json.loads(file.read_text()) == ["compiled for a context"]
    assert starts(file) == [True]
    file.write_bytes(b"of another GPU")
    assert starts(file) == [False]
    assert starts(file) == [True]
    assert [f.name for f in file.parent.iterdir()] == ["x.cache"]


def test_a_bundles_plan_keeps_its_runtime_cache_in_the_users_cache(
    tiny, model, volumes, expected, tmp_path, monkeypatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(tensorrt_plan, "import_tensorrt", lambda backend: tensorrt("1.7.1"))
    monkeypatch.setattr(gpu, "CudaPythonDevice", HostDevice)
    plan = pick_artifact(open_bundle(put_plan(tiny, model.read_bytes(), "1.7.1")), NAME)
    runner = open_plan(plan, tiny / FILE)
    agrees(runner.infer(volumes), expected)
    runner.close()
    (file,) = (tmp_path / "cache").rglob("*.*")
    assert file == tmp_path / "cache/darnet-trt/runtime" / f"{plan.files[FILE]}.cache"


def test_no_place_for_the_runtime_cache_is_no_error(starts, tmp_path):
    (tmp_path / "file").write_text("")
    assert starts(tmp_path / "file" / "runtime" / "x.cache") == []
    (tmp_path / "x.cache").mkdir()
    assert starts(tmp_path / "x.cache") == []


def test_after_a_failure_in_the_middle_the_shapes_can_change(load, volumes, expected):
    runner = load(RANGE)
    for _ in range(2):
        runner.infer(volumes[:8])  # as a graph
    runner._plan.engine.broken = True
    with pytest.raises(DeviceError):
        runner.infer(volumes[:9])  # twice the graph, which works, and one volume, which does not
    runner._plan.engine.broken = False
    agrees(runner.infer(volumes[:3]), expected, slice(3))


def test_after_the_gpu_failed_the_runner_can_be_closed(load, volumes):
    runner = load()
    runner.infer(volumes)
    device = runner._device
    device.failed = True
    with pytest.raises(DeviceError, match="an illegal memory access"):
        runner.infer(volumes)
    runner.close()
    assert engines_alive() == 0
    device.failed = False
    device.close()


def test_volumes_of_another_size(load):
    runner = load()
    with pytest.raises(UsageError, match=r"found \(1, 1, 8, 8, 8\)"):
        runner.infer(np.zeros((1, 1, 8, 8, 8), np.float32))


@pytest.mark.parametrize("profile", [(2, 4, 5), (5, 8, 8), (16, 16, 16)])
def test_fewer_volumes_than_the_plans_smallest_batch(load, profile, volumes, expected):
    runner = load((profile,))
    assert runner.batch == (1, 64)
    for count in (1, 9, 1, 1, 13):
        agrees(runner.infer(volumes[:count]), expected, slice(count))


def test_the_real_package_reports_its_reason_to_the_recorder():
    trt = pytest.importorskip("tensorrt_rtx", reason="tensorrt_rtx is not installed")
    messages = Messages(trt)
    runtime = trt.Runtime(messages.logger)
    runtime.error_recorder = messages.recorder
    assert runtime.deserialize_cuda_engine(b"not a plan") is None
    as_tensorrt_asks = trt.IErrorRecorder.num_errors
    assert as_tensorrt_asks(messages.recorder) == messages.recorder.num_errors() > 0
    assert "readHeader" in messages.reason()
    assert messages.take() == ""
    assert as_tensorrt_asks(messages.recorder) == 0


def test_a_file_that_is_not_a_plan():
    with pytest.raises(BundleError, match=r"cannot load the plan \(no plan: \w+\)") as caught:
        LoadedPlan(tensorrt(), "tensorrt", b"not a plan")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("n", "smallest", "largest", "sizes"),
    [
        (0, 1, 8, []),
        (3, 1, 1, [1, 1, 1]),
        (13, 1, 8, [8, 5]),
        (9, 4, 8, [5, 4]),
        (19, 6, 8, [7, 6, 6]),
        (8, 8, 8, [8]),
        (1, 2, 4, [1]),
        (9, 5, 8, [4, 5]),
    ],
)
def test_parts(n, smallest, largest, sizes):
    found = parts(n, smallest, largest)
    assert [p.stop - p.start for p in found] == sizes
    assert [i for p in found for i in range(p.start, p.stop)] == list(range(n))


def test_the_real_package_has_what_the_runner_calls():
    trt = pytest.importorskip("tensorrt_rtx", reason="tensorrt_rtx is not installed")
    called = {
        trt.ILogger: "ERROR INTERNAL_ERROR",
        trt.Runtime: "get_plugin_registry deserialize_cuda_engine engine_host_code_allowed "
        "error_recorder",
        trt.IPluginRegistry: "load_library",
        trt.ICudaEngine: "create_execution_context create_runtime_config num_io_tensors "
        "get_tensor_name get_tensor_dtype get_tensor_shape get_tensor_profile_shape "
        "num_optimization_profiles get_device_memory_size_for_profile_v2",
        trt.IRuntimeConfig: "cuda_graph_strategy dynamic_shapes_kernel_specialization_strategy "
        "create_runtime_cache set_runtime_cache set_execution_context_allocation_strategy",
        trt.ExecutionContextAllocationStrategy: "USER_MANAGED",
        trt.IRuntimeCache: "serialize deserialize",
        trt.CudaGraphStrategy: "DISABLED",
        trt.DynamicShapesKernelSpecializationStrategy: "EAGER",
        trt.ProfilingVerbosity: "NONE",
        trt.IExecutionContext: "set_optimization_profile_async set_device_memory "
        "set_tensor_address set_input_shape execute_async_v3 is_stream_capturable nvtx_verbosity "
        "error_recorder",
    }
    for owner, names in called.items():
        for name in names.split():
            assert hasattr(owner, name), (owner, name)
    assert trt.IRuntimeConfig.cuda_graph_strategy.fset
    assert trt.IRuntimeConfig.dynamic_shapes_kernel_specialization_strategy.fset
    assert trt.IExecutionContext.nvtx_verbosity.fset
    assert trt.Runtime.engine_host_code_allowed.fset
    assert trt.DataType.FLOAT.name == "FLOAT"
    assert tuple(trt.Dims((2, 3))) == (2, 3)
    runtime = trt.Runtime(trt.Logger(trt.Logger.ERROR))
    runtime.engine_host_code_allowed = True
