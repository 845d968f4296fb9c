"""Real engines with their real profilers; a TensorRT of the host's, which runs ONNX files."""

import math
from contextlib import closing

import numpy as np
import pytest

from darnet_trt.bundle.reading import open_bundle
from darnet_trt.errors import BuildError, UsageError
from darnet_trt.runtime.bench import turns
from darnet_trt.runtime.bench.layers import peaks
from darnet_trt.runtime.bench.layers.layers import LEAST_SHARE, Layers
from darnet_trt.runtime.bench.layers.picture import roofline
from darnet_trt.runtime.bench.layers.places import Executed
from darnet_trt.runtime.bench.layers.profile import layers_of, profile
from darnet_trt.runtime.bench.layers.profilers import tensorrt as tensorrt_profiler
from darnet_trt.runtime.bench.layers.profilers.onnxruntime import OnnxRuntimeProfiler
from darnet_trt.runtime.bench.layers.profilers.profiler import MOST_RUNS
from darnet_trt.runtime.bench.layers.table import TITLES, rows, summary
from darnet_trt.runtime.engines.loading import load_engine
from darnet_trt.runtime.engines.openvino.package import cpu_precisions
from darnet_trt.runtime.engines.tensorrt import gpu
from darnet_trt.runtime.engines.tensorrt.plan import LoadedPlan
from darnet_trt.runtime.engines.tensorrt.runner import TensorRTRunner
from tests.runtime.bench.layers.network_bundle import write_network_bundle
from tests.runtime.engines.host_gpu import LAYERS, HostDevice, HostGraph, engines_alive, tensorrt
from tests.tiny_bundle import SIZE, write_bundle

NAMES = ("openvino-fp32", "openvino-bf16", "openvino-int8", "onnxruntime-fp32", "onnxruntime-int8")

SECONDS = 0.01  # three rounds
PEAKS = {"fp32": 100.0, "bf16": 200.0, "int8": 400.0, peaks.TRIAD: 20.0}


@pytest.fixture(autouse=True)
def _short(monkeypatch):
    monkeypatch.setattr(turns, "TURN_MS", 10)
    monkeypatch.setattr(peaks, "compile_peak", lambda folder: folder / "peak")
    monkeypatch.setattr(peaks, "measure", lambda program, threads: dict(PEAKS))


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    return open_bundle(write_network_bundle(tmp_path_factory.mktemp("network") / "bundle"))


@pytest.fixture
def tiny(tmp_path):
    return open_bundle(write_bundle(tmp_path / "bundle"))


def profiled(bundle, name, threads):
    engine = load_engine(bundle, name, threads=threads)
    with closing(engine.runner):
        return profile(bundle, engine, threads, SECONDS)


@pytest.mark.parametrize("name", NAMES)
def test_every_layer_of_the_network_has_its_place(network, name, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    precision = name.rpartition("-")[2]
    if precision not in cpu_precisions():
        pytest.skip(f"OpenVINO does not run {precision} on this CPU")
    found = profiled(network, name, threads=1)
    assert found.precision == precision
    shares = {(group.part, group.kind): group.share for group in found.groups}
    assert math.isclose(sum(shares.values()), 1)
    assert [layer.name for layer in found.layers if layer.part == "other"] == []
    blocks = {part for part, kind in shares if kind == "convolutions"}
    assert blocks == {"stem", *(f"stages.{s}.{b}" for s in range(4) for b in range(2))}
    for part in blocks - {"stem"}:
        kinds = {"attention means", "channel attention", "depth attention", "shortcut"}
        assert kinds <= {kind for where, kind in shares if where == part}
    parts = [group.part for group in found.groups if group.part not in ("format", "other")]
    assert list(dict.fromkeys(parts)) == ["stem", *sorted(blocks - {"stem"}), "head"]
    unbound = {group.kind for group in found.groups if group.bound is None}
    assert unbound <= {"format", "other"}  # conversions are no work of the network
    assert {group.bound for group in found.groups} >= {"compute", "memory"}
    assert found.ratio == found.profiled_ms / found.unprofiled_ms
    assert found.runs >= turns.LEAST_ROUNDS
    stem = next(layer for layer in found.layers if layer.part == "stem")
    assert {"fp32": "f", "bf16": "bf16", "int8": "8"}[precision] in stem.kernel.lower()
    assert list(tmp_path.iterdir()) == []  # no profile is left
    assert Layers.model_validate_json(found.model_dump_json()).artifact == name


@pytest.mark.parametrize("name", ["openvino-fp32", "onnxruntime-fp32"])
def test_an_engine_that_is_not_the_network_is_profiled_too(tiny, name):
    found = profiled(tiny, name, threads=None)
    assert found.layers
    assert found.profiled_ms > 0
    assert rows(found)


def test_onnx_runtime_profiles_no_more_runs_than_needed(tiny, monkeypatch):
    monkeypatch.setattr(turns, "TURN_MS", 50)
    found = profiled(tiny, "onnxruntime-fp32", threads=1)
    assert found.runs == MOST_RUNS - 1


def test_onnx_runtime_on_a_gpu_is_refused(tiny):
    artifact = tiny.manifest.artifacts[1].model_copy(update={"target": "cuda"})
    with pytest.raises(UsageError, match=r"onnxruntime-fp32.*GPU.*--artifact"):
        OnnxRuntimeProfiler(artifact, tiny.path / "model.onnx", None)


def test_without_a_peak_the_times_are_shown_all_the_same(tiny, monkeypatch):
    def refuse(folder):
        raise BuildError("no C compiler here")

    monkeypatch.setattr(peaks, "compile_peak", refuse)
    found = profiled(tiny, None, threads=1)
    assert found.no_peak == "no C compiler here"
    assert found.peak_gmac_per_s is None
    assert all(group.bound is None for group in found.groups)
    assert summary(found)[-1] == "no peak: no C compiler here"
    assert rows(found)
    assert roofline(found) is None


def test_the_table_and_the_picture_show_all_time(network):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    found = profiled(network, "openvino-fp32", threads=1)
    table = rows(found)
    assert all(len(row) == len(TITLES) for row in table)
    percent = sum(float(row[3].rstrip("%")) for row in table)
    assert percent == pytest.approx(100, abs=0.1 * len(table))
    assert "convolutions" in summary(found)[0]
    assert summary(found)[-1] == "peak 100 GMAC/s, memory 20.0 GB/s"
    figure = roofline(found)
    drawn = [group for group in found.groups if group.gmac and group.share >= LEAST_SHARE]
    assert len(figure.axes[0].collections) == len(drawn)


def test_a_layers_time_is_its_median_and_equal_names_add_up():
    one, two = Executed("stem.0", "Conv", "k"), Executed("cam", "Conv", "k")
    runs = [[(one, 1.0), (two, 5.0), (two, 2.0)], [(one, 2.0), (two, 1.0)], [(one, 90.0)]]
    found = layers_of(runs)
    assert [(layer.part, layer.ms) for layer in found] == [("stem", 2.0), ("head", 1.0)]


def test_a_plans_layers_come_from_tensorrts_profiler(tiny, monkeypatch):
    """TensorRT's interface as its package documents it; no GPU has run this."""
    monkeypatch.setattr("darnet_trt.runtime.engines.tensorrt.lane.CudaGraph", HostGraph)
    for package in ("CudaPythonDevice", "PyCudaDevice"):
        monkeypatch.setattr(gpu, package, HostDevice)
    model = (tiny.path / "model.onnx").read_bytes()

    def open_plan(artifact, file):
        return TensorRTRunner(LoadedPlan(tensorrt(), "tensorrt", model), precision="fp16")

    monkeypatch.setattr(tensorrt_profiler, "open_plan", open_plan)
    profiler = tensorrt_profiler.TensorRTProfiler(tiny.manifest.artifacts[2], tiny.path)
    volume = np.zeros((1, 1, *SIZE), np.float32)
    before = HostGraph.launches
    for _ in range(3):
        profiler.runner.infer(volume)
        profiler.after_run()
    launched = HostGraph.launches - before
    runs = profiler.runs()
    assert launched == 0  # a graph would hide the layers
    assert engines_alive() == 0
    assert len(runs) == 3
    assert {layer.name: ms for layer, ms in runs[0]} == LAYERS
    found = {(layer.part, layer.kind): layer.ms for layer in layers_of(runs)}
    assert found == {
        ("format", "format"): 0.5,
        ("stem", "convolutions"): 1.0,
        ("stages.0.0", "convolutions"): 2.0,
        ("stages.0.0", "attention means"): 0.25,
        ("stages.0.0", "shortcut"): 0.75,
        ("stages.0.1", "convolutions"): 2.5,
    }
    assert layers_of(runs)[1].kernel == "sm89_xmma"
