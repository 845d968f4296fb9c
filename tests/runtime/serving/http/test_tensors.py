"""Requests of the protocol are parsed strictly: each fault is one clear error of one kind."""

import contextlib
import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from darnet_trt.errors import UsageError
from darnet_trt.evaluation.metrics import softmax
from darnet_trt.runtime.engines.runner import Outputs
from darnet_trt.runtime.serving.http.tensors import (
    LARGEST_HEADER,
    Model,
    Request,
    check_values,
    encode_answer,
    numbers,
    parse_request,
    raw_request,
)

MODEL = Model(classes=3, size=(2, 3, 4), most=4, features=8)
OLDER = replace(MODEL, features=0)
VOLUME = 2 * 3 * 4


def request(n=1, *, binary=True, **changes):
    tensor = {"name": "volume", "shape": [n, 1, 2, 3, 4], "datatype": "FP32"}
    if binary:
        tensor["parameters"] = {"binary_data_size": n * VOLUME * 4}
    else:
        tensor["data"] = [0.5] * (n * VOLUME)
    tensor |= changes.pop("tensor", {})
    return {"inputs": [{k: v for k, v in tensor.items() if v is not None}], **changes}


def parse(body, *, binary=True):
    return parse_request(json.dumps(body).encode(), MODEL, binary=binary)


def test_a_binary_request_is_understood():
    outputs = [{"name": "cam", "parameters": {"binary_data": True}}, {"name": "logits"}]
    parsed = parse(request(2, id="7", parameters={"timeout": 1500}, outputs=outputs))
    assert (parsed.volumes, parsed.id, parsed.timeout_s, parsed.data) == (2, "7", 0.0015, None)
    assert parsed.outputs == (("cam", True), ("logits", False))


def test_outputs_are_the_small_ones_unless_asked_for():
    assert parse(request()).outputs == (("logits", False), ("probabilities", False))
    both = parse(request(parameters={"binary_data_output": True})).outputs
    assert both == (("logits", True), ("probabilities", True))


@pytest.mark.parametrize("nested", [False, True])
def test_numbers_of_json_may_be_flat_or_nested(nested):
    volumes = np.arange(2 * VOLUME, dtype=np.float32).reshape(2, 1, 2, 3, 4)
    data = volumes.tolist() if nested else volumes.ravel().tolist()
    parsed = parse(request(2, binary=False, tensor={"data": data}), binary=False)
    np.testing.assert_array_equal(parsed.data, volumes)


FAULTS = {
    "another input": {"tensor": {"name": "x"}},
    "another type": {"tensor": {"datatype": "FP16"}},
    "a type of BYTES": {"tensor": {"datatype": "BYTES"}},
    "no shape": {"tensor": {"shape": None}},
    "an empty shape": {"tensor": {"shape": []}},
    "a shape too short": {"tensor": {"shape": [1, 2, 3, 4]}},
    "a shape too long": {"tensor": {"shape": [1] * 500}},
    "no volumes": {"tensor": {"shape": [0, 1, 2, 3, 4]}},
    "fewer than none": {"tensor": {"shape": [-1, 1, 2, 3, 4]}},
    "too many": {"tensor": {"shape": [5, 1, 2, 3, 4]}},
    "a huge number": {"tensor": {"shape": [10**300, 1, 2, 3, 4]}},
    "a fraction": {"tensor": {"shape": [1.5, 1, 2, 3, 4]}},
    "true as size": {"tensor": {"shape": [True, 1, 2, 3, 4]}},
    "axes turned": {"tensor": {"shape": [1, 1, 4, 3, 2]}},
    "other bytes": {"tensor": {"parameters": {"binary_data_size": 95}}},
    "negative bytes": {"tensor": {"parameters": {"binary_data_size": -96}}},
    "bytes as text": {"tensor": {"parameters": {"binary_data_size": "96"}}},
    "bytes as fraction": {"tensor": {"parameters": {"binary_data_size": 96.0}}},
    "no bytes": {"tensor": {"parameters": {}}},
    "both": {"tensor": {"data": [0.5] * VOLUME}},
    "shared memory": {"tensor": {"parameters": {"shared_memory_region": "r"}}},
    "no inputs": {"inputs": []},
    "two inputs": {"inputs": request()["inputs"] * 2},
    "inputs as object": {"inputs": {}},
    "an unknown output": {"outputs": [{"name": "y"}]},
    "an output twice": {"outputs": [{"name": "cam"}, {"name": "cam"}]},
    "labels": {"outputs": [{"name": "logits", "parameters": {"classification": 1}}]},
    "a flag of text": {"outputs": [{"name": "cam", "parameters": {"binary_data": "true"}}]},
    "a negative timeout": {"parameters": {"timeout": -1}},
    "a timeout of text": {"parameters": {"timeout": "1"}},
    "a timeout of true": {"parameters": {"timeout": True}},
    "a huge timeout": {"parameters": {"timeout": 1 << 70}},
    "a list as parameter": {"parameters": {"timeout": [1]}},
    "a number as id": {"id": 7},
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_fault_is_one_short_line(fault):
    body = request() | {k: v for k, v in fault.items() if k != "tensor"}
    if "tensor" in fault:
        body = request(tensor=fault["tensor"])
    with pytest.raises(UsageError) as caught:
        parse(body)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


JSON_FAULTS = {
    "no data": None,
    "none": [],
    "too few": [0.5] * (VOLUME - 1),
    "too many": [0.5] * (VOLUME + 1),
    "text": ["0.5"] * VOLUME,
    "true": [True] * VOLUME,
    "null": [None] * VOLUME,
    "objects": [{}] * VOLUME,
    "one list among numbers": [0.5] * (VOLUME - 1) + [[0.5]],
    "one number among lists": [[[[[0.5] * 4] * 3] * 2], 0.5],
    "ragged": [[[[[0.5] * 4] * 3, [[0.5] * 4] * 2 + [[0.5] * 3]]]],
    "nested otherwise": [[0.5] * 12] * 2,
    "too deep": [[[[[[0.5]] * 4] * 3] * 2]],
    "a number beyond float64": [10**400] + [0.5] * (VOLUME - 1),
    "an object": {"0": 1},
    "text alone": "0.5",
}


@pytest.mark.parametrize("data", JSON_FAULTS.values(), ids=JSON_FAULTS)
def test_other_data_than_numbers_are_refused(data):
    with pytest.raises(UsageError):
        parse(request(binary=False, tensor={"data": data}), binary=False)


def test_a_number_beyond_float32_is_found_as_infinity():
    volume = numbers([1e39] + [0.5] * (VOLUME - 1), (1, 1, 2, 3, 4))
    with pytest.raises(UsageError, match="inf"):
        check_values(volume)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf, -1000, 1.1, 3e38])
def test_a_single_number_that_no_input_holds_is_found(wrong):
    volume = np.linspace(0, 1.001, 24, dtype=np.float32).reshape(1, 1, 2, 3, 4)  # rounded
    check_values(volume)
    volume[0, 0, 1, 2, 3] = wrong
    with pytest.raises(UsageError):
        check_values(volume)


@pytest.mark.parametrize("text", ["[" * 60_000, '{"id":"', "[],", '"', "{},", "1:1,"])
@pytest.mark.parametrize("binary", [False, True])
def test_deep_or_many_values_are_refused_before_they_are_made(text, binary):
    with pytest.raises(UsageError):
        parse_request((text * (LARGEST_HEADER // len(text)))[:LARGEST_HEADER].encode(), MODEL,
                      binary=binary)  # fmt: skip


@given(st.binary(max_size=300), st.booleans())
def test_no_bytes_raise_anything_else(text, binary):
    with pytest.raises(UsageError):
        parse_request(text, MODEL, binary=binary)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=12,
)


@given(st.sampled_from(["id", "parameters", "inputs", "outputs"]), JSON, st.booleans())
def test_any_value_in_any_place_is_understood_or_refused(place, value, binary):
    body = request(binary=binary) | {place: value}
    try:
        parsed = parse(body, binary=binary)
    except UsageError:
        pass
    else:
        assert 1 <= parsed.volumes <= MODEL.most


@given(st.sampled_from(["name", "shape", "datatype", "parameters", "data"]), JSON, st.booleans())
def test_any_value_in_a_tensor_is_understood_or_refused(place, value, binary):
    with contextlib.suppress(UsageError):
        parse(request(binary=binary, tensor={place: value}), binary=binary)


@given(st.integers(0, 1000))
def test_a_raw_body_is_whole_volumes(length):
    if length in {VOLUME * 4 * n for n in range(1, MODEL.most + 1)}:
        assert raw_request(length, MODEL).volumes == length // (VOLUME * 4)
    else:
        with pytest.raises(UsageError):
            raw_request(length, MODEL)


def outputs(n=1):
    rng = np.random.default_rng(0)
    return Outputs(
        rng.normal(size=(n, 3)).astype(np.float32),
        rng.normal(size=(n, 3, 1, 1, 1)).astype(np.float32),
        rng.normal(size=(n, 8)).astype(np.float32),
    )


@given(
    st.lists(
        st.tuples(st.sampled_from(["logits", "probabilities", "cam", "features"]), st.booleans()),
        unique_by=lambda o: o[0],
        min_size=1,
    ),
    st.integers(1, 4),
)
def test_an_answer_holds_what_was_asked_for_in_its_order(wanted, n):
    given_out = outputs(n)
    text, arrays = encode_answer(Request(n, id="i", outputs=tuple(wanted)), given_out, 1.0)
    answer = json.loads(text)
    assert answer["id"] == "i"
    assert [o["name"] for o in answer["outputs"]] == [name for name, _ in wanted]
    rest = iter(arrays)
    for output, (name, binary) in zip(answer["outputs"], wanted, strict=True):
        if binary:
            array = next(rest)
            assert output["parameters"]["binary_data_size"] == array.nbytes
        else:
            array = np.array(output["data"], np.float32).reshape(output["shape"])
        np.testing.assert_array_equal(array, getattr(given_out, name).astype(np.float32))


def test_an_older_bundle_has_no_features_to_ask_for():
    wanted = json.dumps(request(outputs=[{"name": "features"}])).encode()
    assert parse_request(wanted, MODEL, binary=True).outputs == (("features", False),)
    assert MODEL.shapes["features"] == [-1, 8]
    assert "features" not in OLDER.shapes
    with pytest.raises(UsageError, match="no output 'features', only logits, probabilities, cam"):
        parse_request(wanted, OLDER, binary=True)


def test_probabilities_are_calibrated_and_logits_are_not():
    given_out = outputs(2)
    text, _ = encode_answer(Request(2), given_out, 2.0)
    logits, probabilities = (np.reshape(o["data"], o["shape"]) for o in json.loads(text)["outputs"])
    np.testing.assert_allclose(logits, given_out.logits, rtol=1e-6)
    np.testing.assert_allclose(probabilities, softmax(given_out.logits / 2), rtol=1e-6)


@pytest.mark.parametrize("name", ["logits", "cam", "features"])
def test_outputs_that_overflow_are_no_answer(name):
    broken = outputs()
    getattr(broken, name).flat[0] = np.nan
    with pytest.raises(UsageError, match="overflow"):
        encode_answer(Request(1), broken, 1.0)
