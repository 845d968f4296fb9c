"""Int8 engines in a bundle: calibrated, judged, and refused where they change decisions."""

import importlib.util
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from onnx.numpy_helper import from_array, to_array

from darnet_trt.bundle.manifest import INT8_FILE
from darnet_trt.bundle.reading import open_bundle
from darnet_trt.calibration.qdq import convolutions, quantize
from darnet_trt.calibration.scans.choosing import CalibrationScans, HeldOut, random_scans
from darnet_trt.calibration.scans.sample import hashed
from darnet_trt.calibration.search import search as int8
from darnet_trt.calibration.search import trials as int8_trials
from darnet_trt.calibration.search.search import Search
from darnet_trt.errors import ParityError
from darnet_trt.export.build import build_bundle
from darnet_trt.export.context import Calibration
from darnet_trt.export.gates.parity_scans import synthetic_scans
from darnet_trt.export.onnx.writing import load_source
from darnet_trt.export.targets import Candidate, candidates
from darnet_trt.export.tensorrt.layer_table import described
from darnet_trt.phantom import synthesize
from darnet_trt.runtime.engines import parity
from darnet_trt.runtime.engines.loading import load_engine
from darnet_trt.scan.cohorts import PAPER_CLASSES
from darnet_trt.scan.preprocessing import preprocess
from darnet_trt.training.checkpoint import save_checkpoint
from tests.export.networks import TINY, trained_like

rtx = pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx") is None, reason="tensorrt_rtx is not installed"
)
OPENVINO = (Candidate("openvino", "fp32"), Candidate("openvino", "int8"))
NO_TIME = Search(method="mse", seconds=-1.0)
# What one convolution reads, and that block's attention as its residual.
BROKEN, READER = "stages.1.0.out", "stages.1.1.conv1"


@pytest.fixture(scope="module", autouse=True)
def one_cache(tmp_path_factory):
    """Of these tests alone: what one tried, the next one knows."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def scans(source):
    return synthetic_scans(source.checkpoint.preprocessing)


@pytest.fixture(scope="module")
def calibration(source):
    spec = source.checkpoint.preprocessing
    volumes = tuple(preprocess(spec, synthesize(PAPER_CLASSES[i % 3], i)) for i in range(9))
    hashes = tuple(map(hashed, volumes))
    return Calibration(
        CalibrationScans(volumes[:3], "3 phantoms", hashes[:3]),
        HeldOut(volumes[3:], None, "6 other phantoms", hashes[3:], seen=0),
    )


@pytest.fixture(scope="module")
def bundle(source, scans, calibration, tmp_path_factory):
    out = tmp_path_factory.mktemp("bundles") / "bundle"
    wanted = candidates(["openvino", "onnxruntime"], "int8", calibrated=True)
    build_bundle(source, out, wanted, scans, calibration=calibration)
    return open_bundle(out)


@pytest.fixture
def build(source, scans, calibration, tmp_path):
    """Build a bundle, with other fields of the calibration; return it and the log."""

    def built(wanted, *, plugin="off", **fields):
        said = []
        build_bundle(
            source,
            tmp_path / "bundle",
            wanted,
            scans,
            plugin=plugin,
            calibration=replace(calibration, **fields),
            force=True,
            log=said.append,
        )
        return open_bundle(tmp_path / "bundle"), said

    return built


def engine(bundle, name):
    return next(a for a in bundle.manifest.artifacts if a.name == name)


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_an_int8_engine_beside_the_float32_one(bundle, calibration, backend):
    artifact = engine(bundle, f"{backend}-int8")
    assert artifact.effective_precision == "int8"
    assert artifact.parity.passed
    assert artifact.decisions.passed
    assert artifact.decisions.scans == 6
    assert artifact.decisions.source == "6 other phantoms"
    report = artifact.quantization
    assert len(report.layers) == 20
    assert not report.spared
    assert (report.scans, report.source) == (3, "3 phantoms")
    assert set(report.errors) == {"minmax", "percentile", "kl", "mse"}
    assert report.errors[report.method] == min(report.errors.values())
    assert report.trials == {0: ()}
    assert engine(bundle, f"{backend}-fp32").quantization is None
    volume = calibration.held_out.inputs[0][None]
    in_int8, in_fp32 = (
        load_engine(bundle, f"{backend}-{precision}").runner.infer(volume)
        for precision in ("int8", "fp32")
    )
    assert 0 < np.abs(in_int8.logits - in_fp32.logits).max() < 0.1


def test_six_scans_make_no_int8_engine_the_default(bundle):
    manifest = bundle.manifest
    assert manifest.default.endswith("fp32")
    for backend in ("openvino", "onnxruntime"):
        (note,) = engine(bundle, f"{backend}-int8").notes
        assert note.startswith("not the default: ")
        assert re.search(r"\b6\b", note)
        assert "138" in note


def test_with_enough_scans_int8_is_the_default_if_it_is_faster(scans, tmp_path):
    checkpoint = trained_like(TINY)
    checkpoint.state_dict["classifier.bias"][2] -= 1.3  # or all inputs are called alike
    save_checkpoint(checkpoint, tmp_path / "run")
    draw = np.random.default_rng(0)
    inputs = [i % 2 * 2 * draw.random((1, *TINY.input_size), np.float32) for i in range(150)]
    hashes = tuple(map(hashed, inputs))
    enough = Calibration(
        CalibrationScans(tuple(inputs[:10]), "10 inputs", hashes[:10]),
        HeldOut(tuple(inputs[10:]), None, "140 other inputs", hashes[10:], seen=0),
    )
    said = []
    source = load_source(tmp_path / "run")
    build_bundle(source, tmp_path / "bundle", OPENVINO, scans, calibration=enough, log=said.append)
    found = open_bundle(tmp_path / "bundle")
    int8, fp32 = engine(found, "openvino-int8"), engine(found, "openvino-fp32")
    assert int8.decisions.reserves == ()
    assert int8.decisions.seen == 0
    passed = "openvino-int8: passed the decision gate on 140 other inputs; none of them trained"
    assert any(line.startswith(passed) for line in said)
    if int8.latency_ms * 1.05 <= fp32.latency_ms:
        assert (found.manifest.default, int8.notes) == ("openvino-int8", ())
    else:
        assert found.manifest.default == "openvino-fp32"
        if int8.latency_ms < fp32.latency_ms:
            assert "times as fast as openvino-fp32" in int8.notes[0]


def test_without_onnx_runtime_there_is_no_int8_onnx_file(build):
    found, _ = build(OPENVINO)
    assert not (found.path / INT8_FILE).exists()
    assert load_engine(found, "openvino-int8").runner.precision == "int8"


@pytest.fixture
def wrong_scale(monkeypatch):
    """One layer's weights come out 20 times too large."""

    def wrong(*arguments):
        graph = quantize(*arguments)
        for tensor in graph.graph.initializer:
            if tensor.name == f"{READER}.weight.scale":
                tensor.CopyFrom(from_array(20 * to_array(tensor), tensor.name))
        return graph

    monkeypatch.setattr(int8, "quantize", wrong)
    monkeypatch.setattr(int8_trials, "quantize", wrong)
    # What other tests tried was not wrong.
    monkeypatch.setattr(int8_trials, "cache_folder", lambda room: Path("/proc/nowhere"))


@pytest.fixture
def range_far_wrong_field(monkeypatch):
    """Nearly all of an activation's values are stored as 0."""
    right = int8.ranges_of

    def wrong(found, method, form):
        ranges = right(found, method, form)
        ranges[BROKEN] = replace(ranges[BROKEN], largest=400 * ranges[BROKEN].largest)
        return ranges

    monkeypatch.setattr(int8, "ranges_of", wrong)


@pytest.mark.usefixtures("wrong_scale")
def test_the_gate_finds_a_wrong_scale(build):
    found, said = build(OPENVINO, search=NO_TIME)
    assert [a.name for a in found.manifest.artifacts] == ["openvino-fp32", "onnxruntime-fp32"]
    (refused,) = found.manifest.rejected
    assert refused.name == "openvino-int8"
    assert not refused.decisions.passed
    assert refused.decisions.failures
    assert refused.accepted is None
    assert set(refused.quantization.trials) == {0}
    assert refused.quantization.trials[0] == refused.decisions.failures
    assert found.manifest.default == "openvino-fp32"
    assert not any(name.startswith("openvino-int8") for name in map(str, found.path.iterdir()))
    assert any("openvino-int8: failed the decision gate" in line for line in said)


@pytest.mark.slow
@pytest.mark.usefixtures("range_far_wrong_field")
def test_the_search_spares_the_layer_with_the_wrong_range(build, source):
    found = engine(build(OPENVINO)[0], "openvino-int8")
    report = found.quantization
    assert report.spared == (READER,)
    assert {*report.layers, *report.spared} == set(convolutions(source.float32))
    assert report.trials[0]
    assert report.trials[len(report.spared)] == ()
    assert report.effects[0].layer == READER
    assert report.block_effects[0].layer == "stages.1.1"
    assert {e.layer for e in report.block_effects} == {
        "stem",
        *(f"stages.{stage}.{block}" for stage in range(4) for block in range(2)),
    }
    assert any("ways to quantize" in note for note in found.decisions.notes)
    assert found.decisions.limits["lone_flip"] == 0  # the search's stricter limits


@pytest.mark.usefixtures("wrong_scale")
def test_an_accepted_engine_names_who_accepted_it(build):
    bundle, _ = build(OPENVINO, search=NO_TIME, accept="A. Person, to look at its speed")
    found = engine(bundle, "openvino-int8")
    assert not found.decisions.passed
    assert found.accepted == "A. Person, to look at its speed"
    assert bundle.manifest.default == "openvino-fp32"
    (warning,) = load_engine(bundle, "openvino-int8").warnings
    assert warning.endswith("; accepted by A. Person, to look at its speed")


def test_accepting_covers_the_parity_gate_too(build, monkeypatch):
    strict = parity.Limits(probability=0, logits=0, cam=0, features=0)
    monkeypatch.setitem(parity.LIMITS, "int8", strict)
    (refused,) = build(OPENVINO)[0].manifest.rejected
    assert refused.decisions.passed
    bundle, _ = build(OPENVINO, accept="A. Person: its map is not used")
    found = engine(bundle, "openvino-int8")
    assert (found.parity.passed, found.decisions.passed) == (False, True)
    assert found.accepted == "A. Person: its map is not used"
    assert found.notes[0].startswith("not the default: failed the parity gate; accepted by A.")
    assert bundle.manifest.default == "openvino-fp32"


def test_nothing_is_accepted_that_passed(build):
    for artifact in build(OPENVINO, accept="A. Person")[0].manifest.artifacts:
        assert artifact.accepted is None


def test_an_engine_calibrated_on_random_numbers_is_never_the_default(build, source):
    drawn, held_out = random_scans(source.checkpoint.preprocessing, 2, 0)
    found, _ = build(OPENVINO, scans=drawn, held_out=held_out, accept="for a look")
    assert engine(found, "openvino-int8").quantization.random
    assert found.manifest.default == "openvino-fp32"
    (warning,) = load_engine(found, "openvino-int8").warnings
    assert "calibrated with random numbers" in warning


PLAN = Candidate("tensorrt-rtx", "int8", "portable")


@pytest.mark.usefixtures("wrong_scale")
def test_a_plan_whose_graph_changes_decisions_is_not_built(build):
    found, said = build((OPENVINO[0], PLAN), search=NO_TIME)
    assert [a.name for a in found.manifest.artifacts] == ["openvino-fp32", "onnxruntime-fp32"]
    (refused,) = found.manifest.rejected
    assert refused.name == "tensorrt-rtx-portable-int8"
    assert not refused.decisions.passed
    assert refused.quantization.trials[0] == refused.decisions.failures
    assert "not the plan itself" in refused.decisions.notes[0]
    assert not (found.path / "tensorrt-rtx").exists()
    assert any("tensorrt-rtx-portable-int8: not built" in line for line in said)
    assert not any("int8 for the CPU" in line for line in said)  # nobody asked for that


@rtx
@pytest.mark.usefixtures("wrong_scale")
def test_an_accepted_plan_is_built_although_its_graph_changes_decisions(build):
    found, _ = build((OPENVINO[0], PLAN), search=NO_TIME, accept="A. Person, for its speed")
    assert not found.manifest.rejected
    plan = engine(found, PLAN.name)
    assert not plan.decisions.passed
    assert plan.accepted == "A. Person, for its speed"


@rtx
def test_plans_and_cpu_engines_are_searched_separately(build):
    found, said = build((*OPENVINO, PLAN))
    cpu, plan = (engine(found, name) for name in ("openvino-int8", PLAN.name))
    assert plan.decisions.passed
    assert plan.decisions.max_probability_drift != cpu.decisions.max_probability_drift
    assert plan.quantization.errors != cpu.quantization.errors
    assert sum("calibration: scan 3 of 3" in line for line in said) == 1


@rtx
@pytest.mark.parametrize(("plugin", "kind"), [("on", "plugin fp16"), ("off", "generated")])
def test_plans_run_their_convolutions_in_int8(build, cpu_library, plugin, kind, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(cpu_library.parents[3]))
    monkeypatch.setenv("CUDACXX", "/absent/nvcc")  # so that the library for the CPU is taken
    bundle, _ = build((OPENVINO[0], PLAN), plugin=plugin)
    plan = engine(bundle, PLAN.name)
    assert plan.quantization.scans == 3
    assert plan.decisions.passed
    assert "not the plan itself" in plan.decisions.notes[0]
    assert plan.plan.kernels["convolution"] == {"int8": 19, "fp16": 2}  # stem and head
    assert kind in described(plan.plan)[0]
    if plugin == "on":
        assert plan.plan.kernels["plugin"] == {"fp16": 8}  # the type of x


@pytest.mark.usefixtures("wrong_scale")
def test_nothing_is_written_if_every_engine_fails(build, tmp_path):
    with pytest.raises(
        ParityError, match=r"no engine passed the gates: openvino-int8: .*(changed|moved)"
    ):
        build(OPENVINO[1:], search=replace(NO_TIME, method="auto"))
    assert not list(tmp_path.iterdir())
