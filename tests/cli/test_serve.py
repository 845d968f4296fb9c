"""`darnet-trt serve` as a process: both doors, its signals, and what its options mean."""

import os
import shutil
import signal
import socket
import subprocess
import threading

import numpy as np
import pytest
from pynetdicom import AE
from pynetdicom.sop_class import CTImageStorage

from darnet_trt.runtime.serving.http.tensors import NAME
from tests.cli.serving import Process, results, serving, until
from tests.runtime.serving.received import one_slice
from tests.tiny_bundle import SIZE, write_bundle

VOLUME = np.zeros((1, 1, *SIZE), np.float32).tobytes()
INFER = f"/v2/models/{NAME}/infer"
RAW = {"Inference-Header-Content-Length": "0", "Content-Type": "application/octet-stream"}
HASTY = {**os.environ, "TCP_NODELAY": "1"}  # Debian's dcmtk waits 40 ms for each slice without


def infer(service):
    return service.ask("POST", INFER, VOLUME, RAW)[0]


def send(service, *files):
    subprocess.run(
        ["storescu", "-aec", "DARNET-TRT", "127.0.0.1", str(service.dicom), *map(str, files)],
        env=HASTY, check=True, capture_output=True,
    )  # fmt: skip


@pytest.fixture
def bundle(tmp_path):
    return write_bundle(tmp_path / "bundle")


def replace(bundle, **more):
    bundle.rename(bundle.with_name(f"{bundle.name}-before-{more}"))
    write_bundle(bundle, **more)


@pytest.mark.skipif(not shutil.which("storescu"), reason="no dcmtk")
def test_a_study_over_dicom_a_reload_and_an_end(bundle, tmp_path, phantom_series):
    state, peers = tmp_path / "state", tmp_path / "peers.toml"
    peers.write_text('[STORESCU]\nhosts = ["127.0.0.0/8"]\nquiet_s = 0.5\n')
    with serving(bundle, state, "--dicom-peers", peers) as service:
        assert infer(service) == 200
        send(service, *phantom_series.iterdir())
        (result,) = until(lambda: results(state)).values()
        assert result["status"] in ("ok", "refused")

        second = Process(bundle, "--state", state, "--http", "off", "--dicom", "127.0.0.1:0")
        assert second.ended() == 2
        assert str(state) in second.lines[-1]

        (bundle / "model.onnx").write_bytes(b"nothing")
        service.signal(signal.SIGHUP)
        service.says("old one stays")
        assert infer(service) == 200
        replace(bundle, bias=3.0)
        service.signal(signal.SIGHUP)
        service.says("loaded again")
        assert infer(service) == 200

        service.signal(signal.SIGTERM)
        assert service.ended() == 0
    assert (state.stat().st_mode & 0o777) == 0o700


def test_sigterm_finishes_what_it_took_over_both_doors(bundle, tmp_path):
    """Slices and requests go on coming while it ends: what was acknowledged has a result."""
    state = tmp_path / "state"
    stored, statuses = [], []
    with serving(bundle, state, "--grace", 4) as service:
        ae = AE()
        ae.add_requested_context(CTImageStorage)
        association = ae.associate("127.0.0.1", service.dicom)
        connection = association.dul.socket.socket

        def store():
            for number in range(1, 2000):
                try:
                    answer = association.send_c_store(one_slice(number))
                except RuntimeError:  # the association has ended
                    return
                if getattr(answer, "Status", None) != 0:
                    return
                stored.append(number)

        def ask():
            while True:
                try:
                    statuses.append(infer(service))
                except OSError:
                    return

        clients = [threading.Thread(target=each) for each in (store, ask, ask)]
        for each in clients:
            each.start()
        until(lambda: len(stored) > 5 and len(statuses) > 5)
        service.signal(signal.SIGTERM)
        assert service.ended() == 0
        for each in clients:
            each.join(30)
        association.join(10)
        connection.close()  # pynetdicom leaves it open where its peer aborts
    assert set(statuses) <= {200, 503}
    assert len(list((state / "studies").rglob("*.dcm"))) >= len(stored)
    (result,) = results(state).values()
    assert result["code"] or result["status"] == "ok"


def test_a_second_signal_ends_it_at_once(bundle, tmp_path):
    head = f"POST {INFER} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(VOLUME)}\r\n"
    with (
        serving(bundle, tmp_path / "state", "--grace", 300) as service,
        socket.create_connection(("127.0.0.1", service.http)) as slow,
    ):
        slow.sendall(f"{head}Inference-Header-Content-Length: 0\r\n\r\n".encode() + VOLUME[:9])
        until(lambda: infer(service) == 200)
        service.signal(signal.SIGTERM)
        service.says("ends within")
        service.signal(signal.SIGTERM)
        assert service.ended(60) == 128 + signal.SIGTERM


@pytest.mark.slow
def test_a_signal_while_it_starts_ends_it(bundle, tmp_path):
    state = tmp_path / "state"
    with serving(bundle, state, ready=False) as service:
        until(lambda: (state / "incoming").exists())
        service.signal(signal.SIGTERM)
        assert service.ended(30) in (0, 128 + signal.SIGTERM)
    with serving(bundle, state) as again:
        assert infer(again) == 200


def test_it_tells_systemd(bundle, tmp_path):
    path, told = tmp_path / "notify", []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(path))

        def listen():
            while (said := systemd.recv(100)) != b"end":
                told.append(said.decode())

        listener = threading.Thread(target=listen)
        listener.start()
        env = {"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": "200000"}
        with serving(bundle, tmp_path / "state", env=env) as service:
            until(lambda: {"READY=1", "WATCHDOG=1"} <= set(told))
            service.signal(signal.SIGHUP)
            service.says("loaded again")
            service.signal(signal.SIGTERM)
            assert service.ended() == 0
        systemd.sendto(b"end", str(path))
        listener.join()
    states = [each.split("\n")[0] for each in told if each != "WATCHDOG=1"]
    assert states == ["READY=1", "RELOADING=1", "READY=1", "STOPPING=1"]
    assert any("\nMONOTONIC_USEC=" in each for each in told)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--http", "off", "--dicom", "off"), "both doors"),
        (("--http", "8000"), "--http"),
        (("--http", "0.0.0.0:0"), "token"),
        (("--dicom", "0.0.0.0:0"), "peer"),
        (("--dicom", "0.0.0.0:0", "--dicom-plain", "CT1"), "--dicom-plain"),
        (("--settle", "CT1=30"), "--dicom-peer"),
        (("--settle", "nan"), "--settle"),
        (("--grace", "inf"), "--grace"),
        (("--dicom-rate", "nan"), "--dicom-rate"),
        (("--keep", "7"), "--keep"),
        (("--keep", "0d"), "--keep"),
        (("--listen", "4000"), "--send"),
        (("--send", "nobody"), "--send"),
        (("--objects", "pdf"), "pdf"),
        (("--tls-cert", "a.pem"), "--tls-cert"),
        (("--tls-cert", "a.pem", "--tls-key", "b.pem"), "a.pem"),
        (("--token-file", "no-such-file"), "--token-file"),
        (("--dicom-peers", "no-such-file"), "no-such-file"),
        (("--artifact", "nothing"), "nothing"),
        (("--ae", "THIS TITLE IS TOO LONG"), "--ae"),
    ],
)
def test_what_does_not_fit_is_one_line(command, bundle, tmp_path, words, says):
    ended = command("serve", bundle, "--state", tmp_path / "state", *words)
    assert ended.returncode == 2
    assert says in ended.stderr.splitlines()[-1]
    assert not (tmp_path / "state").exists()


def test_a_short_token_is_refused(command, bundle, tmp_path):
    token = tmp_path / "token"
    for content in ("short\n", "two words\n", ""):
        token.write_text(content)
        ended = command("serve", bundle, "--state", tmp_path / "state", "--token-file", token)
        assert ended.returncode == 2
        assert "token" in ended.stderr.splitlines()[-1]
