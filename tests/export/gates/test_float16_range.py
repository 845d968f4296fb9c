"""Values that overflow float16: found on scans, kept in float32, refused without float32."""

import importlib.util
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest

from darnet_trt.calibration.activations.collect import magnitudes
from darnet_trt.calibration.scans.choosing import CalibrationScans, HeldOut
from darnet_trt.calibration.scans.sample import hashed
from darnet_trt.errors import BuildError
from darnet_trt.export.build import build_bundle
from darnet_trt.export.context import Calibration
from darnet_trt.export.gates.float16_range import float16_range
from darnet_trt.export.gates.parity_scans import ParityScans
from darnet_trt.export.onnx.writing import Source
from darnet_trt.export.targets import Candidate
from tests.export.networks import TINY, graph_of, trained_like

rtx = pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx") is None, reason="tensorrt_rtx is not installed"
)
_DRAW = np.random.default_rng(0)
SCANS = ParityScans(
    tuple(_DRAW.random((1, *TINY.input_size)).astype("f2").astype("f4") for _ in range(2)),
    "two scans",
    synthetic=True,
)


def hot(reach=8e4, attention="both"):
    """A network of which one block's first convolution gives values up to that."""
    checkpoint = trained_like(TINY.model_copy(update={"attention": attention}))
    state = checkpoint.state_dict
    state["stages.1.0.bn1.bias"] *= 0  # the weights themselves fit float16
    state["stages.1.0.bn1.running_mean"] *= 0
    factor = reach / magnitudes(graph_of(checkpoint), SCANS.inputs)["stages.1.0.bn1.out"]
    state["stages.1.0.bn1.weight"] *= factor
    state["stages.1.0.conv2.weight"] /= factor
    return checkpoint


def values(model, tensor="logits"):
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    if tensor != "logits":
        watched.graph.output.append(onnx.helper.make_empty_tensor_value_info(tensor))
    session = onnxruntime.InferenceSession(watched.SerializeToString())
    return np.concatenate(
        [session.run([tensor], {"input": scan[None]})[0] for scan in SCANS.inputs]
    )


def test_an_ordinary_network_is_float16_throughout():
    found = float16_range(graph_of(trained_like(TINY)), SCANS, {})
    assert found.in_float32 == ()
    assert 1 < found.magnitude < 100
    assert found.note == f"activations up to {found.magnitude:.5g} ({found.layer}) on two scans"


@pytest.mark.parametrize("attention", ["both", "channel", "depth", "none"])
def test_only_the_block_that_needs_it_stays_in_float32(attention):
    checkpoint = hot(attention=attention)
    expected = values(graph_of(checkpoint))
    # Its convolutions hand float32 to each other in ONNX Runtime; what is put out is float16.
    too_large = "stages.1.0.bn1.out"
    assert np.isinf(values(graph_of(checkpoint, "fp16"), too_large)).any()
    found = float16_range(graph_of(checkpoint), SCANS, {})
    assert found.in_float32 == ("stages.1.0",)
    assert found.layer == "stages.1.0.bn1.out"
    assert found.magnitude > 65504
    assert found.note.endswith("; in float32: stages.1.0")
    mixed = graph_of(checkpoint, "fp16", found.in_float32)
    onnx.checker.check_model(mixed, full_check=True)
    assert np.abs(values(mixed) - expected).max() < 0.01 * np.abs(expected).max()
    assert np.isfinite(values(mixed, too_large)).all()
    types = {t.name: t.data_type for t in mixed.graph.initializer}
    assert types["stages.1.0.conv2.weight"] == onnx.TensorProto.FLOAT
    assert types["stages.1.1.conv1.weight"] == onnx.TensorProto.FLOAT16


@pytest.mark.parametrize(
    ("scaled", "expected"),
    [
        ("stem.1", ["stem", "stages.0.0"]),
        ("stages.3.1.bn2", ["stages.3.1", "head"]),
        ("classifier", ["head"]),
    ],
)
def test_a_part_that_reads_a_large_value_stays_in_float32(scaled, expected):
    checkpoint = trained_like(TINY)
    for parameter in ("weight", "bias"):
        checkpoint.state_dict[f"{scaled}.{parameter}"] *= 1e5
    found = float16_range(graph_of(checkpoint), SCANS, {})
    assert [part for part in expected if part in found.in_float32] == expected
    if scaled != "stem.1":  # from whose sum all others get large values
        assert list(found.in_float32) == expected
    got = values(graph_of(checkpoint, "fp16", found.in_float32))
    wanted = values(graph_of(checkpoint))
    assert np.abs(got - wanted).max() < 0.01 * np.abs(wanted).max()


@pytest.mark.parametrize(("reach", "parts"), [(9000, ("stages.1.0",)), (8000, ())])
def test_values_near_the_limit_stay_in_float32(reach, parts):
    assert float16_range(graph_of(hot(reach)), SCANS, {}).in_float32 == parts


@pytest.mark.parametrize(
    ("layer", "parts"),
    [
        ("stem.1.relu", ("stem", "stages.0.0")),
        ("stages.2.0.bn1.relu", ("stages.2.0",)),
        ("stages.2.0.out", ("stages.2.0", "stages.2.1")),
    ],
)
def test_calibration_scans_count_as_well(layer, parts):
    model = graph_of(trained_like(TINY))
    found = float16_range(model, SCANS, {"input": 1.0, layer: 3e4})
    assert (found.layer, found.magnitude) == (layer, 3e4)
    assert found.source == "two scans and the calibration scans"
    assert found.in_float32 == parts


def test_values_that_overflow_float32_are_an_error():
    checkpoint = trained_like(TINY)
    checkpoint.state_dict["stages.2.0.conv2.weight"] *= 1e38
    with pytest.raises(BuildError, match=r"stages\.2\.0\.bn2\.out is infinite or NaN on two scans"):
        float16_range(graph_of(checkpoint), SCANS, {})


def built(checkpoint, out, target, precision, calibration=None):
    wanted = (Candidate("tensorrt-rtx", precision, target),)
    source = Source(checkpoint, "0" * 64)
    manifest = build_bundle(
        source, out, wanted, SCANS, plugin="off", calibration=calibration, log=lambda _: None
    )
    return manifest.artifacts[-1]


@rtx
def test_a_plan_keeps_the_block_in_float32_and_says_so(tmp_path):
    plan = built(hot(), tmp_path / "b", "sm89", "fp16")
    assert plan.plan.kernels["convolution"]["fp16"] == 18
    assert plan.plan.kernels["convolution"]["fp32"] >= 2  # the shortcut's may be fused otherwise
    assert "(stages.1.0.bn1.out) on two scans; in float32: stages.1.0" in plan.notes[-1]
    ordinary = built(trained_like(TINY), tmp_path / "c", "sm89", "fp16")
    assert ordinary.plan.kernels["convolution"] == {"fp16": 21}
    assert ordinary.notes[-1].startswith("activations up to ")


@rtx
def test_an_int8_plan_is_float32_if_float16_overflows(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    volumes = SCANS.inputs
    hashes = tuple(map(hashed, volumes))
    calibration = Calibration(
        CalibrationScans(volumes, "2 scans", hashes),
        HeldOut(volumes, None, "the same 2 scans", hashes),
    )
    calibration = replace(calibration, search=replace(calibration.search, method="minmax"))
    plan = built(hot(), tmp_path / "b", "sm89", "int8", calibration)
    assert plan.plan.kernels["convolution"] == {"int8": 19, "fp32": 2}  # stem and head
    assert "in float32: stages.1.0" in plan.notes[-1]


@rtx
def test_a_gpu_without_float32_convolutions_is_refused(tmp_path):
    with pytest.raises(BuildError) as caught:
        built(hot(), tmp_path / "b", "sm75", "fp16")
    line = str(caught.value)
    assert line.startswith("tensorrt-rtx-sm75-fp16: stages.1.0.bn1.out reaches ")
    assert "65504" in line
    assert not (tmp_path / "b").exists()
    assert built(trained_like(TINY), tmp_path / "b", "sm75", "fp16").plan.kernels


def test_onnx_runtime_keeps_what_overflows_in_float32(tmp_path):
    wanted = [Candidate("onnxruntime", "fp16")]
    manifest = build_bundle(Source(hot(), "0" * 64), tmp_path / "b", wanted, SCANS)
    half = next(a for a in manifest.artifacts if a.precision == "fp16")
    assert half.parity.passed
    assert any("in float32: stages.1.0" in note for note in half.notes)
    graph = onnx.load(tmp_path / "b" / next(iter(half.files))).graph
    types = {w.name: w.data_type for w in graph.initializer}
    assert types["stages.1.0.conv1.weight"] == onnx.TensorProto.FLOAT
    assert types["stages.3.0.conv1.weight"] == onnx.TensorProto.FLOAT16


@rtx
def test_bfloat16_needs_no_check(tmp_path):
    plan = built(hot(), tmp_path / "b", "sm89", "bf16")
    assert plan.plan.kernels["convolution"] == {"bf16": 21}
    assert "activations up to" not in " ".join(plan.notes)
