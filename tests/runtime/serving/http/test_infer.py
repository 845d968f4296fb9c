"""The protocol as its own client speaks it, and as nobody should."""

import itertools
import json
import socket
import time

import numpy as np
import pytest
import tritonclient.http as triton

from darnet_trt.errors import BusyError, DeviceError
from tests.runtime.serving.http.service import (
    FEATURES,
    SIZE,
    VOLUME,
    StandIn,
    ask,
    outputs_of,
    serving,
    wait_until,
)

INFER = "/v2/models/darnet/infer"


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    return StandIn(tmp_path_factory.mktemp("service"))


@pytest.fixture(scope="module")
def door(service):
    with serving(service) as door:
        yield door


@pytest.fixture
def client(door):
    with triton.InferenceServerClient(f"127.0.0.1:{door.port}") as client:
        yield client


def test_the_server_says_what_it_is(client):
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("darnet")
    assert client.is_model_ready("darnet", "1")
    assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
    metadata = client.get_model_metadata("darnet", "1")
    assert metadata["inputs"] == [{"name": "volume", "datatype": "FP32", "shape": [-1, 1, *SIZE]}]
    shapes = {output["name"]: output["shape"] for output in metadata["outputs"]}
    classes = {"logits": [-1, 3], "probabilities": [-1, 3]}
    assert shapes == {**classes, "cam": [-1, 3, 2, 2, 2], "features": [-1, FEATURES]}


@pytest.mark.parametrize("path", ["/v2/models/x", "/v2/models/darnet/versions/2/ready", "/v2/x"])
def test_what_is_not_there_is_404(door, path):
    status, _, body = ask(door, "GET", path)
    assert (status, list(body)) == (404, ["error"])


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False])
@pytest.mark.parametrize("n", [1, 3])
def test_an_independent_client_gets_the_networks_outputs(client, n, binary_in, binary_out):
    volumes = np.random.default_rng(n).random((n, 1, *SIZE), np.float32)
    tensor = triton.InferInput("volume", volumes.shape, "FP32")
    tensor.set_data_from_numpy(volumes, binary_data=binary_in)
    wanted = [
        triton.InferRequestedOutput(name, binary_data=binary_out)
        for name in ("cam", "logits", "probabilities", "features")
    ]
    answer = client.infer("darnet", [tensor], outputs=wanted, request_id="r-1")
    assert answer.get_response()["id"] == "r-1"
    expected = outputs_of(volumes)
    np.testing.assert_allclose(answer.as_numpy("logits"), expected.logits, rtol=1e-6)
    np.testing.assert_allclose(answer.as_numpy("cam"), expected.cam, rtol=1e-6)
    np.testing.assert_allclose(answer.as_numpy("features"), expected.features, rtol=1e-6)
    np.testing.assert_allclose(answer.as_numpy("probabilities"), expected.probabilities, rtol=1e-5)


def test_the_map_is_given_only_where_it_is_asked_for(client):
    tensor = triton.InferInput("volume", VOLUME.shape, "FP32")
    tensor.set_data_from_numpy(VOLUME)
    named = {
        output["name"] for output in client.infer("darnet", [tensor]).get_response()["outputs"]
    }
    assert named == {"logits", "probabilities"}


def test_a_raw_tensor_is_answered_in_bytes(door):
    header = {"Inference-Header-Content-Length": "0"}
    status, headers, body = ask(door, "POST", INFER, VOLUME.tobytes(), header)
    assert status == 200
    answer = triton.InferResult.from_response_body(
        body, header_length=int(headers["Inference-Header-Content-Length"])
    )
    np.testing.assert_allclose(answer.as_numpy("logits"), outputs_of(VOLUME).logits, rtol=1e-6)


def test_the_engine_gets_the_volume_where_it_reads_it_best(door, service):
    ask(door, "POST", INFER, VOLUME.tobytes(), {"Inference-Header-Content-Length": "0"})
    text, body = packed()
    ask(door, "POST", INFER, text + body, {"Inference-Header-Content-Length": str(len(text))})
    for asked in service.queue.submitted[-2:]:
        assert asked.batch.ctypes.data % 64 == 0
        assert asked.batch.flags.c_contiguous


def test_a_timeout_becomes_a_deadline_and_a_ticket_is_shown(door, service):
    text, body = packed(parameters={"timeout": 5_000_000})
    headers = {"Inference-Header-Content-Length": str(len(text)), "Darnet-Ticket": "t-1"}
    assert ask(door, "POST", INFER, text + body, headers)[0] == 200
    asked = service.queue.submitted[-1]
    assert asked.deadline is not None
    assert asked.ticket == "t-1"


def packed(**changes):
    """A binary request: its JSON and its tensor."""
    tensor = {
        "name": "volume", "shape": [1, 1, *SIZE], "datatype": "FP32",
        "parameters": {"binary_data_size": VOLUME.nbytes},
    }  # fmt: skip
    return json.dumps({"inputs": [tensor], **changes}).encode(), VOLUME.tobytes()


TEXT, TENSOR = packed()
N = len(TEXT)
FAULTS = {
    "no body": (b"", None, 400),
    "no JSON": (b"\xff\xfe", None, 400),
    "JSON of something else": (b"[]", None, 400),
    "binary without its header": (TEXT + TENSOR, None, 400),
    "a length that is text": (TEXT + TENSOR, "ten", 400),
    "a negative length": (TEXT + TENSOR, "-1", 400),
    "a length in other digits": (TEXT + TENSOR, "²", 400),
    "a huge length": (TEXT + TENSOR, "9" * 5000, 400),
    "a length beyond the body": (TEXT, str(N + 1), 400),
    "a length that cuts the JSON": (TEXT + TENSOR, str(N - 1), 400),
    "a length into the tensor": (TEXT + TENSOR, str(N + 4), 400),
    "JSON too long": (TEXT + b" " * 70_000 + TENSOR, str(N + 70_000), 413),
    "a tensor too short": (TEXT + TENSOR[:-4], str(N), 400),
    "a tensor too long": (TEXT + TENSOR + b"1234", str(N), 400),
    "no tensor": (TEXT, str(N), 400),
    "raw and cut": (TENSOR[:-1], "0", 400),
    "raw and empty": (b"", "0", 400),
    "NaN": (np.full_like(VOLUME, np.nan).tobytes(), "0", 400),
    "numbers that overflow": (np.full_like(VOLUME, 3e38).tobytes(), "0", 400),
    "too large": (b" " * 40_000_000, None, 413),
}


@pytest.mark.parametrize(("body", "length", "expected"), FAULTS.values(), ids=FAULTS)
def test_a_faulty_request_gets_one_clear_line(door, body, length, expected):
    headers = {} if length is None else {"Inference-Header-Content-Length": length.encode()}
    try:
        status, _, answer = ask(door, "POST", INFER, body, headers)
    except (BrokenPipeError, ConnectionResetError):
        assert expected == 413  # nobody reads the rest
        return
    assert status == expected
    assert list(answer) == ["error"]
    assert 10 < len(answer["error"]) < 400
    assert "\n" not in answer["error"]


def test_a_packed_body_is_not_taken(door):
    assert ask(door, "POST", INFER, b"x", {"Content-Encoding": "gzip"})[0] == 415


def test_a_body_of_unknown_length_is_not_taken(door):
    assert ask(door, "POST", INFER, iter([b"{}"]))[0] == 411


def test_a_full_queue_says_when_to_come_again(door, service):
    service.queue.refuse = BusyError("the queue is full", retry_after_s=1.2, ticket="abc")
    try:
        status, headers, body = ask(
            door, "POST", INFER, VOLUME.tobytes(), {"Inference-Header-Content-Length": "0"}
        )
    finally:
        service.queue.refuse = None
    assert (status, headers["Retry-After"], headers["Darnet-Ticket"]) == (429, "2", "abc")
    assert body["retry_after_s"] == pytest.approx(1.2)


@pytest.mark.parametrize("error", [ValueError("x"), DeviceError("the GPU failed")])
def test_an_engine_that_fails_is_503(door, service, error):
    service.queue.error = error
    try:
        status, _, body = ask(
            door, "POST", INFER, VOLUME.tobytes(), {"Inference-Header-Content-Length": "0"}
        )
    finally:
        service.queue.error = None
    assert status == 503
    assert str(error) in body["error"]


def test_a_service_that_is_not_ready_says_why(door, service):
    service.ready, service.why_not_ready = False, "it warms up"
    try:
        for method, path in (("GET", "/v2/health/ready"), ("POST", INFER)):
            status, headers, body = ask(door, method, path, b"")
            assert (status, headers["Retry-After"]) == (503, "1")
            assert "warms up" in body["error"]
        assert ask(door, "GET", "/v2/health/live")[0] == 200
    finally:
        service.ready = True


def test_who_hangs_up_frees_the_place(door, service):
    service.queue.let.clear()
    try:
        head = f"POST {INFER} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {VOLUME.nbytes}\r\n"
        head += "Inference-Header-Content-Length: 0\r\n\r\n"
        before = len(service.queue.submitted)
        running, waiting = (socket.create_connection(("127.0.0.1", door.port)) for _ in range(2))
        running.sendall(head.encode() + VOLUME.tobytes())
        wait_until(lambda: len(service.queue.submitted) == before + 1)
        waiting.sendall(head.encode() + VOLUME.tobytes())
        wait_until(lambda: len(service.queue.submitted) == before + 2)
        waiting.close()
        wait_until(service.queue.submitted[-1].future.cancelled)
    finally:
        service.queue.let.set()
    with running:
        assert running.recv(15) == b"HTTP/1.1 200 OK"


def test_who_hangs_up_in_the_middle_leaves_nothing(door, service):
    text, tensor = packed()
    head = f"POST {INFER} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(text + tensor)}\r\n"
    head += f"Inference-Header-Content-Length: {len(text)}\r\n\r\n"
    whole = head.encode() + text + tensor
    before = len(service.queue.submitted)
    for end in [*range(1, len(head) + len(text), 7), len(whole) - 1]:
        with socket.create_connection(("127.0.0.1", door.port)) as connection:
            connection.sendall(whole[:end])
    assert ask(door, "GET", "/v2/health/ready")[0] == 200
    assert len(service.queue.submitted) == before


def test_requests_right_behind_a_tensor_are_answered_too(door):
    text, tensor = packed()
    head = f"POST {INFER} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(text + tensor)}\r\n"
    head += f"Inference-Header-Content-Length: {len(text)}\r\n\r\n"
    one = head.encode() + text + tensor
    with socket.create_connection(("127.0.0.1", door.port), timeout=20) as connection:
        connection.sendall(one * 3 + b"GET /none HTTP/1.1\r\nHost: localhost\r\n"
                           b"Connection: close\r\n\r\n")  # fmt: skip
        found = b""
        while piece := connection.recv(65536):
            found += piece
    assert [part[:3] for part in found.split(b"HTTP/1.1 ")[1:]] == [b"200"] * 3 + [b"404"]


def test_a_large_tensor_comes_whole_however_it_is_cut(door, service):
    volumes = np.random.default_rng(1).random((8, 1, *SIZE), np.float32)
    head = f"POST {INFER} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {volumes.nbytes}\r\n"
    whole = head.encode() + b"Inference-Header-Content-Length: 0\r\n\r\n" + volumes.tobytes()
    cuts = np.random.default_rng(2)
    for _ in range(5):
        ends = [0, *sorted(cuts.integers(0, len(whole), 6)), len(whole)]
        with socket.create_connection(("127.0.0.1", door.port), timeout=20) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for begin, end in itertools.pairwise(ends):
                connection.sendall(whole[begin:end])
                time.sleep(0.002)
            assert connection.recv(15) == b"HTTP/1.1 200 OK"
        np.testing.assert_array_equal(service.queue.submitted[-1].batch, volumes)
