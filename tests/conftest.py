"""Fixtures for every room."""

import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import hypothesis
import pytest

from darnet_trt.cli.main import main
from darnet_trt.errors import BuildError
from darnet_trt.kernels.build import build_library
from darnet_trt.kernels.library import Library
from darnet_trt.machine.cache import cache_folder
from darnet_trt.machine.cpus import share_cpus, usable_cpus
from darnet_trt.phantom import CohortPlan, write_cohort
from darnet_trt.scan.cohorts import read_cohort
from tests import permissions
from tests.tiny_bundle import write_bundle

share_cpus()  # before a test imports torch

_HOME = TemporaryDirectory()  # no test makes a key of pseudonyms in the developer's home
os.environ["XDG_CONFIG_HOME"] = f"{_HOME.name}/config"
_CACHE = cache_folder("").parent
for kept in ("darnet-trt/kernels", "darnet-trt/axe-core", "darnet-trt/tests", "matplotlib", "pip"):
    link = Path(_HOME.name, "cache", kept)  # to what takes long to build or to fetch
    link.parent.mkdir(parents=True, exist_ok=True)
    (_CACHE / kept).mkdir(parents=True, exist_ok=True)
    link.symlink_to(_CACHE / kept)
os.environ["XDG_CACHE_HOME"] = f"{_HOME.name}/cache"
os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before a test imports it without our help
# A busy machine takes longer for an example. A shell's background jobs ignore Ctrl-C, and those of
# nohup SIGHUP.
hypothesis.settings.register_profile(
    "busy", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("busy")
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
_CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
_FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
_DATA = Path(os.environ.get("DARNET_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))


def pytest_xdist_auto_num_workers() -> int:
    """Return the number of workers of `make test`: one more than CPUs, since many tests wait."""
    return min(usable_cpus() + 1, 4)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest starts first, or the others would wait for it at the end."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The real CT series; tests that use it are marked `data`."""
    if not _DATA.is_dir():
        pytest.skip(f"no real CT series at {_DATA} (set DARNET_TEST_DATA)")
    return _DATA


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium, without a window."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    if _CHROMIUM is None:
        pytest.skip("needs chromium")
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=_CHROMIUM, args=list(_FLAGS))
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def cpu_library() -> Path:
    """The plugin that plans can be built with where there is no nvcc."""
    try:
        return build_library("cpu")
    except BuildError as error:
        if error.what.startswith("no "):  # no g++ or cmake
            pytest.skip(str(error))
        raise


@pytest.fixture(scope="session")
def on_cpu(cpu_library: Path) -> Library:
    """The CPU build."""
    return Library(cpu_library)


@pytest.fixture
def no_libraries(tmp_path, monkeypatch) -> Path:
    """An empty cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def one_library(no_libraries, cpu_library) -> Path:
    """A cache with the CPU library alone."""
    home = cache_folder("kernels") / cpu_library.parent.name
    home.mkdir(parents=True)
    return Path(shutil.copy(cpu_library, home))


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A fresh bundle, to be used or spoiled."""
    return write_bundle(tmp_path / "bundle")


@pytest.fixture(scope="session")
def phantom_cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two small synthetic scans as DICOM."""
    out = tmp_path_factory.mktemp("phantoms") / "cohort"
    write_cohort(CohortPlan(scans=2, seed=3, matrix=64, slices=(30, 32)), out)
    return out


@pytest.fixture(scope="session")
def phantom_series(phantom_cohort: Path) -> Path:
    """The folder with the slices of one of them."""
    return read_cohort(phantom_cohort).entries[0].scan


@pytest.fixture
def obeyed_permissions() -> Iterator[None]:
    """Files' permissions count in this test, whoever runs it."""
    with permissions.obeyed():
        yield


class Ended(NamedTuple):
    """What a command left."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Ended]:
    """Run the command line in this process, which is quicker than a new one for each call."""

    def run(*words: object) -> Ended:
        monkeypatch.setattr(sys, "argv", ["darnet-trt", *map(str, words)])
        with pytest.raises(SystemExit) as ending:
            main()
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return Ended(int(ending.value.code or 0), out, err)

    return run
