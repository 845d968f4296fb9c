"""Plans on a real GPU; `test_runner.py` tests the same on a GPU that the host simulates."""

import importlib.util
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from darnet_trt.bundle.reading import open_bundle, pick_artifact
from darnet_trt.errors import BundleError, DeviceError, MissingPackageError
from darnet_trt.export.onnx.writing import Source, export_onnx
from darnet_trt.export.tensorrt.builder import build_tensorrt
from darnet_trt.export.tensorrt.child import Job
from darnet_trt.export.tensorrt.options import PlanOptions
from darnet_trt.kernels.build import cached_library
from darnet_trt.kernels.library import Library
from darnet_trt.runtime.bench.benchmark import Benchmark
from darnet_trt.runtime.engines.loading import load_engine
from darnet_trt.runtime.engines.onnxruntime.runner import OnnxRuntimeRunner
from darnet_trt.runtime.engines.tensorrt.gpu import open_device
from darnet_trt.runtime.engines.tensorrt.kernel_cache import file_for
from darnet_trt.runtime.engines.tensorrt.package import PACKAGES, RTX_TARGETS
from darnet_trt.runtime.engines.tensorrt.plan import load_plan
from tests.export.networks import TINY, trained_like
from tests.runtime.engines.cuda.test_on_a_device import free_memory
from tests.runtime.engines.plan_bundle import NAME, PLUGIN, plan_card, put_plan
from tests.tiny_bundle import SIZE, write_bundle, write_onnx

pytestmark = pytest.mark.gpu

# The first engine of a process loads libraries and kernels that stay in memory.
FREE_MEMORY_SLACK = 64 << 20


@pytest.fixture(scope="module", params=["tensorrt-rtx", "tensorrt"])
def backend(request):
    """A backend that can run here."""
    package = PACKAGES[request.param][0]
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    try:
        here = target_here(request.param)
    except (DeviceError, MissingPackageError) as error:
        pytest.skip(error.what)
    if request.param == "tensorrt-rtx" and here not in RTX_TARGETS:
        pytest.skip(f"TensorRT-RTX does not run on {here}")
    return request.param


def target_here(backend):
    return "sm{}{}".format(*open_device(backend).capability)


@pytest.fixture(scope="module")
def bundle(backend, tmp_path_factory):
    """The tiny network in float32, with batches of 1 to 4, for the GPU at hand."""
    folder = tmp_path_factory.mktemp("plan")
    path = write_bundle(folder / "bundle")
    write_onnx(folder / "model.onnx")
    target = target_here(backend) if backend == "tensorrt" else "portable"
    options = PlanOptions(batch=(1, 4))
    plan = folder / "x.plan"
    onnx = folder / "model.onnx"
    result = build_tensorrt(
        Job(backend=backend, onnx=onnx, plan=plan, target=target, options=options)
    )
    producer = {PACKAGES[backend][0]: result.version}
    put_plan(
        path, plan.read_bytes(), result.version, target=target, backend=backend, producer=producer
    )
    return open_bundle(path)


@pytest.fixture(scope="module")
def volumes():
    return np.random.default_rng(0).normal(size=(9, 1, *SIZE)).astype(np.float32)


@pytest.fixture(scope="module")
def expected(bundle, volumes):
    runner = OnnxRuntimeRunner(bundle.path / "model.onnx", threads=1)
    outputs = runner.infer(volumes)
    runner.close()
    return outputs


def agrees(outputs, expected, count):
    np.testing.assert_allclose(outputs.logits, expected.logits[:count], atol=1e-4)
    np.testing.assert_allclose(outputs.cam, expected.cam[:count], atol=1e-4)


def test_any_batch_agrees_with_onnx_runtime(bundle, volumes, expected):
    runner = load_engine(bundle, NAME).runner
    for count in (1, 1, 1, 9, 3, 4, 4, 4, 2):
        agrees(runner.infer(volumes[:count]), expected, count)
    print(runner.provenance)
    runner.close()


def graphs_change_no_bit(runner, volumes):
    for count in (1, 4):
        eager, *graphs = (runner.infer(volumes[:count]) for _ in range(3))
        for graph in graphs:
            assert graph.logits.tobytes() == eager.logits.tobytes()
            assert graph.cam.tobytes() == eager.cam.tobytes()
    pytest.importorskip("cuda.bindings", reason="cuda-python is not installed")
    assert runner.provenance["cuda_graph"] == "captured"


def test_graphs_change_no_bit(bundle, volumes):
    runner = load_engine(bundle, NAME).runner
    graphs_change_no_bit(runner, volumes)
    runner.close()


def test_a_plan_with_the_plugin_is_captured_too(backend, volumes, tmp_path):
    library = cached_library("cuda", [open_device(backend).capability])
    if library is None:
        pytest.skip("the plugin is not compiled: darnet-trt plugin build")
    export_onnx(Source(trained_like(TINY), "0" * 64), tmp_path / "model.onnx", "fp32")
    plan = tmp_path / "x.plan"
    target = target_here(backend)
    job = Job(
        backend=backend,
        onnx=tmp_path / "model.onnx",
        plan=plan,
        target=target,
        options=PlanOptions(batch=(1, 4)),
        plugin=library,
        embed=True,
    )
    result = build_tensorrt(job)
    card = PLUGIN | {"embedded": True, "target": Library(library).target}
    path = put_plan(
        write_bundle(tmp_path / "bundle"),
        plan.read_bytes(),
        result.version,
        target=target,
        backend=backend,
        producer={PACKAGES[backend][0]: result.version},
        plan=plan_card(card),
    )
    runner = load_engine(open_bundle(path), NAME).runner
    graphs_change_no_bit(runner, volumes)
    outputs = runner.infer(volumes[:1])
    runner.close()
    reference = OnnxRuntimeRunner(tmp_path / "model.onnx", threads=1)
    agrees(outputs, reference.infer(volumes[:1]), 1)
    reference.close()


def test_the_gpus_times_of_a_plan(bundle, volumes):
    runner = load_engine(bundle, NAME).runner
    for _ in range(3):
        started = time.perf_counter()
        runner.infer(volumes[:1])
        whole_ms = 1000 * (time.perf_counter() - started)
        times = runner.gpu_times()
        assert min(times) > 0
        assert sum(times) < whole_ms
    runner.close()


def test_bench_on_a_gpu(bundle):
    engine = load_engine(bundle, NAME)
    benchmark = Benchmark(bundle, [engine])
    benchmark.measure(rounds=3)
    report = benchmark.report()
    engine.runner.close()
    (plan,), (measured,) = report.engines, report.configurations
    assert plan.on_gpu is not None
    assert min(plan.on_gpu.to_gpu_ms, plan.on_gpu.compute_ms, plan.on_gpu.to_host_ms) > 0
    assert len(measured.latency.samples_ms) > 3
    print(plan.on_gpu, measured.latency.median_ms)


def test_two_runners_in_two_threads(bundle, volumes, expected):
    runners = [load_engine(bundle, NAME).runner for _ in range(2)]

    def work(runner):
        return [runner.infer(volumes) for _ in range(20)]

    with ThreadPoolExecutor(2) as pool:
        for outputs in pool.map(work, runners):
            for one in outputs:
                agrees(one, expected, len(volumes))
    for runner in runners:
        runner.close()


def test_nothing_is_left_after_it_is_closed(bundle, backend, volumes):
    def once():
        runner = load_engine(bundle, NAME).runner
        for _ in range(3):
            runner.infer(volumes)
        runner.close()

    once()
    before = free_memory(open_device(backend))
    for _ in range(10):
        once()
    assert free_memory(open_device(backend)) > before - FREE_MEMORY_SLACK


def test_the_kernels_of_tensorrt_rtx_are_kept(bundle, backend, volumes, tmp_path, monkeypatch):
    if backend != "tensorrt-rtx":
        pytest.skip("TensorRT's plans hold their kernels")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    file = file_for(next(iter(pick_artifact(bundle, NAME).files.values())))
    for _ in range(2):
        started = time.perf_counter()
        runner = load_engine(bundle, NAME).runner
        runner.infer(volumes)
        print(f"to the first result {time.perf_counter() - started:.2f} s")
        runner.close()
        assert file.stat().st_size > 0


def test_a_damaged_plan(bundle, tmp_path):
    artifact = pick_artifact(bundle, NAME)
    content = (bundle.path / next(iter(artifact.files))).read_bytes()
    (tmp_path / "x.plan").write_bytes(content[: len(content) // 2])
    with pytest.raises(BundleError, match="cannot load the plan") as caught:
        load_plan(artifact, tmp_path / "x.plan")
    assert "\n" not in str(caught.value)
