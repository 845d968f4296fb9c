"""The choice of the default engine, and the reasons against the others."""

import pytest

from darnet_trt.bundle.manifest import Artifact, Decisions, Parity, Quantization
from darnet_trt.export.gates.default_engine import choose_default

RESERVE = "1 scan cannot show that the decisions are kept"


def engine(name, latency_ms, *, random=False, reserves=(), **fields):
    """One that passed both gates, if `fields` do not say otherwise."""
    backend, precision = name.split("-")
    int8 = precision == "int8"
    return Artifact(
        name=name,
        files={},
        backend=backend,
        precision=precision,
        effective_precision=precision,
        target="cpu",
        batch=(1, 1),
        producer={},
        executed=True,
        latency_ms=latency_ms,
        quantization=calibrated(random=random) if int8 else None,
        decisions=decided(reserves) if int8 else None,
        **{"parity": alike(passed=True), **fields},
    )


def alike(*, passed):
    return Parity(
        scans=1,
        source="a test",
        class_flips=0,
        max_probability_difference=0,
        max_logits_error=0,
        max_cam_error=0,
        limits={},
        passed=passed,
    )


def calibrated(*, random):
    return Quantization(
        scans=1, source="", digest="", random=random, method="mse", errors={}, layers=()
    )


def decided(reserves):
    return Decisions(
        scans=120,
        source="a test",
        labelled=None,
        class_flips=0,
        sure_flips=0,
        agreement=1,
        flips_at_most=0.03,
        mean_probability_drift=0,
        max_probability_drift=0,
        auc=None,
        accuracy=None,
        limits={},
        failures=(),
        reserves=reserves,
        notes=(),
        passed=True,
    )


FLOAT = engine("openvino-fp32", 10.0)


def test_a_proven_int8_engine_that_is_faster_is_the_default():
    found = choose_default([FLOAT, engine("openvino-int8", 5.0), engine("onnxruntime-int8", 7.0)])
    assert (found.name, found.passed_over) == ("openvino-int8", {})


@pytest.mark.parametrize(("latency_ms", "default"), [(9.5, True), (9.6, False)])
def test_int8_must_be_clearly_faster(latency_ms, default):
    found = choose_default([FLOAT, engine("openvino-int8", latency_ms)])
    if default:
        assert (found.name, found.passed_over) == ("openvino-int8", {})
    else:
        assert found.name == "openvino-fp32"
        why = "only 1.04 times as fast as openvino-fp32"
        assert found.passed_over == {"openvino-int8": why}


@pytest.mark.parametrize(
    ("doubtful", "why"),
    [
        ({"reserves": (RESERVE,)}, RESERVE),
        ({"random": True}, "calibrated with random numbers"),
        (
            {"parity": alike(passed=False), "accepted": "A. Person: a trial"},
            "failed the parity gate; accepted by A. Person: a trial",
        ),
    ],
)
def test_doubtful_engines_are_never_the_default(doubtful, why):
    int8 = engine("openvino-int8", 5.0, **doubtful)
    found = choose_default([int8, FLOAT])
    assert found.name == "openvino-fp32"
    assert found.passed_over["openvino-int8"].startswith(why)
    assert choose_default([int8]).name is None


def test_int8_that_was_named_needs_few_scans():
    reserved = engine("openvino-int8", 5.0, reserves=(RESERVE,))
    found = choose_default([reserved, FLOAT], int8_asked_for=True)
    assert (found.name, found.passed_over) == ("openvino-int8", {})


@pytest.mark.parametrize("doubtful", [{"random": True}, {"accepted": "A. Person: a trial"}])
def test_int8_that_was_named_must_pass_the_gates_and_be_calibrated_on_scans(doubtful):
    int8 = engine("openvino-int8", 5.0, reserves=(RESERVE,), parity=alike(passed=False), **doubtful)
    assert choose_default([int8, FLOAT], int8_asked_for=True).name == "openvino-fp32"


def test_the_next_proven_int8_engine_can_be_the_default():
    doubtful = engine("openvino-int8", 5.0, reserves=(RESERVE,))
    found = choose_default([doubtful, FLOAT, engine("onnxruntime-int8", 8.0)])
    assert found.name == "onnxruntime-int8"
    assert list(found.passed_over) == ["openvino-int8"]


def test_the_fastest_float_engine_needs_no_reason():
    found = choose_default([FLOAT, engine("openvino-bf16", 5.0)])
    assert (found.name, found.passed_over) == ("openvino-bf16", {})
