"""Run → bundle, with the real engines."""

import importlib.util
from dataclasses import replace

import numpy as np
import onnx
import pytest

from darnet_trt.bundle.reading import open_bundle, sha256_of
from darnet_trt.bundle.reference import read_reference
from darnet_trt.errors import BundleError, DeviceError, ParityError
from darnet_trt.export.build import build_bundle
from darnet_trt.export.gates import contenders
from darnet_trt.export.gates.bundle_check import check_bundle
from darnet_trt.export.gates.parity_scans import ParityScans, synthetic_scans
from darnet_trt.export.gates.reference import TorchRunner
from darnet_trt.export.targets import Candidate, candidates
from darnet_trt.export.tensorrt.layer_table import kernels_of
from darnet_trt.export.tensorrt.options import PlanOptions
from darnet_trt.export.tensorrt.stored_table import read_table
from darnet_trt.kernels.build import source_key
from darnet_trt.runtime.engines import parity
from darnet_trt.runtime.engines.onnxruntime.runner import OnnxRuntimeRunner
from darnet_trt.runtime.engines.openvino.package import cpu_precisions, import_openvino

rtx = pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx") is None, reason="tensorrt_rtx is not installed"
)
CPU = (Candidate("openvino", "fp32"), Candidate("onnxruntime", "fp32"))


@pytest.fixture(scope="module")
def scans(source):
    return synthetic_scans(source.checkpoint.preprocessing)


@pytest.fixture(scope="module")
def bundle(source, scans, tmp_path_factory):
    """With everything that `auto` takes here."""
    out = tmp_path_factory.mktemp("bundles") / "bundle"
    build_bundle(source, out, candidates([], "auto"), scans)
    return open_bundle(out)


def test_the_manifest_says_what_was_built_and_how_it_compared(bundle, source):
    manifest = bundle.manifest
    assert manifest.model.checkpoint_sha256 == source.sha256
    assert manifest.model.parameters == sum(
        p.numel() for p in source.checkpoint.model().parameters()
    )
    assert manifest.preprocessing == source.checkpoint.preprocessing
    expected = [c.name for c in candidates([], "auto")]
    assert [a.name for a in manifest.artifacts] == expected
    for artifact in manifest.artifacts:
        assert artifact.executed
        assert artifact.effective_precision == artifact.precision
        assert artifact.parity.passed
        assert artifact.parity.scans == 4
        assert artifact.latency_ms > 0
        for name, digest in artifact.files.items():
            assert sha256_of(bundle.path / name) == digest
    fastest = min(manifest.artifacts, key=lambda a: a.latency_ms)
    assert manifest.default == fastest.name


def test_there_are_no_other_files(bundle):
    found = {p.relative_to(bundle.path).as_posix() for p in bundle.path.rglob("*") if p.is_file()}
    assert found == bundle.manifest.files.keys() | {"manifest.json"}


def test_every_reader_of_onnx_reads_its_model(bundle):
    model = onnx.load(bundle.path / "model.onnx")
    assert not model.functions
    assert {node.domain for node in model.graph.node} == {""}
    import_openvino().Core().read_model(bundle.path / "model.onnx")


def test_it_keeps_reference_outputs_and_passes_its_own_check(bundle, source, scans):
    stored = read_reference(bundle)
    np.testing.assert_array_equal(stored.inputs, np.stack(scans.inputs[:3]))
    expected = TorchRunner(source.network).infer(stored.inputs)
    np.testing.assert_allclose(stored.logits, expected.logits, rtol=0, atol=1e-5)
    np.testing.assert_allclose(stored.cam, expected.cam, rtol=0, atol=1e-5)
    np.testing.assert_allclose(stored.features, expected.features, rtol=0, atol=1e-5)
    assert stored.features.shape == (3, bundle.manifest.model.features)
    found = check_bundle(bundle)
    assert found.passed
    assert all(engine.parity.passed for engine in found.engines)


def test_scans_of_patients_never_go_into_a_bundle(source, tmp_path):
    patient = np.full((1, *source.checkpoint.preprocessing.size), 0.25, np.float32)
    build_bundle(source, tmp_path / "b", CPU[1:], ParityScans((patient,), "a patient"))
    built = open_bundle(tmp_path / "b")
    assert built.manifest.artifacts[0].parity.source == "a patient"
    assert "synthetic" in built.manifest.reference.source
    inputs = read_reference(built).inputs
    assert len(inputs) == 3
    assert all(scan.std() > 0.1 for scan in inputs)
    assert check_bundle(built).passed


@rtx
def test_a_plan_that_did_not_run_is_marked_so_and_the_bundle_can_be_checked(
    source, scans, tmp_path
):
    wanted = candidates(["tensorrt-rtx:sm86"], "auto")
    build_bundle(source, tmp_path / "b", wanted, scans, plugin="off")
    bundle = open_bundle(tmp_path / "b")
    manifest = bundle.manifest
    assert manifest.default is None
    model, plan = manifest.artifacts
    assert model.name == "onnxruntime-fp32"  # its file is the source to rebuild from
    assert (plan.name, plan.target) == ("tensorrt-rtx-sm86-fp16", "sm86")
    names = [f"tensorrt-rtx/sm86-fp16.{name}" for name in ("plan", "layers.json")]
    assert list(plan.files) == names  # a runner loads the first
    layers = read_table(bundle, plan)
    assert kernels_of(layers) == plan.plan.kernels
    assert "stem.0" in layers[1].name
    for artifact in (model, plan):
        assert not artifact.executed
        assert artifact.parity is artifact.effective_precision is artifact.latency_ms is None
        assert "not executed here" in artifact.notes[0]
    found = check_bundle(bundle)
    assert found.passed
    assert (found.engines[0].name, found.engines[0].status) == ("onnxruntime-fp32", "ok")
    assert found.engines[0].parity.passed
    assert found.engines[0].warnings == ()


class _Fp16(OnnxRuntimeRunner):
    """Stands for a plan on its GPU.

    `wrong` for one that computes something else, `runs` for one that fails after so many.
    """

    wrong = False
    runs = 1000

    def __init__(self, plan, model):
        assert plan.executed is False
        super().__init__(model, threads=1)
        self.precision = "fp16"

    def infer(self, batch):
        if self.runs == 0:
            raise DeviceError("tensorrt-rtx does not take the batch (an internal fault)")
        self.runs -= 1
        found = super().infer(batch)
        return replace(found, logits=-found.logits) if self.wrong else found


def plans_run(monkeypatch):
    def open_plan(plan, file):
        assert file.read_bytes()
        return _Fp16(plan, file.parents[1] / "model.onnx")

    monkeypatch.setattr(contenders, "open_plan", open_plan)


@rtx
def test_a_plan_that_runs_here_is_judged_like_any_engine(source, scans, tmp_path, monkeypatch):
    plans_run(monkeypatch)
    build_bundle(source, tmp_path / "b", candidates(["tensorrt-rtx:sm86"], "auto"), scans)
    manifest = open_bundle(tmp_path / "b").manifest
    plan, _model = manifest.artifacts
    assert plan.name == manifest.default == "tensorrt-rtx-sm86-fp16"
    assert plan.executed
    assert plan.parity.passed
    assert plan.effective_precision == "fp16"
    assert plan.latency_ms > 0
    assert "not executed" not in plan.notes[0]


@rtx
def test_a_plan_that_fails_the_gate_is_left_out(source, scans, tmp_path, monkeypatch):
    plans_run(monkeypatch)
    monkeypatch.setattr(_Fp16, "wrong", True)
    wanted = candidates(["tensorrt-rtx:sm86", "onnxruntime"], "auto")
    manifest = build_bundle(source, tmp_path / "b", wanted, scans)
    assert [a.name for a in manifest.artifacts] == ["onnxruntime-fp32"]
    assert [a.name for a in manifest.rejected] == ["tensorrt-rtx-sm86-fp16"]
    names = sorted(p.name for p in open_bundle(tmp_path / "b").path.iterdir())
    assert names == ["manifest.json", "model.onnx", "reference.npz"]


@rtx
@pytest.mark.parametrize("runs", [0, 2, 7])  # of 4 for the gate and at least 4 for the timing
def test_a_plan_that_fails_while_judged_is_kept_as_not_executed(
    source, scans, tmp_path, monkeypatch, runs
):
    plans_run(monkeypatch)
    monkeypatch.setattr(_Fp16, "runs", runs)
    said = []
    wanted = candidates(["tensorrt-rtx:sm86", "onnxruntime"], "auto")
    manifest = build_bundle(source, tmp_path / "b", wanted, scans, log=said.append)
    model, plan = manifest.artifacts
    assert model.name == manifest.default == "onnxruntime-fp32"
    assert model.parity.passed
    assert not plan.executed
    assert plan.parity is plan.effective_precision is plan.latency_ms is None
    reason = "not executed here: tensorrt-rtx does not take the batch (an internal fault)"
    assert plan.notes[0].endswith(reason)
    assert said.count(f"{plan.name}: {reason}") == 1
    assert (tmp_path / "b" / "tensorrt-rtx" / "sm86-fp16.plan").exists()


@rtx
def test_a_bundle_whose_only_plan_fails_still_holds_it(source, scans, tmp_path, monkeypatch):
    plans_run(monkeypatch)
    monkeypatch.setattr(_Fp16, "runs", 0)
    wanted = candidates(["tensorrt-rtx:sm86"], "auto")
    manifest = build_bundle(source, tmp_path / "b", wanted, scans)
    assert manifest.default is None
    assert [a.name for a in manifest.artifacts] == ["onnxruntime-fp32", "tensorrt-rtx-sm86-fp16"]


def test_an_engine_for_the_cpu_that_fails_is_an_error(source, scans, tmp_path, monkeypatch):
    def fail(runner, batch):
        raise BundleError("a wrong output")

    monkeypatch.setattr(OnnxRuntimeRunner, "infer", fail)
    with pytest.raises(BundleError, match="a wrong output"):
        build_bundle(source, tmp_path / "b", CPU, scans)
    assert list(tmp_path.iterdir()) == []


def test_the_manifest_says_what_a_plan_needs_to_run(
    source, scans, tmp_path, one_library, monkeypatch
):
    pytest.importorskip("tensorrt_rtx", reason="tensorrt_rtx is not installed")
    monkeypatch.setenv("CUDACXX", "/absent/nvcc")
    said = []
    options = PlanOptions(batch=(1, 2))
    wanted = candidates(["tensorrt-rtx:sm86"], "auto")
    build_bundle(
        source, tmp_path / "b", wanted, scans, plan_options=options, plugin="on", log=said.append
    )
    _, plan = open_bundle(tmp_path / "b").manifest.artifacts
    assert plan.batch == (1, 2)
    assert plan.plan.profiles == ((1, 1, 1), (1, 2, 2))
    assert plan.plan.kernels["plugin"] == {"fp16": 16}
    assert plan.plan.plugin.source == source_key()
    assert (plan.plan.plugin.target, plan.plan.plugin.embedded) == ("cpu", False)
    assert "needs the plugin for CUDA" in plan.notes[1]
    assert any("the plugin for the CPU" in line for line in said)
    build_bundle(source, tmp_path / "c", wanted, scans, plugin="off", log=said.append)
    _, plan = open_bundle(tmp_path / "c").manifest.artifacts
    assert plan.plan.plugin is None
    assert "plugin" not in plan.plan.kernels
    assert plan.plan.kernels["convolution"] == {"fp16": 21}


def test_an_engine_that_fails_the_gate_is_rejected_and_left_out(
    source, scans, tmp_path, monkeypatch
):
    damage_openvino(monkeypatch)
    manifest = build_bundle(source, tmp_path / "b", CPU, scans)
    assert [a.name for a in manifest.artifacts] == ["onnxruntime-fp32"]
    (rejected,) = manifest.rejected
    assert rejected.name == "openvino-fp32"
    assert not rejected.parity.passed
    assert manifest.default == "onnxruntime-fp32"
    names = sorted(p.name for p in open_bundle(tmp_path / "b").path.iterdir())
    assert names == ["manifest.json", "model.onnx", "reference.npz"]


def test_no_bundle_is_written_if_nothing_passes(source, scans, tmp_path, monkeypatch):
    damage_openvino(monkeypatch)
    with pytest.raises(ParityError, match="openvino-fp32: failed the parity gate"):
        build_bundle(source, tmp_path / "b", CPU[:1], scans)
    assert list(tmp_path.iterdir()) == []


def damage_openvino(monkeypatch):
    """Overwrite a part of the weights of a really built model."""
    original = contenders.build_openvino

    def damaged(*arguments):
        xml, weights = original(*arguments)
        content = bytearray(weights.read_bytes())
        half = len(content) // 2 & ~3
        content[half : half + 40_000] = np.full(10_000, 0.5, np.float32).tobytes()
        weights.write_bytes(content)
        return xml, weights

    monkeypatch.setattr(contenders, "build_openvino", damaged)


@pytest.mark.skipif("bf16" not in cpu_precisions(), reason="this CPU has no bf16")
def test_bf16_is_judged_by_itself(source, scans, tmp_path, monkeypatch):
    monkeypatch.setitem(
        parity.LIMITS, "bf16", parity.Limits(probability=0, logits=0, cam=0, features=0)
    )
    wanted = candidates(["openvino"], "auto")
    manifest = build_bundle(source, tmp_path / "b", wanted, scans)
    assert [a.name for a in manifest.rejected] == ["openvino-bf16"]
    assert manifest.default == "openvino-fp32"
    assert (tmp_path / "b" / "openvino" / "model.bin").exists()  # shared with fp32
    with pytest.raises(ParityError):
        build_bundle(source, tmp_path / "c", candidates(["openvino"], "bf16"), scans)
    assert not (tmp_path / "c").exists()


def test_float16_for_onnx_runtime_is_a_file_and_an_engine_of_its_own(source, scans, tmp_path):
    """`build` makes it for GPUs; here the CPU runs it."""
    wanted = [Candidate("onnxruntime", "fp32"), Candidate("onnxruntime", "fp16")]
    manifest = build_bundle(source, tmp_path / "b", wanted, scans)
    full, half = manifest.artifacts
    assert half.name == "onnxruntime-fp16"
    assert half.effective_precision == "fp16"
    assert half.parity.passed
    assert half.parity.limits["max_logits_error"] == parity.LIMITS["fp16"].logits
    assert half.parity.max_logits_error > 0
    assert any("activations up to" in note for note in half.notes)
    (large,), (small,) = full.files, half.files
    assert not full.notes
    size = {name: (tmp_path / "b" / name).stat().st_size for name in (large, small)}
    assert size[small] < 0.7 * size[large]
    assert check_bundle(open_bundle(tmp_path / "b")).passed
