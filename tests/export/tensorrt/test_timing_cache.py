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


class _Refusing:
    """A builder's configuration that makes no cache of the contents in `refused`."""

    def __init__(self, config, refused):
        self._config, self._refused = config, refused
        self.given = []

    def create_timing_cache(self, content):
        return None if content in self._refused else self._config.create_timing_cache(content)

    def set_timing_cache(self, cache, ignore_mismatch):
        self.given.append(cache)
        return self._config.set_timing_cache(cache, ignore_mismatch)

    def get_timing_cache(self):
        return self._config.get_timing_cache() if self.given else None


def test_content_that_makes_no_cache_is_replaced(tmp_path, config):
    (tmp_path / "x.cache").write_bytes(b"old")
    refusing = _Refusing(config, [b"old"])
    timing_cache.load(refusing, tmp_path / "x.cache")
    assert len(refusing.given) == 1
    assert timing_cache.store(refusing, tmp_path / "x.cache") is None
    assert (tmp_path / "x.cache").read_bytes() != b"old"


def test_a_builder_without_any_cache_still_builds(tmp_path, config):
    refusing = _Refusing(config, [b""])
    timing_cache.load(refusing, tmp_path / "x.cache")
    assert refusing.given == []
    assert timing_cache.store(refusing, tmp_path / "x.cache")
    assert not (tmp_path / "x.cache").exists()
