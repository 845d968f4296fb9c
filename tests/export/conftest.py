"""Fixtures of a tiny run."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from darnet_trt.export.gates import timing
from darnet_trt.export.onnx.writing import Source, load_source
from darnet_trt.training.checkpoint import save_checkpoint
from tests.export.networks import TINY, trained_like


@pytest.fixture(scope="module", autouse=True)
def short_timing() -> Iterator[None]:
    """No test is about how long a build measures its engines: 4 s of each build."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timing, "_ROUNDS", 3)
        patch.setattr(timing, "_TIMING_S", 0.4)
        yield


@pytest.fixture(scope="session")
def run(tmp_path_factory) -> Path:
    """A run's folder with a tiny network; never written to."""
    folder = tmp_path_factory.mktemp("run")
    save_checkpoint(trained_like(TINY), folder)
    return folder


@pytest.fixture(scope="session")
def source(run) -> Source:
    return load_source(run)
