"""The page's files over HTTP: types, policy, tags, and that no name leaves the folder."""

import re
from http.client import HTTPConnection
from pathlib import Path
from types import SimpleNamespace

import pytest
from fastapi import FastAPI

from darnet_trt.runtime.serving.page import routes
from tests.runtime.serving.page.stand_in import serving

STATIC = Path(routes.__file__).parent / "static"
NAMES = [path.relative_to(STATIC).as_posix() for path in STATIC.rglob("*.*")]


@pytest.fixture(scope="module")
def ask():
    """Ask for a path as it stands: http.client mends nothing in it."""
    app = FastAPI()
    app.include_router(routes.make_router())
    with serving(app) as address:
        connection = HTTPConnection(address.removeprefix("http://"))

        def asked(path, method="GET", **headers):
            connection.request(method, path, headers=headers)
            answer = connection.getresponse()
            return SimpleNamespace(
                status=answer.status, headers=answer.headers, content=answer.read()
            )

        yield asked
        connection.close()


def test_a_file_is_sent_once_and_then_known_by_its_tag(ask):
    for name in ["", *(f"page/{each}" for each in NAMES)]:
        first = ask(f"/{name}")
        assert first.status == 200
        tag = first.headers["etag"]
        for known in (tag, f'"other", W/{tag}'):
            again = ask(f"/{name}", **{"If-None-Match": known})
            assert (again.status, again.content) == (304, b"")
        changed = ask(f"/{name}", **{"If-None-Match": '"other"'})
        assert changed.content == first.content
        head = ask(f"/{name}", "HEAD")
        assert head.content == b""
        assert head.headers["content-length"] == str(len(first.content))


def test_every_file_has_the_policy_and_its_type(ask):
    kinds = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg"}
    for name in NAMES:
        headers = ask(f"/page/{name}").headers
        assert headers["content-security-policy"] == routes.POLICY
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["content-type"].startswith(kinds[name.rpartition(".")[2]])
    assert "unsafe" not in routes.POLICY


@pytest.mark.parametrize(
    "name",
    ["nowhere.js", "", "../routes.py", "%2e%2e/routes.py", "viewer", "viewer/../app.js/", "a%00b",
     "..%5c..%5croutes.py", "/etc/passwd", "static/app.js", "index.html/"],
)  # fmt: skip
def test_another_name_is_refused(ask, name):
    answer = ask(f"/page/{name}")
    assert answer.status == 404
    assert answer.headers["content-type"].startswith("application/json")


def test_nothing_stands_in_the_page_that_the_policy_forbids():
    page = (STATIC / "index.html").read_text()
    assert not re.search(r"\son\w+=|\sstyle=|<style|https?://", page)
    assert re.findall(r"<script[^>]*>([^<]*)</script>", page) == [""]
    for name in NAMES:
        if name.endswith(".js"):
            text = (STATIC / name).read_text()
            assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(", text)
            for found in re.findall(r'from "(.+?)"', text):
                assert ((STATIC / name).parent / found).is_file()
