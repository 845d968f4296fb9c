"""Let atheris search for inputs at which the parser of tensor requests fails in an unknown way.

    python -m pip install atheris==3.0.0   # not among the project's packages: 128 MB
    python -m tests.runtime.serving.fuzz.tensor_parser -runs=100000

A request is refused by `UsageError`, or is as its shape says; nothing else may come of it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

import atheris

with atheris.instrument_imports(include=["darnet_trt.runtime.serving.http.tensors"]):
    from darnet_trt.errors import UsageError
    from darnet_trt.runtime.serving.http import tensors

MODEL = tensors.Model(3, (2, 2, 2), 4)
WORDS: list[Any] = [
    "volume", "FP32", "logits", "probabilities", "cam", "binary_data_size", "binary_data",
    "timeout", "binary_data_output", "", None, True, 0, 1, -1, 2, 4, 8, 32, 2**31, 2**63, 10**30,
    0.5, 1e300, [], {}, [1, 1, 2, 2, 2], [0.0] * 8, [[[[[0.0, 1.0]] * 2] * 2]],
    {"binary_data_size": 32},
]  # fmt: skip


def text_of(given: atheris.FuzzedDataProvider) -> bytes:
    """Return bytes as they come, or the JSON of a request of which some parts are others."""
    if given.ConsumeIntInRange(0, 3) == 0:
        return given.ConsumeBytes(given.remaining_bytes())
    one = {
        "name": "volume", "shape": [1, 1, 2, 2, 2], "datatype": "FP32", "data": [0.0] * 8,
        "parameters": {},
    }  # fmt: skip
    output: dict[str, Any] = {"name": "logits", "parameters": {}}
    whole: dict[str, Any] = {"id": "1", "inputs": [one], "outputs": [output], "parameters": {}}
    places = [one, output, whole, one["parameters"], output["parameters"], whole["parameters"]]
    for _ in range(given.ConsumeIntInRange(0, 4)):
        place: Any = places[given.ConsumeIntInRange(0, len(places) - 1)]
        keys = [*place, "timeout", "binary_data", "binary_data_output", "binary_data_size", "x"]
        key = keys[given.ConsumeIntInRange(0, len(keys) - 1)]
        if given.ConsumeBool():
            place.pop(key, None)
        else:
            place[key] = WORDS[given.ConsumeIntInRange(0, len(WORDS) - 1)]
    return json.dumps(whole).encode()


def refused(parse: Callable[[], tensors.Request]) -> tensors.Request | None:
    """Return what is parsed; None where it is refused in one short line."""
    try:
        return parse()
    except UsageError as error:
        line = str(error)
    assert "\n" not in line
    assert len(line) < 1000
    return None


def test_one(data: bytes) -> None:
    """Parse one request."""
    given = atheris.FuzzedDataProvider(data)
    binary = given.ConsumeBool()
    length = given.ConsumeIntInRange(0, 300)
    refused(lambda: tensors.raw_request(length, MODEL))
    text = text_of(given)
    request = refused(lambda: tensors.parse_request(text, MODEL, binary=binary))
    if request is None:
        return
    assert 1 <= request.volumes <= MODEL.most
    assert (request.data is None) == binary
    if request.data is not None:
        assert request.data.shape == (request.volumes, 1, 2, 2, 2)


if __name__ == "__main__":
    atheris.Setup(sys.argv, test_one)
    atheris.Fuzz()
