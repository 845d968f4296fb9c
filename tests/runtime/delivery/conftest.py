"""An archive that this folder's tests share, and one that each may spoil."""

from collections.abc import Iterator

import pytest

from tests.runtime.delivery.orthanc import Orthanc, running


@pytest.fixture(scope="session")
def shared_archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    with running(tmp_path_factory.mktemp("orthanc")) as archive:
        yield archive


@pytest.fixture
def archive(shared_archive: Orthanc) -> Orthanc:
    """An archive that holds nothing."""
    shared_archive.empty()
    return shared_archive


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is on this machine is reached without a proxy."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    monkeypatch.setenv("no_proxy", "127.0.0.1,localhost")
