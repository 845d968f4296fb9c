import os
import stat
import threading
from pathlib import Path

import pytest

from darnet_trt.errors import OutputError
from darnet_trt.output import whole_file


def write(path: Path, content: bytes = b"new") -> None:
    with whole_file(path) as file:
        file.write(content)


def test_an_error_keeps_the_old_file_and_leaves_nothing_else(tmp_path):
    def stopped():
        with whole_file(tmp_path / "a") as file:
            file.write(b"half")
            raise KeyboardInterrupt

    (tmp_path / "a").write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert [(f.name, f.read_bytes()) for f in tmp_path.iterdir()] == [("a", b"old")]
    write(tmp_path / "a")
    assert [(f.name, f.read_bytes()) for f in tmp_path.iterdir()] == [("a", b"new")]


def test_a_file_where_a_folder_is_needed(tmp_path):
    (tmp_path / "a").write_bytes(b"old")
    with pytest.raises(OutputError, match=r"a/b: is a file where a folder is needed"):
        write(tmp_path / "a" / "b")


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "a").write_bytes(b"old")
    (tmp_path / "link").symlink_to("a")
    write(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "a").read_bytes() == b"new"


def test_a_pipe_stays_a_pipe(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    read = []
    reader = threading.Thread(target=lambda: read.append((tmp_path / "pipe").read_bytes()))
    reader.start()
    write(tmp_path / "pipe")
    reader.join()
    assert read == [b"new"]
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_a_folder_is_told(tmp_path):
    with pytest.raises(OutputError, match="Is a directory"):
        write(tmp_path)
