"""The timing cache's file, with the objects of TensorRT-RTX, whose caches stay empty."""

import os

import pytest

from darnet_trt.export.tensorrt import timing_cache

trt = pytest.importorskip("tensorrt_rtx", reason="tensorrt_rtx is not installed")
pytestmark = pytest.mark.filterwarnings("ignore:.*[Tt]iming cache:DeprecationWarning")


@pytest.fixture
def config():
    builder = trt.Builder(trt.Logger(trt.Logger.INTERNAL_ERROR))
    return builder.create_builder_config()


def test_a_damaged_cache_is_replaced(no_libraries, config):
    file = timing_cache.file_for("11.1.0", "sm90")
    file.parent.mkdir(parents=True)
    file.write_bytes(b"not a cache" * 10)
    timing_cache.load(config, file)
    assert timing_cache.store(config, file) is None
    assert b"not a cache" not in file.read_bytes()


def test_an_unwritable_cache_gives_the_reason(tmp_path, monkeypatch, config):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    file = timing_cache.file_for("11.1.0", "sm90")
    timing_cache.load(config, file)
    assert os.strerror(20) in timing_cache.store(config, file)
