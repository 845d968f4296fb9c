"""Scans come in over HTTP, are kept, classified once, and shown."""

import concurrent.futures
import contextlib
import json
import socket
import time

import numpy as np
import pytest

from tests.runtime.serving.http.conftest import whole_service
from tests.runtime.serving.http.sending import of, related, zipped
from tests.runtime.serving.http.service import wait_until
from tests.runtime.serving.received import a_file
from tests.tiny_bundle import SIZE, write_bundle

NOBODY = "0" * 32


def test_a_zip_becomes_a_study_with_its_results(web, study, whole):
    answer = web.post("/v1/scans?wait=50", content=of(study))
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert (body["known"], body["ignored"], body["refused"]) == (0, {"text": 1}, [])
    (view,) = body["scans"]
    assert (view["state"], view["received"], view["used"]) == ("done", len(study), len(study))
    (result,) = view["results"]
    assert result["class"] in result["probabilities"]
    home = f"/v1/scans/{view['id']}"
    assert web.get(home).json() == view
    assert view in web.get("/v1/scans").json()["scans"]
    instances = web.get(f"{home}/instances").json()["instances"]
    assert [each["fate"] for each in instances] == ["used"] * len(study)
    assert web.get(f"{home}/objects/sr").content[128:132] == b"DICM"
    assert web.get(f"{home}/objects/pm").status_code == 404
    assert web.get(f"{home}/overlay.png").content.startswith(b"\x89PNG")
    head, _, rest = web.get(f"{home}/evidence").content.partition(b"\n")
    head = json.loads(head)
    assert head["shape"] == [*SIZE]
    assert len(rest) == np.prod(head["shape"]) + 2 * np.prod(head["cam_shape"])
    assert not list((whole.settings.state / "incoming").iterdir())


def test_what_comes_again_is_known(web, study):
    web.post("/v1/scans?wait=50", content=of(study))
    again = web.post("/v1/scans?wait=50", content=of(study))
    assert (again.status_code, again.json()["known"]) == (200, len(study))


def test_a_form_brings_slices_one_by_one(web, study):
    parts = [("file", (file.name, file.read_bytes())) for file in study]
    parts += [("file", ("a.txt", b"text")), ("file", ("b.dcm", b"\0" * 128 + b"DICM"))]
    body = web.post("/v1/scans", files=parts, data={"note": "x"}).json()
    assert [each["name"] for each in body["refused"]] == ["a.txt", "b.dcm"]
    assert body["scans"][0]["received"] == len(study)


REFUSED = {
    "nothing": b"",
    "text": b"some text",
    "a PDF": b"%PDF-1.4 and more",
    "a broken zip": b"PK\3\4" + b"\0" * 100,
    "a zip without scans": zipped({"a.txt": "text"}),
    "an empty zip": zipped({}),
    "a bomb": zipped({f"{n}.dcm": b"\0" * 128 + b"DICM" + b"\0" * 60_000_000 for n in range(2)}),
    "broken NIfTI": b"\0" * 344 + b"n+1\0" + b"\0" * 10,
    "NRRD with its voxels elsewhere": b"NRRD0004\ntype: short\ndimension: 3\nsizes: 1 1 1\n"
    b"encoding: raw\ndata file: /etc/passwd\n\n",
    "MetaImage with its voxels elsewhere": b"ObjectType = Image\nNDims = 3\nDimSize = 1 1 1\n"
    b"ElementType = MET_SHORT\nElementDataFile = /etc/passwd\n",
}


@pytest.mark.parametrize("content", REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("form", [False, True])
def test_what_is_no_scan_is_refused_in_one_line(web, whole, content, form):
    sent = {"files": {"file": ("x", content)}} if form else {"content": content}
    answer = web.post("/v1/scans", **sent)
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert "\n" not in error
    assert str(whole.settings.state) not in error
    assert not list((whole.settings.state / "incoming").iterdir())


@pytest.mark.parametrize(
    "kind",
    [
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=other",
        "multipart/form-data; boundary=" + 300 * "x",
    ],
)
def test_a_malformed_form_is_refused(web, kind):
    body = b'--b\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\nx\r\n--b--\r\n'
    assert web.post("/v1/scans", content=body, headers={"Content-Type": kind}).status_code == 400


@pytest.mark.parametrize("end", [10, 60, 90, 100])
def test_a_form_that_is_cut_is_refused(web, end):
    body = b'--b\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\nx\r\n--b--\r\n'
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    answer = web.post("/v1/scans", content=body[: min(end, len(body) - 5)], headers=headers)
    assert answer.status_code == 400


@pytest.mark.parametrize(
    "path",
    [
        f"/v1/scans/{NOBODY}",
        f"/v1/scans/{NOBODY}/instances",
        f"/v1/scans/{NOBODY}/objects/sr",
        f"/v1/scans/{NOBODY}/overlay.png",
        f"/v1/scans/{NOBODY}/evidence",
        f"/v1/scans/{NOBODY}/events",
        "/v1/scans/..%2f..%2fetc",
        "/v1/scans/x",
        "/v1/nothing",
    ],
)
def test_what_is_not_there_is_404(web, path):
    answer = web.get(path)
    assert (answer.status_code, list(answer.json())) == (404, ["error"])


@pytest.mark.parametrize("query", ["limit=0", "limit=x", "limit=1000", "before=x", "before=../.."])
def test_a_malformed_question_is_400(web, query):
    answer = web.get(f"/v1/scans?{query}")
    assert (answer.status_code, list(answer.json())) == (400, ["error"])


def ids(web):
    return [view["id"] for view in web.get("/v1/scans").json()["scans"]]


def test_who_hangs_up_leaves_no_temporary_file(web, whole, study):
    content = of(study)
    head = (
        "POST /v1/scans HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        f"Content-Length: {len(content)}\r\n\r\n"
    )
    before = ids(web)
    for end in (0, 1, 100, 5000, len(content) // 2, len(content) - 1):
        with socket.create_connection(("127.0.0.1", whole.http.port)) as connection:
            connection.sendall(head.encode() + content[:end])
    wait_until(lambda: not list((whole.settings.state / "incoming").iterdir()))
    assert ids(web) == before


def test_events_tell_of_each_step(web, study):
    with concurrent.futures.ThreadPoolExecutor(1) as pool, web.stream("GET", "/v1/events") as all_:
        lines = all_.iter_lines()
        assert next(lines).startswith(":")
        sent = pool.submit(web.post, "/v1/scans", content=of(study))
        told = (json.loads(line[5:]) for line in lines if line.startswith("data:"))
        own = sent.result().json()["scans"][0]["id"]
        assert any((view["id"], view["state"]) == (own, "done") for view in told)
    with web.stream("GET", f"/v1/scans/{own}/events") as one:
        told = (json.loads(line[5:]) for line in one.iter_lines() if line.startswith("data:"))
        assert next(told)["id"] == own


def test_the_service_says_what_it_is_and_reloads(web):
    assert web.get("/v1/service").json()["ready"]
    assert web.post("/v1/reload").status_code == 200
    assert web.get("/v1/deliveries").json() == {"peers": []}
    assert "darnet_http_requests_total" in web.get("/metrics").text
    assert "<html" in web.get("/").text


@pytest.mark.parametrize("wait", ["nan", "inf", "-1", "301", "x", ""])
def test_a_wait_that_makes_no_sense_is_400(web, wait):
    assert web.post(f"/v1/scans?wait={wait}", content=b"x").status_code == 400


def test_a_deadline_that_cannot_be_met_is_refused_at_once(web):
    tensor = {"name": "volume", "shape": [1, 1, *SIZE], "datatype": "FP32"}
    tensor["data"] = [0.5] * int(np.prod(SIZE))
    body = {"inputs": [tensor], "parameters": {"timeout": 1}}
    answer = web.post("/v2/models/darnet/infer", json=body)
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) >= 0
    del body["parameters"]
    answer = web.post("/v2/models/darnet/infer", json=body)
    assert answer.status_code == 200
    assert {output["name"] for output in answer.json()["outputs"]} == {"logits", "probabilities"}


def test_a_service_that_ends_leaves_half_an_upload(tmp_path):
    bundle, state = write_bundle(tmp_path / "bundle"), tmp_path / "state"
    heads = [
        b"POST /v1/scans HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n" + start
        for start in (b"PK\3\4", b"\0" * 344 + b"n+1\0", b"\0" * 128 + b"DICM")
    ]
    with contextlib.ExitStack() as opened:
        with whole_service(bundle, state) as service:
            for head in heads:
                connection = socket.create_connection(("127.0.0.1", service.http.port))
                opened.enter_context(connection)
                connection.sendall(head + b"x" * 5000)
            wait_until(lambda: service.http._app.state.uploads.busy == 3)
            began = time.monotonic()
        assert time.monotonic() - began < 20  # as long as the bodies would have had
    assert not list((state / "incoming").iterdir())


def test_scans_are_taken_while_the_engine_is_away(web, whole):
    whole.ready, whole.why_not_ready = False, "the engine failed"
    try:
        assert web.post("/v1/scans", content=a_file(1, study="1.2.50")).status_code in (200, 202)
        assert (
            web.post("/dicomweb/studies", **related(a_file(2, study="1.2.50"))).status_code == 200
        )
        assert web.post("/v2/models/darnet/infer", content=b"{}").status_code == 503
        assert not web.get("/v1/service").json()["ready"]
    finally:
        whole.ready, whole.why_not_ready = True, ""
