"""Bytes that wait come back once; nothing has a name or stays."""

import errno
import os
import tempfile

import pytest

from darnet_trt.errors import OutputError
from darnet_trt.runtime.prediction.pipeline import spool as spools
from darnet_trt.runtime.prediction.pipeline.spool import Spool


def test_what_is_put_is_taken_in_any_order(monkeypatch):
    monkeypatch.setattr(spools, "SEGMENT", 100)
    spool = Spool(in_memory=50)
    contents = [bytes([number]) * number for number in range(60)]
    kept = [spool.put(content) for content in contents]
    assert isinstance(kept[5], bytes)
    assert not isinstance(kept[50], bytes)
    for number in [*range(0, 60, 2), *range(59, 0, -2)]:
        assert spool.take(kept[number]) == contents[number]
    assert not spool._segments
    assert isinstance(spool.put(b"x" * 50), bytes), "there is room again"
    spool.close()


def test_its_files_have_no_name_and_end_with_it(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    spool = Spool(in_memory=0)
    spool.put(b"x" * 1000)
    assert not list(tmp_path.iterdir())
    assert len(os.listdir("/proc/self/fd")) == before + 1  # noqa: PTH208
    spool.close()
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def test_a_full_disk_says_so(monkeypatch):
    def full(**_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    with pytest.raises(OutputError, match="No space left"):
        Spool(in_memory=0).put(b"x")
