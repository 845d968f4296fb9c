"""What services answer to STOW-RS is shown as what it is."""

import shutil
import time
from contextlib import ExitStack

import pytest

from darnet_trt.runtime.delivery.peers import stow
from tests.runtime.delivery.dicom_peers import raw_peer
from tests.runtime.delivery.folders import PAPER_CLASSES, sop_uid
from tests.runtime.delivery.orthanc import free_port
from tests.runtime.delivery.web_peers import JSON, module, own_certificate, service

KIND = {"Content-Type": JSON}
REASON = '<DicomAttribute tag="00081197" vr="US"><Value number="1">43264</Value></DicomAttribute>'
XML_MODULE = """<?xml version="1.0"?>
<NativeDicomModel xmlns="http://dicom.nema.org/PS3.19/models/NativeDICOM">
<DicomAttribute tag="000811%s" vr="SQ"><Item number="1">
<DicomAttribute tag="00081155" vr="UI"><Value number="1">%s</Value></DicomAttribute>%s
</Item></DicomAttribute></NativeDicomModel>"""


def xml(number, sop_uid, more=""):
    return (XML_MODULE % (number, sop_uid, more)).encode()


def test_each_object_is_a_request_with_the_file_as_it_is(command, out):
    with service(lambda uid: (200, {"Content-Type": f"{JSON}; charset=utf-8"}, module(uid))) as to:
        done = command("deliver", out, "--send", f"{to.web}/studies/")
    assert (done.returncode, done.stderr) == (0, "")
    assert "3 sent" in done.stdout
    assert sorted(to.stored) == sorted(sop_uid(0, kind) for kind in PAPER_CLASSES)
    assert set(to.paths) == {"/dicom-web/studies"}
    assert {each["Host"] for each in to.headers} == {f"127.0.0.1:{to.port}"}
    assert all('type="application/dicom"' in each["Content-Type"] for each in to.headers)


# fmt: off
ANSWERS = [
    (lambda uid: (200, KIND, module(uid, warning=0xB000)), "3 sent"),
    (lambda uid: (202, KIND, module(uid, warning=0xB007)), "3 sent"),
    (lambda uid: (200, {}, xml(99, uid)), "3 sent"),
    (lambda uid: (409, {}, xml(98, uid, REASON)), "3 refused (data set does not match"),
    (lambda uid: (200, {}, xml(98, uid)), "3 to be tried again"),
    (lambda uid: (200, {}, b"<NativeDicomModel><DicomAttribute/>"), "3 to be tried again"),
    (lambda uid: (202, KIND, module(failed={uid: 0xA900})), "3 refused (data set does not match"),
    (lambda uid: (409, KIND, module(failed={uid: 0xC122})), "3 refused (transfer syntax not"),
    (lambda uid: (409, KIND, module(failed={uid: 0x0122})), "3 refused (SOP class not supported"),
    (lambda uid: (409, KIND, module(failed={uid: 0xA700})), "3 to be tried again"),
    (lambda uid: (409, KIND, module(failed={uid: 0x0110})), "3 to be tried again"),
    (lambda uid: (200, KIND, module(failed={uid: 0xA700})), "3 to be tried again"),
    (lambda uid: (409, KIND, module(uid)), "3 to be tried again"),
    (lambda uid: (409, {}, b""), "3 to be tried again"),
    (lambda uid: (200, KIND, module("1.2.3")), "3 to be tried again"),
    (lambda uid: (200, KIND, module()), "3 to be tried again"),
    (lambda uid: (200, {}, b""), "without saying what became of the object"),
    (lambda uid: (204, {}, b""), "3 to be tried again"),
    (lambda uid: (200, {"Content-Type": "text/html"}, b"<p>Log in"), "3 to be tried again"),
    (lambda uid: (200, KIND, b"\xff\x00{"), "3 to be tried again"),
    (lambda uid: (200, KIND, b'[[[1]]]'), "3 to be tried again"),
    (lambda uid: (200, KIND, b"[" * 100_000), "3 to be tried again"),
    (lambda uid: (200, KIND, b'{"00081199": {"Value": [7, null]}}'), "3 to be tried again"),
    (lambda uid: (200, KIND, b'{"00081198": {"Value": [{"00081197": {"Value": ["x"]}}]}}'), "3 to"),
    (lambda uid: (200, {"Content-Encoding": "gzip"}, b"no gzip"), "3 to be tried again"),
    (lambda uid: (400, {}, b""), "3 refused (bad request"),
    (lambda uid: (413, {}, b""), "3 refused (too large"),
    (lambda uid: (415, {}, b""), "3 refused (takes no such media type"),
    (lambda uid: (401, {"WWW-Authenticate": "Basic"}, b""), "~/.netrc"),
    (lambda uid: (403, {}, b""), "3 to be tried again"),
    (lambda uid: (404, {}, b""), "check the address"),
    (lambda uid: (429, {}, b""), "3 to be tried again"),
    (lambda uid: (500, {}, b""), "3 to be tried again"),
    (lambda uid: (503, {"Retry-After": "9"}, b""), "HTTP 503"),
    (lambda uid: (302, {"Location": "/dicom-web/login"}, b""), "redirects to /dicom-web/login"),
    (lambda uid: (307, {"Location": "http://elsewhere/\x01"}, b""), "redirects to"),
    (lambda uid: (999, {}, b""), "3 to be tried again"),
]
# fmt: on


def test_an_answer_is_shown_as_what_it_is(command, out):
    expected, words = {}, []
    with ExitStack() as opened:
        for number, (reply, shown) in enumerate(ANSWERS):
            address = opened.enter_context(service(reply)).web
            expected[address] = number, shown
            words += ["--send", address]
        done = command("deliver", out, *words)
    assert (done.returncode, done.stderr) == (1, "")
    for line in done.stdout.splitlines():
        address, _, said = line.partition(": ")
        number, shown = expected.pop(address)
        assert shown in said, number
        assert (" sent" in said) == (" sent" in shown), number
    assert not expected


def test_one_object_is_refused_and_the_others_are_sent(command, out):
    refused = sop_uid(0, "pm")

    def reply(uid):
        return (413, {}, b"") if uid == refused else (200, KIND, module(uid))

    with service(reply) as to:
        done = command("deliver", out, "--send", to.web)
    assert "2 sent, 1 refused (too large" in done.stdout


def test_one_object_that_a_service_fails_at_holds_up_no_other(command, out):
    def reply(uid):
        return (500, {}, b"") if uid == sop_uid(0, "sr") else (200, KIND, module(uid))

    with service(reply) as to:
        done = command("deliver", out, "--send", to.web)
    assert "2 sent, 1 to be tried again" in done.stdout


def nothing(connection):
    connection.recv(1 << 16)


def words_of_another_protocol(connection):
    connection.recv(1 << 16)
    connection.sendall(b"220 mail.example ESMTP\r\n")


def half_an_answer(connection):
    connection.recv(1 << 16)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{")


def endless(connection):
    connection.recv(1 << 16)
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(100):
        connection.sendall(b"10000\r\n" + b"[" * 0x10000 + b"\r\n")


def silent(connection):
    time.sleep(1.5)


BREAKS = [nothing, words_of_another_protocol, half_an_answer, endless, silent]


@pytest.mark.parametrize("way", BREAKS)
def test_a_service_that_breaks_the_protocol_is_left(command, out, monkeypatch, way):
    monkeypatch.setattr(stow, "ANSWER_S", 0.5)
    with raw_peer(way) as to:
        done = command("deliver", out, "--send", f"http://127.0.0.1:{to.port}/dicom-web")
    assert done.returncode == 1
    assert "3 to be tried again" in done.stdout
    assert done.stderr == ""


def test_no_service_there(command, out):
    done = command("deliver", out, "--send", f"http://127.0.0.1:{free_port()}")
    assert "3 to be tried again" in done.stdout
    assert "(connection refused)" in done.stdout
    unknown = command("deliver", out, "--send", "https://no-such-host.invalid/dicom-web")
    assert unknown.returncode == 1


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl to make a certificate")
def test_a_certificate_must_be_known(command, out, tmp_path, monkeypatch):
    certificate = own_certificate(tmp_path)
    with service(lambda uid: (200, KIND, module(uid)), certificate) as to:
        done = command("deliver", out, "--send", to.web)
        assert done.returncode == 1
        assert "certificate is not accepted (self-signed certificate" in done.stdout
        assert to.stored == []
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
        assert command("deliver", out, "--retry").returncode == 0
        plain = to.web.replace("https", "http")
        assert command("deliver", out, "--send", plain).returncode == 1
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "nowhere"))
        nowhere = command("deliver", out, "--send", f"{to.web}/other")
        assert "nowhere" in nowhere.stdout


def test_a_user_of_the_netrc_is_told(command, out, tmp_path, monkeypatch):
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password secret\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    with service(lambda uid: (200, KIND, module(uid))) as to:
        assert command("deliver", out, "--send", to.web).returncode == 0
    assert {each["Authorization"] for each in to.headers} == {"Basic bWU6c2VjcmV0"}
