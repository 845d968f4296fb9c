"""What no usual client sends: half requests, slow ones, too many, and garbage."""

import contextlib
import json
import random
import select
import socket
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from darnet_trt.runtime.serving.http import bodies, protocol
from tests.runtime.serving.http.service import StandIn, ask, serving, wait_until

INFER = b"POST /v2/models/darnet/infer HTTP/1.1\r\nHost: localhost\r\n"


@pytest.fixture(scope="module")
def door(tmp_path_factory):
    with serving(StandIn(tmp_path_factory.mktemp("door"), connections=12)) as door:
        yield door


def connect(door):
    connection = socket.create_connection(("127.0.0.1", door.port), timeout=60)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def read_all(connection):
    """What comes until the other side ends the connection."""
    found = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := connection.recv(65536):
            found += piece
    return found


def parsed(answer):
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


def test_garbage_is_400(door):
    for garbage in (
        b"\r\n\r\nx\r\n\r\n",
        b"GET\r\n\r\n",
        b"\x16\x03\x01\x02\x00",
        b"GET / HTTP/9.9\r\n\r\n",
    ):
        with connect(door) as connection:
            connection.sendall(garbage)
            status, body = parsed(read_all(connection))
            assert (status, list(body)) == (400, ["error"])


@pytest.mark.parametrize(
    "head",
    [
        b"GET /" + b"x" * 40_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 40_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 20_000 + b"\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 2_000_000,
    ],
)
def test_a_head_has_a_limit(door, head):
    with connect(door) as connection:
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            connection.sendall(head)
        answer = read_all(connection)
        assert not answer or parsed(answer)[0] == 431
    with connect(door) as connection:  # one that is sent slowly enough to be answered
        for at in range(0, len(head), 30_000):
            try:
                connection.sendall(head[at : at + 30_000])
            except (ConnectionResetError, BrokenPipeError):
                break
            time.sleep(0.002)
    assert ask(door, "GET", "/v2/health/live")[0] == 200


def test_lengths_that_contradict_are_refused(door):
    for head in (
        b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"Content-Length: -1\r\n\r\n",
        b"Content-Length: 99999999999999999999999999\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"Transfer-Encoding: other\r\n\r\n",
    ):
        with connect(door) as connection:
            connection.sendall(INFER + b"Connection: close\r\n" + head)
            connection.shutdown(socket.SHUT_WR)
            status, body = parsed(read_all(connection))
            assert (400 <= status < 500, list(body)) == (True, ["error"]), head


def test_connections_that_ask_for_nothing_give_way(door):
    with contextlib.ExitStack() as opened:
        silent = [opened.enter_context(connect(door)) for _ in range(12)]
        time.sleep(0.1)
        assert ask(door, "GET", "/v2/health/live")[0] == 200
        (ended,) = select.select(silent, [], [], 60)[0]
        assert read_all(ended) == b""
        kept = next(each for each in silent if each is not ended)
        kept.sendall(b"GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b" 200 " in kept.recv(4096)


def test_more_connections_than_allowed_are_refused(door):
    head = b"POST /v1/scans HTTP/1.1\r\nHost: localhost\r\nContent-Length: 65536\r\n\r\n"
    with contextlib.ExitStack() as opened:
        for _ in range(12):
            opened.enter_context(connect(door)).sendall(head)
        wait_until(lambda: door._app.state.uploads.busy == 12)
        with connect(door) as late:
            status, body = parsed(read_all(late))
            assert (status, list(body)) == (503, ["error"])
    wait_until(lambda: _answers(door))


def _answers(door):
    try:
        return ask(door, "GET", "/v2/health/live")[0] == 200
    except OSError:
        return False


@pytest.fixture
def hurried(monkeypatch):
    monkeypatch.setattr(protocol, "SILENCE_S", 0.3)
    monkeypatch.setattr(bodies, "PAUSE_S", 0.3)


@pytest.mark.parametrize("sent", [b"", b"GET / HTT", b"GET /v2 HTTP/1.1\r\nHost: local"])
def test_a_silent_connection_is_ended(door, hurried, sent):
    with connect(door) as connection:
        connection.sendall(sent)
        assert read_all(connection) == b""


def test_a_head_that_trickles_is_ended(door, hurried):
    with connect(door) as connection, contextlib.suppress(OSError):
        connection.sendall(b"GET /v2 HTTP/1.1\r\n")
        for _ in range(100):
            connection.sendall(b"X: y\r\n")
            time.sleep(0.05)
        pytest.fail("it was not ended")


@pytest.mark.parametrize("path", [b"/v2/models/darnet/infer", b"/v1/scans"])
@pytest.mark.parametrize("already", [0, 10_000])
def test_a_body_that_trickles_is_ended(door, hurried, path, already):
    head = b"POST %b HTTP/1.1\r\nHost: localhost\r\nContent-Length: 65536\r\n" % path
    head += b"Inference-Header-Content-Length: 0\r\n\r\n"
    with connect(door) as connection:
        connection.sendall(head + b"x" * already)
        connection.settimeout(0.02)
        began, answer = time.monotonic(), b""
        while b"\r\n\r\n" not in answer:
            assert time.monotonic() - began < 60
            with contextlib.suppress(TimeoutError):
                connection.sendall(b"x")
                answer += connection.recv(65536)
        assert answer.startswith(b"HTTP/1.1 408")


def test_a_connection_is_used_again_after_a_refusal(door):
    head = INFER + b"Content-Length: 5\r\n\r\n"
    with connect(door) as connection:
        for _ in range(3):
            connection.sendall(head + b"hello")
            assert b" 400 " in connection.recv(65536).partition(b"\r\n")[0]


def test_requests_in_a_row_are_answered_in_their_order(door):
    with connect(door) as connection:
        connection.sendall(
            (b"GET /v2 HTTP/1.1\r\nHost: localhost\r\n\r\n" * 20)
            + b"GET /none HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        )
        answers = read_all(connection).split(b"HTTP/1.1 ")[1:]
    assert [answer[:3] for answer in answers] == [b"200"] * 20 + [b"404"]


METHODS = [b"GET", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"HEAD", b"CONNECT", b"TRACE", b"PRI"]
PATHS = [
    b"/v2", b"/v2/models/darnet/infer", b"/v1/scans", b"/v1/scans/%00", b"/dicomweb/studies/1",
    b"*", b"//", b"/%ff", b"/v1/scans?limit=%ff", b"http://x/", b"/\xff", b"", b"/v1/events/..",
]  # fmt: skip
HEADERS = [
    b"Host: localhost", b"Content-Length: 3", b"Transfer-Encoding: chunked",
    b"Expect: 100-continue",
    b"Content-Type: multipart/form-data; boundary=b", b"Upgrade: websocket", b"Connection: Upgrade",
    b"Content-Type: multipart/related; boundary=b", b"Inference-Header-Content-Length: 2",
    b"Idempotency-Key: x", b"Content-Encoding: gzip", b"Range: bytes=0-", b"X: \xff\xfe",
]  # fmt: skip


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from(METHODS), st.sampled_from(PATHS),
    st.sampled_from([b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b"", b"HTCPCP/1.0"]),
    st.lists(st.sampled_from(HEADERS), max_size=6), st.binary(max_size=40),
)  # fmt: skip
def test_no_request_is_a_500(whole, method, path, version, headers, body):
    request = b" ".join((method, path, version)) + b"\r\n" + b"".join(h + b"\r\n" for h in headers)
    with connect(whole.http) as connection:
        with contextlib.suppress(OSError):
            connection.sendall(request + b"\r\n" + body)
            connection.shutdown(socket.SHUT_WR)
        answer = read_all(connection)
    assert b"HTTP/1.1 5" not in answer


def test_random_bytes_leave_the_service_well(door):
    dice = random.Random(0)
    for _ in range(100):
        with connect(door) as connection, contextlib.suppress(OSError):
            connection.sendall(dice.randbytes(dice.randrange(1, 2000)))
    wait_until(lambda: _answers(door))
