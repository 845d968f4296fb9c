"""What peers answer to C-STORE is shown as what it is, and nothing holds us up for ever."""

import socket
import time
from contextlib import ExitStack
from functools import partial

import pytest
from pynetdicom.acse import ACSE

from darnet_trt.runtime.delivery.peers import dimse
from tests.runtime.delivery.dicom_peers import EXPLICIT, IMPLICIT, peer, raw_peer
from tests.runtime.delivery.folders import PAPER_CLASSES, sop_uid, write_results
from tests.runtime.delivery.orthanc import free_port

# pynetdicom leaves a socket that did not connect to the garbage collector.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning"
)


@pytest.fixture
def hurried(monkeypatch):
    monkeypatch.setattr(dimse, "ANSWER_S", 0.5)
    monkeypatch.setattr(dimse, "CONNECT_S", 0.5)


STATUSES = {
    "1 sent": (0x0000, 0x0001, 0x0107, 0x0111, 0xB000, 0xB006, 0xB123),
    "1 to be tried again": (0xA700, 0xA7FF, 0x0110, 0x0124, 0x0213, 0xFE00, 0x1234),
    "1 refused": (0xA900, 0xA9FF, 0xC000, 0xCFFF, 0x0117, 0x0122, 0x0212),
}


def test_each_objects_status_is_kept(command, tmp_path):
    write_results(tmp_path / "out", 1, "sr")
    expected, words = {}, []
    with ExitStack() as opened:
        for shown, statuses in STATUSES.items():
            for status in statuses:
                answer = partial(lambda status, event: status, status)
                receiver = opened.enter_context(peer(answer))
                expected[receiver.ae] = shown, status
                words += ["--send", receiver.ae]
        done = command("deliver", tmp_path / "out", *words)
    assert done.returncode == 1
    for line in done.stdout.splitlines():
        receiver, _, said = line.partition(": ")
        shown, status = expected.pop(receiver)
        assert said.startswith(shown)
        assert shown == "1 sent" or f"({status:04X})" in said
    assert not expected


def test_the_peers_words_are_shown(command, out):
    from pydicom import Dataset

    def full(event):
        said = Dataset()
        said.Status, said.ErrorComment = 0xA701, "disk full"
        return said

    with peer(full) as receiver:
        done = command("deliver", out, "--send", receiver.ae)
    assert "out of resources (A701): disk full" in done.stdout


def test_some_are_sent_and_some_refused(command, out):
    refused = sop_uid(0, "pm")
    with peer(lambda e: 0xA900 if e.request.AffectedSOPInstanceUID == refused else 0) as receiver:
        done = command("deliver", out, "--send", receiver.ae)
        assert done.returncode == 1
        assert "2 sent, 1 refused" in done.stdout
        again = command("deliver", out)
        assert (again.returncode, len(receiver.stored)) == (1, 3)
        assert "1 refused" in again.stdout
        assert command("deliver", out, "--retry").returncode == 1
        assert len(receiver.stored) == 4


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"require_called_aet": True}, "not called by that AE title"),
        ({"require_calling_aet": ["SOMEBODY"]}, "does not know our AE title"),
    ],
)
def test_a_rejected_association_says_why(command, out, settings, words):
    with peer(**settings) as receiver:
        address = receiver.ae.replace("PEER", "OTHER")
        done = command("deliver", out, "--send", address)
    assert done.returncode == 1
    assert "3 to be tried again" in done.stdout
    assert words in done.stdout


@pytest.mark.parametrize(
    ("coded", "words"),
    [
        (b"\x02\x03\x02", "as many associations"),
        (b"\x02\x03\x01", "temporary congestion"),
        (b"\x01\x01\x01", "source 1, reason 1"),
        (b"\x07\x09\x63", ""),
    ],
)
def test_a_rejection_with_other_reasons(command, out, monkeypatch, coded, words):
    monkeypatch.setattr(dimse, "ANSWER_S", 5.0)  # as long as a busy machine may take to read it

    def reject(connection):
        connection.recv(1 << 16)
        connection.sendall(b"\x03\x00\x00\x00\x00\x04\x00" + coded)
        silent(connection)

    with raw_peer(reject) as receiver:
        done = command("deliver", out, "--send", receiver.ae)
    assert done.returncode == 1
    assert "3 to be tried again" in done.stdout
    assert words in done.stdout


def test_a_rejection_before_pynetdicom_looks_at_the_connection(command, out, monkeypatch):
    sent = ACSE.send_request

    def send(acse):
        sent(acse)
        time.sleep(0.5)  # until the answer is there and the connection is closed

    monkeypatch.setattr(ACSE, "send_request", send)

    def reject(connection):
        connection.recv(1 << 16)
        connection.sendall(b"\x03\x00\x00\x00\x00\x04\x00\x02\x03\x02")
        silent(connection)

    with raw_peer(reject) as receiver:
        done = command("deliver", out, "--send", receiver.ae)
    assert "as many associations" in done.stdout


def test_a_peer_that_takes_some_kinds_gets_these(command, out):
    with peer(classes=[PAPER_CLASSES["sc"]]) as receiver:
        done = command("deliver", out, "--send", receiver.ae)
    assert receiver.stored == [sop_uid(0, "sc")]
    assert "1 sent, 2 refused" in done.stdout
    assert "Comprehensive 3D SR" in done.stdout or "Parametric Map" in done.stdout


def test_a_peer_that_takes_none_of_the_kinds_refuses_them(command, out):
    with peer(classes=[]) as receiver:
        done = command("deliver", out, "--send", receiver.ae)
    assert done.returncode == 1
    assert "3 refused (takes no" in done.stdout


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT])
def test_one_transfer_syntax_is_enough(command, out, syntax):
    with peer(syntaxes=[syntax]) as receiver:
        assert command("deliver", out, "--send", receiver.ae).returncode == 0


def test_an_abort_leaves_the_rest_to_be_tried_again(command, out):
    def abort_at_the_second(event):
        if len(receiver.stored) == 2:
            event.assoc.abort()
        return 0

    with peer(abort_at_the_second) as receiver:
        done = command("deliver", out, "--send", receiver.ae)
        assert "1 sent, 2 to be tried again" in done.stdout
        assert "ended the association" in done.stdout
        assert command("deliver", out, "--retry").returncode == 0
    assert sorted(set(receiver.stored)) == sorted(sop_uid(0, kind) for kind in PAPER_CLASSES)


def test_a_peer_that_does_not_answer_an_object_is_left(command, out, hurried):
    with peer(lambda event: time.sleep(2) or 0) as receiver:
        done = command("deliver", out, "--send", receiver.ae)
    assert done.returncode == 1
    assert "3 to be tried again" in done.stdout
    assert "no answer" in done.stdout


def silent(connection):
    while connection.recv(1 << 16):
        pass


def closing(connection):
    pass


def web_page(connection):
    connection.recv(1 << 16)
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")


def half_a_pdu(connection):
    connection.recv(1 << 16)
    connection.sendall(b"\x02\x00\x00\x00\xff\xff")
    silent(connection)


def garbage(connection):
    connection.recv(1 << 16)
    for _ in range(200):
        connection.sendall(b"\x07\x00\x00\x00\x00\x04\x00\x00\x09\x09" * 1000)


@pytest.mark.parametrize("way", [silent, closing, web_page, half_a_pdu, garbage])
def test_a_peer_that_speaks_no_dicom_is_left(command, out, hurried, way):
    with raw_peer(way) as receiver:
        done = command("deliver", out, "--send", receiver.ae)
    assert done.returncode == 1
    assert "3 to be tried again" in done.stdout
    assert "sent," not in done.stdout


def test_a_peer_that_stops_reading_is_left(command, tmp_path, hurried):
    """Its window fills up, and a send without a limit of time would never return."""
    write_results(tmp_path / "out", 1, "sr", padding=30_000_000)

    def stops(connection):
        with socket.create_connection(("127.0.0.1", template.port)) as behind:
            behind.sendall(connection.recv(1 << 16))
            connection.sendall(behind.recv(1 << 16))
            time.sleep(3)

    with peer() as template, raw_peer(stops) as receiver:
        done = command("deliver", tmp_path / "out", "--send", receiver.ae)
    assert "1 to be tried again" in done.stdout


def test_nobody_there(command, out):
    done = command("deliver", out, "--send", f"PEER@127.0.0.1:{free_port()}")
    assert done.returncode == 1
    assert "connection refused" in done.stdout
    unknown = command("deliver", out, "--send", "PEER@no-such-host.invalid:104")
    assert "no such host" in unknown.stdout


def test_one_peer_does_not_hold_up_another(command, out):
    with peer() as receiver:
        down = f"PEER@127.0.0.1:{free_port()}"
        done = command("deliver", out, "--send", down, "--send", receiver.ae)
    assert done.returncode == 1
    assert f"{receiver.ae}: 3 sent\n" in done.stdout
    assert f"{down}: 3 to be tried again" in done.stdout


def test_a_peer_on_ipv6(command, out):
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("no IPv6 here")
    done = command("deliver", out, "--send", f"PEER@[::1]:{free_port()}")
    assert "connection refused" in done.stdout
