"""An Idempotency-Key serves a request once, also after a restart."""

import os
import socket
import time

import httpx
import pytest

from darnet_trt.runtime.serving.http.v1.idempotency import Record, Records
from tests.runtime.serving.http.conftest import whole_service
from tests.runtime.serving.http.sending import of
from tests.runtime.serving.http.service import wait_until
from tests.runtime.serving.received import a_file
from tests.tiny_bundle import write_bundle


def test_a_key_serves_a_request_once(web, study):
    key = {"Idempotency-Key": f"k-{time.time_ns()}"}
    content = of(study)
    first = web.post("/v1/scans", content=content, headers=key).json()
    again = web.post("/v1/scans?wait=50", content=content, headers=key)
    assert again.status_code == 200
    assert again.json()["known"] == first["known"] == 0  # as it was answered first
    other = web.post("/v1/scans", content=a_file(study="9.9.9"), headers=key)
    assert other.status_code == 422
    assert web.get("/v1/scans").json()["scans"][0]["id"] == first["scans"][0]["id"]


@pytest.mark.parametrize("key", ["", "x" * 256, "ä"])
def test_a_malformed_key_is_refused(web, key):
    answer = web.post(
        "/v1/scans", content=a_file(), headers={"Idempotency-Key": key.encode("latin-1")}
    )
    assert answer.status_code == 400


def test_a_key_of_a_request_under_way_is_409(web, whole):
    uploads = whole.http._app.state.uploads
    sent = {"content": b"text", "headers": {"Idempotency-Key": "way"}}
    with socket.create_connection(("127.0.0.1", whole.http.port)) as first:
        first.sendall(
            b"POST /v1/scans HTTP/1.1\r\nHost: localhost\r\nIdempotency-Key: way\r\n"
            b"Content-Length: 100000\r\n\r\n" + b"x" * 5000
        )
        wait_until(lambda: uploads.busy == 1)
        assert web.post("/v1/scans", **sent).status_code == 409
    wait_until(lambda: web.post("/v1/scans", **sent).status_code == 400)


def test_a_key_holds_over_a_restart(tmp_path, study):
    bundle, key = write_bundle(tmp_path / "bundle"), {"Idempotency-Key": "a/../b"}
    content = of(study)
    for _ in range(2):
        with whole_service(bundle, tmp_path / "state") as service:
            address = f"http://127.0.0.1:{service.http.port}/v1/scans"
            answer = httpx.post(address, content=content, headers=key, timeout=60)
            assert answer.status_code in (200, 202), answer.text
            assert answer.json()["known"] == 0  # as it was answered first
    (file,) = (tmp_path / "state" / "requests").iterdir()
    assert len(file.name) == 64 + len(".json")


def test_records_of_keys_are_not_kept_for_ever(tmp_path):
    records = Records(tmp_path / "requests", keep_s=60)
    record = Record(digest="d", studies=["s"], known=0, ignored={}, refused=[])
    for key in ("old", "new"):
        with records.begun(key) as file:
            records.write(file, record)
            assert records.read(file) == record
    with records.begun("old") as file:
        os.utime(file, (1, 1))
        assert records.read(file) is None
    (tmp_path / "requests" / ".half.json.1999999").touch()  # a killed process left it
    Records(tmp_path / "requests", keep_s=60)
    assert not file.exists()
    assert len([*(tmp_path / "requests").iterdir()]) == 1


def test_a_record_that_is_damaged_is_none(tmp_path):
    records = Records(tmp_path, keep_s=60)
    with records.begun("k") as file:
        file.write_text("{")
        assert records.read(file) is None
