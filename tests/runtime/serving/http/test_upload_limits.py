"""Uploads have limits, and the disk has one."""

import httpx
import pytest

from tests.runtime.serving.http.conftest import whole_service
from tests.runtime.serving.http.sending import related, zipped
from tests.runtime.serving.received import a_file
from tests.tiny_bundle import write_bundle


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
