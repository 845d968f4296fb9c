"""Visits of the page, and axe-core where it was fetched."""

import hashlib
import tarfile
import time

import pytest

from darnet_trt.machine.cache import cache_folder

_AXE = "axe-core-4.14.1.tgz"  # .ci/run fetches it from npm
_AXE_SHA256 = "e6b0ce02b84d892e2e33e403485e7f3d6c29e2be6df65daf44d89ba564139745"


@pytest.fixture(scope="session")
def axe():
    """The source of axe-core, which finds what keeps people from using a page."""
    path = cache_folder("axe-core") / _AXE
    if not path.is_file():
        pytest.skip(f"no axe-core at {path}: cd {path.parent} && npm pack axe-core@4.14.1")
    assert hashlib.sha256(path.read_bytes()).hexdigest() == _AXE_SHA256
    with tarfile.open(path) as packed:
        return packed.extractfile("package/axe.min.js").read().decode()


def violations(tab, source):
    """Each fault that axe-core finds: its rule, and the elements."""
    tab.evaluate(source)
    found = tab.evaluate("async () => (await axe.run(document)).violations")
    return [(each["id"], [node["html"][:120] for node in each["nodes"]]) for each in found]


def until(true):
    """Wait for something; the page's policy forbids playwright's own way to."""
    for _ in range(3000):
        if true():
            return
        time.sleep(0.02)
    raise AssertionError("it has not come true")


class Visit:
    """A page that somebody looks at, all that it asked for and complained about."""

    def __init__(self, browser, address, fragment="", **options):
        self.context = browser.new_context(**options)
        self.tab = self.context.new_page()
        self.complaints = []
        self.asked = []
        self.context.on("request", lambda request: self.asked.append(request.url))
        self.tab.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.tab.on("console", self._said)
        self.tab.goto(f"{address}/{fragment}")

    def _said(self, message):
        # The service's refusals are told in words, and Chromium counts each as an error.
        if message.type == "error" and not message.text.startswith("Failed to load resource"):
            self.complaints.append(message.text)
