"""The whole service behind its HTTP door, in this process."""

import time
from contextlib import contextmanager

import httpx
import pytest

from darnet_trt.runtime.serving.service import Service
from darnet_trt.runtime.serving.settings import HttpSettings, Settings
from tests.runtime.prediction.pipeline.studies import write_study
from tests.tiny_bundle import write_bundle


@contextmanager
def whole_service(bundle, state, **settings):
    """Run the service; its HTTP door is the real one."""
    http = {"port": 0, **settings.pop("http", {})}
    fixed = {"workers": 1, "least_free": 0, "quiet_s": 3.0, "shortest_quiet_s": 0.2}
    service = Service(
        Settings(bundle=bundle, state=state, http=HttpSettings(**http), **{**fixed, **settings}),
        lambda line: None,
    )
    try:
        service.start()
        yield service
    finally:
        service.close()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """One service for the tests of a file."""
    folder = tmp_path_factory.mktemp("service")
    bundle = write_bundle(folder / "bundle")
    with whole_service(bundle, folder / "state", objects=("sr", "sc")) as service:
        yield service


@pytest.fixture(scope="module")
def web(whole):
    with httpx.Client(base_url=f"http://127.0.0.1:{whole.http.port}", timeout=60) as client:
        yield client


@pytest.fixture
def study(phantom_series, tmp_path):
    """The slices of a study that did not come before."""
    folder = write_study(phantom_series, tmp_path / "study", time.time_ns())
    return sorted(folder.iterdir())
