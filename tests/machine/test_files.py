import errno
import fcntl
import os
import stat
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from darnet_trt.errors import OutputError, UsageError
from darnet_trt.machine.files import (
    as_text,
    cannot_write,
    sole_writer,
    temporary_folder,
    whole_file,
    whole_files,
    whole_text,
)
from tests.full_disk import files_up_to


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


def test_a_text_holds_names_that_are_not_utf8(tmp_path):
    name = os.fsdecode(b"\xe9t\xc3\xa9")
    with whole_text(tmp_path / "a") as text:
        text.write(f"{name}\r\n")
    assert (tmp_path / "a").read_bytes() == as_text(name).encode() + b"\r\n"
    assert as_text(Path("été")) == "été"


def test_a_file_where_a_folder_is_needed(tmp_path):
    (tmp_path / "a").write_bytes(b"old")
    with pytest.raises(OutputError, match="is a file") as refusal:
        write(tmp_path / "a" / "b")
    assert refusal.value.where == str(tmp_path / "a")


@pytest.mark.parametrize(
    ("code", "do"),
    [
        (errno.ENOSPC, "free some space on its disk, and try again"),
        (errno.EDQUOT, "free some space on its disk, and try again"),
        (errno.EACCES, "check its permissions, or choose another place"),
        (errno.EROFS, "choose another place"),
        (errno.EIO, "check free space and permissions, or choose another place"),
    ],
)
def test_the_advice_fits_the_reason(tmp_path, code, do):
    said = str(cannot_write(tmp_path, OSError(code, os.strerror(code))))
    assert said.endswith(f"({os.strerror(code)}); {do}")


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


def test_a_folder_cannot_be_written_as_a_file(tmp_path):
    with pytest.raises(OutputError, match="Is a directory"):
        write(tmp_path)


def test_a_full_disk_leaves_none_of_the_files_that_belong_together(tmp_path):
    (tmp_path / "b").write_bytes(b"old")
    with files_up_to(2**20), pytest.raises(OutputError, match=r"b: .*File too large"):
        whole_files({tmp_path / "a": b"new", tmp_path / "b": bytes(2**20 + 1)})
    assert [(f.name, f.read_bytes()) for f in tmp_path.iterdir()] == [("b", b"old")]


def refused(folder: Path) -> None:
    with (
        pytest.raises(UsageError, match=f"{folder}: another darnet-trt"),
        sole_writer(folder),
    ):
        pass


def test_a_folder_has_one_writer_at_a_time(tmp_path):
    with sole_writer(tmp_path / "out"):
        (tmp_path / "out" / "kept").touch()
        refused(tmp_path / "out")
        refused(tmp_path / "out")
    with sole_writer(tmp_path / "out"):
        refused(tmp_path / "out")
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["kept"]


def test_a_folder_is_locked_under_its_next_name_too(tmp_path):
    with sole_writer(tmp_path / "partial"):
        (tmp_path / "partial" / "kept").touch()
        (tmp_path / "partial").rename(tmp_path / "out")
        refused(tmp_path / "out")
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["kept"]


def test_a_killed_writer_leaves_no_lock(tmp_path):
    program = (
        "import sys, time; from pathlib import Path\n"
        "from darnet_trt.machine.files import sole_writer\n"
        "with sole_writer(Path(sys.argv[1])): print(flush=True); time.sleep(60)"
    )
    writer = subprocess.Popen([sys.executable, "-c", program, tmp_path], stdout=subprocess.PIPE)
    writer.stdout.readline()
    refused(tmp_path)
    writer.kill()
    writer.communicate()
    with sole_writer(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP])
def test_a_share_without_locks_is_written_without_one(tmp_path, monkeypatch, code):
    def flock(descriptor, operation):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", flock)
    with sole_writer(tmp_path):
        (tmp_path / "kept").touch()
    assert [file.name for file in tmp_path.iterdir()] == ["kept"]


def test_an_empty_folder_is_removed_only_if_it_was_created_here(tmp_path):
    (tmp_path / "mine").mkdir()
    for name in ("mine", "new"):
        with sole_writer(tmp_path / name):
            pass
    assert [file.name for file in tmp_path.iterdir()] == ["mine"]


def test_a_file_is_no_folder_to_write_into(tmp_path):
    (tmp_path / "a").touch()
    with (
        pytest.raises(OutputError, match="a: is a file"),
        sole_writer(tmp_path / "a"),
    ):
        pass


def test_no_temporary_folder_can_be_written(monkeypatch, command, tiny):
    monkeypatch.setattr(tempfile, "tempdir", None)
    with files_up_to(0):
        with pytest.raises(OutputError, match=r"temporary folder: .*/tmp.*TMPDIR"):
            temporary_folder()
        done = command("bench", tiny, "--against", "openvino", "--rounds", 1)
    assert done.returncode == 0
    assert "openvino left out: the temporary folder: cannot be written" in done.stderr
