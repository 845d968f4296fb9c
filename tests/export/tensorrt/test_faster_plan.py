"""Which of several plans is kept: by time where they run, else by their tables."""

from contextlib import ExitStack

import numpy as np
import onnx
import pytest

from darnet_trt.bundle.plan import PluginLibrary, Work
from darnet_trt.bundle.reading import open_bundle, verified_file
from darnet_trt.errors import DarnetError
from darnet_trt.export.build import build_bundle
from darnet_trt.export.context import BuildContext
from darnet_trt.export.gates.parity_scans import ParityScans
from darnet_trt.export.onnx.channels_first import channels_first
from darnet_trt.export.onnx.writing import Source, export_onnx
from darnet_trt.export.targets import Candidate
from darnet_trt.export.tensorrt import plans
from darnet_trt.export.tensorrt.faster_plan import LAUNCH_BYTES, by_time, by_work
from darnet_trt.export.tensorrt.layer_table import kernels_of, work_of
from darnet_trt.export.tensorrt.options import PlanOptions
from darnet_trt.export.tensorrt.plugin_choice import Plugin
from darnet_trt.export.tensorrt.stored_table import read_table
from darnet_trt.export.tensorrt.versions import link_loader_name
from darnet_trt.kernels.build import build_library
from darnet_trt.kernels.library import architecture
from darnet_trt.kernels.onnx_function import DOMAIN
from darnet_trt.machine.cache import cache_folder
from darnet_trt.runtime.engines.onnxruntime.runner import OnnxRuntimeRunner
from darnet_trt.runtime.engines.tensorrt.gpu import open_device
from darnet_trt.runtime.engines.tensorrt.package import RTX_TARGETS
from darnet_trt.training.model import Network
from tests.export.networks import TINY, trained_like
from tests.export.tensorrt.cuda_library import cuda_library

PLUGIN, PLAIN = "with the plugin", "without the plugin"
SCANS = ParityScans(
    tuple(np.random.default_rng(0).random((2, 1, *TINY.input_size), np.float32)),
    "two scans",
    synthetic=True,
)


def work(megabytes, launches, read_again=0):
    return Work(
        launches=launches, activations=megabytes * 10**6, weights=10**6, read_again=read_again
    )


@pytest.mark.parametrize(
    ("plugin", "plain", "kept"),
    [
        # The paper's network: what the plugin saves are launches, not bytes.
        (work(2325, 40, read_again=273 * 10**6), work(2597, 78), PLUGIN),
        (work(100, 48), work(100, 48), PLUGIN),  # the first, where they are equal
        (work(200, 48), work(100, 78), PLAIN),
        (work(100, 48, read_again=10**8), work(100, 78), PLAIN),
        (work(100, 10), work(98 + LAUNCH_BYTES // 10**6, 10), PLUGIN),
        (work(100 + LAUNCH_BYTES // 10**6, 10), work(99, 11), PLAIN),
    ],
)
def test_tables_decide_by_bytes_and_launches(plugin, plain, kept):
    choice = by_work({PLUGIN: plugin, PLAIN: plain}, not_timed="no GPU")
    assert choice.name == kept
    assert choice.why.startswith(f"built {kept}: ")
    for number in (f"{plugin.launches} launches", f"{plain.launches} launches", "no GPU"):
        assert number in choice.why


def test_a_plan_without_a_table_leaves_the_plugin_out():
    choice = by_work({PLUGIN: work(1, 1), PLAIN: None}, not_timed="no GPU")
    assert choice.name == PLAIN
    assert "no table of layers" in choice.why


def test_time_decides_where_the_plans_run(source, tmp_path):
    export_onnx(source, tmp_path / "m.onnx")
    with ExitStack() as opened:
        runner = OnnxRuntimeRunner(tmp_path / "m.onnx")
        opened.callback(runner.close)
        one = SCANS.inputs[0][None]
        runs = {
            PLUGIN: lambda: [runner.infer(one) for _ in range(40)],
            PLAIN: lambda: runner.infer(one),
        }
        choice = by_time(runs)
    assert choice.name == PLAIN
    assert "in turns" in choice.why


def check_files(bundle, plan):
    """Check that nothing is left of the other forms: plan, table and manifest are of one."""
    files = [verified_file(bundle, name) for name in plan.files]
    assert sorted((bundle.path / plan.backend).iterdir()) == sorted(files)
    layers = read_table(bundle, plan)
    assert kernels_of(layers) == plan.plan.kernels
    assert work_of(layers) == plan.plan.work
    has_plugin = plan.plan.plugin is not None
    assert ("plugin" in plan.plan.kernels) is has_plugin
    assert (DOMAIN.encode() in files[0].read_bytes()) is has_plugin


@pytest.fixture
def built(tmp_path, no_libraries, cpu_library):
    """Build a plan with --plugin auto where the cache has a library for CUDA."""
    pytest.importorskip("tensorrt_rtx", reason="tensorrt_rtx is not installed")
    cuda_library(cpu_library, cache_folder("kernels"))

    def built(backend="tensorrt-rtx", plugin="auto", network=TINY):
        said = []
        source = Source(trained_like(network), "0" * 64)
        wanted = (Candidate(backend, "fp16", "sm89"),)
        build_bundle(source, tmp_path / "b", wanted, SCANS, plugin=plugin, log=said.append)
        bundle = open_bundle(tmp_path / "b")
        _, plan = bundle.manifest.artifacts
        check_files(bundle, plan)
        return plan, said

    return built


def on_this_machine():
    """Return whether this machine runs plans for sm89."""
    try:
        return open_device("tensorrt-rtx").capability == (8, 9)
    except DarnetError:
        return False


@pytest.mark.skipif(on_this_machine(), reason="the plans run here, and so they are timed")
def test_auto_builds_both_and_says_which_it_kept(built):
    plan, said = built()
    note = plan.notes[1]
    assert note.startswith("built with the plugin: ")
    assert "without the plugin" in note
    assert "launches" in note
    assert "not timed" in note
    assert plan.plan.kernels["plugin"] == {"fp16": 8}
    assert plan.plan.plugin.target == "cuda sm_89"
    assert plan.plan.plugin.embedded
    assert any(note in line for line in said)


def test_on_builds_one_plan_and_compares_nothing(built):
    plan, said = built(plugin="on")
    assert plan.plan.kernels["plugin"] == {"fp16": 8}
    assert not any("launches" in line for line in (*said, *plan.notes))


@pytest.fixture
def parsing_tensorrt(tensorrt, monkeypatch):
    """Give the stand-in the name under which its parser opens the library."""
    link_loader_name(tensorrt)
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tensorrt))


@pytest.mark.skipif(on_this_machine(), reason="the plans run here, and so they are timed")
@pytest.mark.parametrize(("width", "forms"), [(8, 3), (4, 2)])
def test_tensorrts_own_format_is_tried_where_it_pads_nothing(built, parsing_tensorrt, width, forms):
    network = Network(width=width, input_size=TINY.input_size)
    plan, _ = built(backend="tensorrt", network=network)
    assert plan.notes[1].count(" launches") == forms
    assert ("in TensorRT's format" in plan.notes[1]) is (forms == 3)


@pytest.mark.skipif(on_this_machine(), reason="the plans run here, and so they are timed")
def test_a_form_that_cannot_be_built_is_left_out(built, monkeypatch):
    # The plugin refuses a graph whose attention is not transposed and says nothing of its axis.
    monkeypatch.setattr(plans, "_Graphs", lambda *arguments: Untransposed(Graphs(*arguments)))
    plan, said = built()
    assert plan.plan.plugin is None
    assert "with the plugin: no plan: " in plan.notes[1]
    assert "the plugin says: FusedDualAttention" in plan.notes[1]
    assert any("the plugin says" in line for line in said)


Graphs = plans._Graphs


class Untransposed:
    """Graphs whose attention, where the plugin runs it, has another layout than it says."""

    def __init__(self, graphs):
        self.graphs = graphs

    def file(self, candidate, form):
        file = self.graphs.file(candidate, form)
        if form == "none":
            return file
        model = channels_first(onnx.load(file))
        for node in model.graph.node:
            if node.domain == DOMAIN:
                del node.attribute[-1]
        onnx.save(model, file.with_name("untransposed.onnx"))
        return file.with_name("untransposed.onnx")


@pytest.mark.parametrize(
    ("backend", "precision", "mode", "forms"),
    [
        ("tensorrt-rtx", "int8", "auto", ["channels-last", "none"]),
        ("tensorrt-rtx", "fp16", "on", ["channels-last"]),
        ("tensorrt", "bf16", "on", ["channels-last", "channels-first"]),
        ("tensorrt", "fp32", "auto", ["channels-last", "channels-first", "none"]),
        ("tensorrt", "int8", "auto", ["none"]),
        ("tensorrt", "int8", "on", ["none"]),
    ],
)
def test_which_forms_are_built(tmp_path, cpu_library, backend, precision, mode, forms):
    source = Source(trained_like(Network(width=8, input_size=TINY.input_size)), "0" * 64)
    context = BuildContext(source, tmp_path, SCANS, PlanOptions(), mode, None, None, print)
    card = PluginLibrary(source="0", target="cuda sm_90", sha256="0", embedded=True)
    plugin = Plugin(cpu_library, card)
    found = plans._forms(context, Candidate(backend, precision, "sm90"), plugin)
    assert list(found.values()) == forms
    assert list(plans._forms(context, Candidate(backend, precision, "sm90"), None).values()) == [
        "none"
    ]


@pytest.mark.gpu
def test_auto_times_both_plans_on_their_gpu(tmp_path, no_libraries):
    """The twin of the tests above, with the real library and a plan for the GPU that is here."""
    pytest.importorskip("tensorrt_rtx", reason="tensorrt_rtx is not installed")
    try:
        capability = open_device("tensorrt-rtx").capability
    except DarnetError as error:
        pytest.skip(str(error))
    target = "sm{}{}".format(*capability)
    if target not in RTX_TARGETS:
        pytest.skip(f"TensorRT-RTX has no target {target}")
    build_library("cuda", [architecture(capability)])
    source = Source(trained_like(TINY), "0" * 64)
    wanted = (Candidate("tensorrt-rtx", "fp16", target),)
    manifest = build_bundle(source, tmp_path / "b", wanted, SCANS, plugin="auto")
    (plan,) = [a for a in manifest.artifacts if a.backend == "tensorrt-rtx"]
    assert plan.executed
    note = plan.notes[1]
    assert note.count(" ms") == 2
    assert "in turns" in note
    assert (plan.plan.plugin is not None) is note.startswith("built with the plugin")
