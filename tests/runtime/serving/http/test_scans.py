"""Scans come in over HTTP, are kept, classified once, and shown."""

import concurrent.futures
import contextlib
import io
import json
import os
import socket
import time
import zipfile

import httpx
import numpy as np
import pytest

from darnet_trt.runtime.serving.http.v1.idempotency import Record, Records
from tests.runtime.prediction.pipeline.studies import write_study
from tests.runtime.serving.http.conftest import whole_service
from tests.runtime.serving.http.service import wait_until
from tests.runtime.serving.received import a_file
from tests.tiny_bundle import SIZE, write_bundle

NOBODY = "0" * 32


@pytest.fixture(scope="module")
def web(whole):
    with httpx.Client(base_url=f"http://127.0.0.1:{whole.http.port}", timeout=60) as client:
        yield client


@pytest.fixture
def study(phantom_series, tmp_path):
    """The slices of a study that did not come before."""
    folder = write_study(phantom_series, tmp_path / "study", time.time_ns())
    return sorted(folder.iterdir())


def zipped(members):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return stream.getvalue()


def of(files):
    return zipped({f"../{file.name}": file.read_bytes() for file in files} | {"a.txt": "text"})


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


def test_who_hangs_up_leaves_no_temporary_file(web, whole, study):
    content = of(study)
    head = (
        "POST /v1/scans HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        f"Content-Length: {len(content)}\r\n\r\n"
    )
    before = web.get("/v1/scans").json()
    for end in (0, 1, 100, 5000, len(content) // 2, len(content) - 1):
        with socket.create_connection(("127.0.0.1", whole.http.port)) as connection:
            connection.sendall(head.encode() + content[:end])
    wait_until(lambda: not list((whole.settings.state / "incoming").iterdir()))
    assert web.get("/v1/scans").json() == before


def test_events_tell_of_each_step(web, study):
    with concurrent.futures.ThreadPoolExecutor(1) as pool, web.stream("GET", "/v1/events") as all_:
        lines = all_.iter_lines()
        assert next(lines).startswith(":")
        sent = pool.submit(web.post, "/v1/scans", content=of(study))
        told = (json.loads(line[5:]) for line in lines if line.startswith("data:"))
        last = next(view for view in told if view["state"] == "done")
    assert last["id"] == sent.result().json()["scans"][0]["id"]
    with web.stream("GET", f"/v1/scans/{last['id']}/events") as one:
        told = (json.loads(line[5:]) for line in one.iter_lines() if line.startswith("data:"))
        assert next(told)["id"] == last["id"]


def test_the_service_says_what_it_is_and_reloads(web):
    assert web.get("/v1/service").json()["ready"]
    assert web.post("/v1/reload").status_code == 200
    assert web.get("/v1/deliveries").json() == {"peers": []}
    assert "darnet_http_requests_total" in web.get("/metrics").text
    assert "<html" in web.get("/").text


def related(*files, boundary="bound", kind="application/dicom"):
    body = b"".join(
        f"--{boundary}\r\nContent-Type: {kind}\r\n\r\n".encode() + file + b"\r\n" for file in files
    )
    content = body + f"--{boundary}--\r\n".encode()
    media = f'multipart/related; type="application/dicom"; boundary="{boundary}"'
    return {"content": content, "headers": {"Content-Type": media}}


def test_a_pacs_stores_instances(web, study):
    files = [file.read_bytes() for file in study]
    answer = web.post("/dicomweb/studies", **related(*files))
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/dicom+json")
    body = answer.json()
    assert len(body["00081199"]["Value"]) == len(study)
    assert "00081198" not in body


def test_what_a_pacs_cannot_store_is_named(web):
    one, other = a_file(1, study="1.2.30"), a_file(1, study="1.2.31")
    answer = web.post("/dicomweb/studies/1.2.30", **related(one, other, b"text"))
    assert answer.status_code == 202
    body = answer.json()
    stored, failed = body["00081199"]["Value"], body["00081198"]["Value"]
    assert [each["00081155"]["Value"] for each in stored] == [["1.2.30.1"]]
    assert [each["00081197"]["Value"] for each in failed] == [[0xA900], [0xC000]]
    assert web.post("/dicomweb/studies", **related(b"text")).status_code == 409
    changed = a_file(1, study="1.2.30", SeriesDescription="changed")
    assert web.post("/dicomweb/studies", **related(changed)).status_code == 409


@pytest.mark.parametrize(
    ("path", "request_", "status"),
    [
        ("/dicomweb/studies", {"content": b"x"}, 415),
        ("/dicomweb/studies", {"content": b"x", "headers": {"Content-Type": "a"}}, 415),
        ("/dicomweb/studies", related(kind="application/dicom+json"), 400),
        ("/dicomweb/studies", related(b"{}", kind="application/dicom+json"), 415),
        ("/dicomweb/studies", related(), 400),
        ("/dicomweb/studies/..%2fetc", related(a_file()), 404),
    ],
)
def test_other_requests_to_store_are_refused(web, path, request_, status):
    answer = web.post(path, **request_)
    assert (answer.status_code, list(answer.json())) == (status, ["error"])


def test_a_pacs_may_begin_its_body_with_a_line(web):
    sent = related(a_file(1, study="1.2.32"))
    sent["content"] = b"\r\n" + sent["content"]
    assert web.post("/dicomweb/studies", **sent).status_code == 200


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


def pieces(content, size=10_000):
    return (content[at : at + size] for at in range(0, len(content), size))


@pytest.fixture(scope="module")
def narrow(tmp_path_factory):
    """A service that takes little."""
    folder = tmp_path_factory.mktemp("narrow")
    limits = {"upload": 200_000, "files": 3, "unpacked": 100_000}
    with whole_service(write_bundle(folder / "bundle"), folder / "state", http=limits) as service:
        address = f"http://127.0.0.1:{service.http.port}"
        with httpx.Client(base_url=address, timeout=60) as client:
            yield client, folder / "state"


@pytest.mark.parametrize("start", [b"\0" * 344 + b"n+1\0", b"PK\3\4", b"\0" * 128 + b"DICM", b"x"])
@pytest.mark.parametrize("chunked", [False, True])
def test_an_upload_has_a_limit_while_it_comes(narrow, start, chunked):
    client, state = narrow
    content = start + bytes(2_000_000)
    for path, kind in (("/v1/scans", "application/octet-stream"), ("/dicomweb/studies", PARTS)):
        answer = client.post(
            path,
            content=pieces(content) if chunked else content,
            headers={"Content-Type": kind},
        )
        # what is malformed at its start may be refused for that
        assert answer.status_code == 413 or (chunked and answer.status_code == 400)
        assert list(answer.json()) == ["error"]
    assert not list((state / "incoming").iterdir())
    assert not list((state / "studies").iterdir())


PARTS = "multipart/related; boundary=b"


def test_an_upload_has_a_limit_of_files_and_of_what_it_unpacks_to(narrow):
    client, _ = narrow
    files = [("file", (f"{n}.dcm", a_file(n, study="1.2.40"))) for n in range(1, 5)]
    assert client.post("/v1/scans", files=files).status_code == 400
    many = zipped({f"{n}.dcm": a_file(n, study="1.2.40") for n in range(1, 5)})
    assert client.post("/v1/scans", content=many).status_code == 400
    large = zipped({"1.dcm": a_file(1, study="1.2.41") + bytes(100_000)})
    assert client.post("/v1/scans", content=large).status_code == 400
    assert client.post("/dicomweb/studies", **related(*(f[1][1] for f in files))).status_code == 400


def test_a_disk_that_is_nearly_full_is_429(tmp_path):
    bundle, state = write_bundle(tmp_path / "bundle"), tmp_path / "state"
    with whole_service(bundle, state, least_free=1 << 60) as service:
        address = f"http://127.0.0.1:{service.http.port}"
        one = a_file()
        for path, sent in (
            ("/v1/scans", {"content": one}),
            ("/v1/scans", {"content": zipped({"1.dcm": one})}),
            ("/v1/scans", {"content": b"\0" * 344 + b"n+1\0" + bytes(5000)}),
            ("/v1/scans", {"files": {"file": ("1.dcm", one)}}),
            ("/dicomweb/studies", related(one)),
        ):
            answer = httpx.post(address + path, **sent)
            assert answer.status_code == 429, (path, answer.text)
            assert int(answer.headers["retry-after"]) > 0
        figures = httpx.get(f"{address}/metrics").text
        assert "darnet_refused_total{reason=" in figures
        assert "darnet_ready 0.0" in figures
        ready = httpx.get(f"{address}/v2/health/ready")
        assert ready.status_code == 503
        assert httpx.get(f"{address}/v1/service").json()["why_not_ready"] in ready.text
        assert httpx.get(f"{address}/v2/models/darnet/ready").status_code == 200
    assert not list((state / "incoming").iterdir())


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
        assert time.monotonic() - began < 10  # the bodies would have had 20 s
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
    Records(tmp_path / "requests", keep_s=60)
    assert not file.exists()
    assert len([*(tmp_path / "requests").iterdir()]) == 1


def test_a_record_that_is_damaged_is_none(tmp_path):
    records = Records(tmp_path, keep_s=60)
    with records.begun("k") as file:
        file.write_text("{")
        assert records.read(file) is None
