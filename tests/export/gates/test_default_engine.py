"""The choice of the default engine, and the reasons against the others."""

import pytest

from darnet_trt.bundle.manifest import Artifact, Decisions, Parity, Quantization
from darnet_trt.export.gates.default_engine import choose_default

RESERVE = "1 scan cannot show that the decisions are kept"


def engine(name, latency_ms, *, random=False, reserves=(), **fields):
    """One that passed both gates, if `fields` do not say otherwise."""
    backend, precision = name.split("-")
    if precision == "int8":
        fields["quantization"] = Quantization.model_construct(random=random)
        fields["decisions"] = Decisions.model_construct(failures=(), reserves=reserves)
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
        **{"parity": Parity.model_construct(passed=True), **fields},
    )


FAILED = Parity.model_construct(passed=False)
FLOAT = engine("openvino-fp32", 10.0)


def test_a_proven_int8_engine_that_is_faster_is_the_default():
    found = choose_default([FLOAT, engine("openvino-int8", 5.0), engine("onnxruntime-int8", 7.0)])
    assert found == ("openvino-int8", {})


@pytest.mark.parametrize(("latency_ms", "default"), [(9.5, True), (9.6, False)])
def test_int8_must_be_clearly_faster(latency_ms, default):
    found = choose_default([FLOAT, engine("openvino-int8", latency_ms)])
    why = "only 1.04 times as fast as openvino-fp32"
    slow = ("openvino-fp32", {"openvino-int8": why})
    assert found == (("openvino-int8", {}) if default else slow)


@pytest.mark.parametrize(
    ("doubtful", "why"),
    [
        ({"reserves": (RESERVE,)}, RESERVE),
        ({"random": True}, "calibrated with random numbers"),
        (
            {"parity": FAILED, "accepted": "A. Person: a trial"},
            "failed the parity gate; accepted by A. Person: a trial",
        ),
    ],
)
def test_doubtful_engines_are_never_the_default(doubtful, why):
    int8 = engine("openvino-int8", 5.0, **doubtful)
    name, passed_over = choose_default([int8, FLOAT])
    assert name == "openvino-fp32"
    assert passed_over["openvino-int8"].startswith(why)
    assert choose_default([int8])[0] is None


def test_int8_that_was_named_needs_few_scans():
    reserved = engine("openvino-int8", 5.0, reserves=(RESERVE,))
    found = choose_default([reserved, FLOAT], int8_asked_for=True)
    assert found == ("openvino-int8", {})


@pytest.mark.parametrize("doubtful", [{"random": True}, {"accepted": "A. Person: a trial"}])
def test_int8_that_was_named_must_pass_the_gates_and_be_calibrated_on_scans(doubtful):
    int8 = engine("openvino-int8", 5.0, reserves=(RESERVE,), parity=FAILED, **doubtful)
    assert choose_default([int8, FLOAT], int8_asked_for=True)[0] == "openvino-fp32"


def test_the_next_proven_int8_engine_can_be_the_default():
    doubtful = engine("openvino-int8", 5.0, reserves=(RESERVE,))
    name, passed_over = choose_default([doubtful, FLOAT, engine("onnxruntime-int8", 8.0)])
    assert name == "onnxruntime-int8"
    assert list(passed_over) == ["openvino-int8"]


def test_the_fastest_float_engine_needs_no_reason():
    found = choose_default([FLOAT, engine("openvino-bf16", 5.0)])
    assert found == ("openvino-bf16", {})
