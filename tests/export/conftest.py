"""Fixtures of a tiny run, and of the plugin's library."""

import shutil
from pathlib import Path

import pytest

from darnet_trt.errors import BuildError
from darnet_trt.export.onnx.writing import Source, load_source
from darnet_trt.kernels.build import build_library
from darnet_trt.machine.cache import cache_folder
from darnet_trt.training.checkpoint import save_checkpoint
from tests.export.networks import TINY, trained_like


@pytest.fixture(scope="session")
def run(tmp_path_factory) -> Path:
    """A run's folder with a tiny network; never written to."""
    folder = tmp_path_factory.mktemp("run")
    save_checkpoint(trained_like(TINY), folder)
    return folder


@pytest.fixture(scope="session")
def source(run) -> Source:
    return load_source(run)


@pytest.fixture(scope="session")
def cpu_library() -> Path:
    """The plugin that plans can be built with where there is no nvcc."""
    try:
        return build_library("cpu")
    except BuildError as error:
        pytest.skip(f"the plugin cannot be compiled: {error}")


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
