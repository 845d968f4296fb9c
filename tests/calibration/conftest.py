"""Fixtures of a tiny network's graph and of a cache of the test's own."""

from pathlib import Path

import pytest
from onnx import ModelProto

from tests.export.networks import TINY, graph_of, trained_like


@pytest.fixture(scope="session")
def model() -> ModelProto:
    """The float32 graph of `trained_like(TINY)`; never written to."""
    return graph_of(trained_like(TINY))


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    """An empty cache in place of the user's."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "darnet-trt" / "calibration"
