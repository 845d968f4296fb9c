"""Fixtures of a tiny network's graph and of a cache of the test's own."""

from pathlib import Path

import pytest
from onnx import ModelProto

from darnet_trt.export.onnx.graph import build_graph
from darnet_trt.export.onnx.weights import folded
from tests.export.networks import TINY, trained_like


@pytest.fixture(scope="session")
def model() -> ModelProto:
    """The float32 graph of `trained_like(TINY)`; never written to."""
    return build_graph(TINY, folded(trained_like(TINY).model()), "fp32", {"precision": "fp32"})


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    """An empty cache in place of the user's."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "darnet-trt" / "calibration"
