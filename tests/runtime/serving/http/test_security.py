"""Who may ask, and who may not."""

import http.client
import ssl
from dataclasses import replace

import pytest

from darnet_trt.errors import UsageError
from darnet_trt.runtime.serving.http.door import HttpDoor
from darnet_trt.runtime.serving.http.security import check_exposure
from darnet_trt.runtime.serving.settings import HttpSettings
from tests.runtime.serving.dicom.certificates import authority, client
from tests.runtime.serving.http.service import VOLUME, StandIn, ask, serving

TOKEN = "0123456789abcdef-token"


@pytest.fixture(scope="module")
def signer(tmp_path_factory):
    return authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def ours(signer):
    return signer.sign("server")


@pytest.mark.parametrize(
    "settings",
    [
        HttpSettings(host="0.0.0.0"),
        HttpSettings(host="::"),
        HttpSettings(host="192.168.1.2"),
        HttpSettings(host="example.org"),
        HttpSettings(host="0.0.0.0", token="short"),
        HttpSettings(token=""),
        HttpSettings(token="with spaces " * 3),
        HttpSettings(token="line\nbreak" * 3),
        HttpSettings(token="ümlaut" * 5),
    ],
)
def test_an_open_door_is_not_opened(settings):
    with pytest.raises(UsageError):
        check_exposure(settings)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "localhost", "::1"])
def test_loopback_needs_no_token(host):
    check_exposure(HttpSettings(host=host))


def test_a_door_without_clients_certificates_needs_a_token(ours):
    with pytest.raises(UsageError):
        check_exposure(HttpSettings(host="0.0.0.0", tls=replace(ours, clients=None)))
    check_exposure(HttpSettings(host="0.0.0.0", tls=ours))
    check_exposure(HttpSettings(host="0.0.0.0", token=TOKEN))


def test_a_port_that_is_taken_is_said(tmp_path):
    service = StandIn(tmp_path)
    with serving(service) as door:
        other = HttpDoor(HttpSettings(port=door.port), service)
        with pytest.raises(UsageError, match=str(door.port)):
            other.start()
        other.close()


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    with serving(StandIn(tmp_path_factory.mktemp("guarded"), token=TOKEN)) as door:
        yield door


ROUTES = [
    ("GET", "/v2"),
    ("GET", "/v2/models/darnet"),
    ("POST", "/v2/models/darnet/infer"),
    ("GET", "/v1/scans"),
    ("POST", "/v1/scans"),
    ("GET", "/v1/events"),
    ("POST", "/v1/reload"),
    ("POST", "/dicomweb/studies"),
    ("GET", "/metrics"),
    ("GET", "/openapi.json"),
    ("GET", "/nothing"),
]


@pytest.mark.parametrize(("method", "path"), ROUTES)
@pytest.mark.parametrize(
    "shown",
    [
        None,
        "Bearer",
        "Bearer ",
        "Bearer x",
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN[:-1]}",
        f"Basic {TOKEN}",
        TOKEN,
        "Bearer \xff\xfe",
    ],
)
def test_without_the_token_nothing_is_given(guarded, method, path, shown):
    headers = {} if shown is None else {"Authorization": shown.encode("latin-1")}
    status, answered, body = ask(guarded, method, path, headers=headers)
    assert (status, list(body)) == (401, ["error"])
    assert answered["WWW-Authenticate"] == "Bearer"
    assert TOKEN not in body["error"]


@pytest.mark.parametrize("path", ["/page/../v1/scans", "//v1/scans", "/page/..%2fv1%2fscans"])
def test_no_spelling_of_a_path_goes_round_the_token(guarded, path):
    status, _, _ = ask(guarded, "GET", path)
    assert status in (401, 404)


def test_with_the_token_all_is_given(guarded):
    for scheme in ("Bearer", "bearer"):
        headers = {"Authorization": f"{scheme} {TOKEN}", "Host": "scanner.example"}
        assert ask(guarded, "GET", "/v2", headers=headers)[0] == 200


@pytest.mark.parametrize("path", ["/", "/v2/health/live", "/v2/health/ready", "/page/app.js"])
def test_what_holds_no_data_needs_no_token(guarded, path):
    assert ask(guarded, "GET", path)[0] == 200


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    with serving(StandIn(tmp_path_factory.mktemp("local"))) as door:
        yield door


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LOCALHOST:80", 200),
        ("127.0.0.1:8000", 200),
        ("[::1]:8000", 200),
        ("evil.example", 403),
        ("localhost.evil.example", 403),
        ("evil.example:8000", 403),
        ("user@evil.example", 403),
        ("localhost@evil.example", 403),
        ("", 403),
        ("[::1", 403),
        ("127.0.0.1.evil.example", 403),
    ],
)
def test_a_name_that_was_bent_to_loopback_is_refused(local, host, status):
    assert ask(local, "GET", "/v2", headers={"Host": host})[0] == status


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://localhost:1234", 200),
        ("http://evil.example", 403),
        ("https://localhost:1", 403),
        ("null", 403),
        ("", 403),
        ("http://[", 403),
    ],
)
def test_a_page_of_another_site_is_refused(local, origin, status):
    headers = {"Host": "localhost:1234", "Origin": origin}
    assert ask(local, "GET", "/v2", headers=headers)[0] == status


def test_no_other_site_is_allowed_to_read(local):
    headers = {"Origin": "http://localhost:1234", "Host": "localhost:1234"}
    _, answered, _ = ask(local, "GET", "/v2", headers=headers)
    assert not [name for name in answered if name.lower().startswith("access-control")]
    preflight = {**headers, "Access-Control-Request-Method": "POST"}
    assert ask(local, "OPTIONS", "/v1/scans", headers=preflight)[0] == 405


def test_mutual_tls_wants_a_certificate_of_ours(signer, ours, tmp_path):
    stranger = authority(tmp_path, "other").sign("stranger")
    with serving(StandIn(tmp_path, tls=ours)) as door:

        def asked(certificate):
            context = client(certificate, signer.path)
            connection = http.client.HTTPSConnection("127.0.0.1", door.port, context=context)
            raw = {"Inference-Header-Content-Length": "0"}
            try:
                connection.request("POST", "/v2/models/darnet/infer", VOLUME.tobytes(), raw)
                return connection.getresponse().status
            finally:
                connection.close()

        for wrong in (None, stranger):
            with pytest.raises((ssl.SSLError, ConnectionError)):
                asked(wrong)
        with pytest.raises((http.client.HTTPException, OSError)):
            ask(door, "GET", "/v2/health/live")  # plain text
        assert asked(signer.sign("client")) == 200
