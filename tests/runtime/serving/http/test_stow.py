"""A PACS stores instances by STOW-RS."""

import pytest

from tests.runtime.serving.http.sending import related
from tests.runtime.serving.received import a_file


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
