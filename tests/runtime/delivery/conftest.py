"""A result folder, an archive that this folder's tests share, and one that each may spoil."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.runtime.delivery.folders import write_results
from tests.runtime.delivery.orthanc import Orthanc, running


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A folder with the three objects of one result."""
    write_results(tmp_path / "out", 1)
    return tmp_path / "out"


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
