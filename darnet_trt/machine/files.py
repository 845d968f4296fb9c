"""Write whole files, keep a folder to one writer, and name what cannot be written."""

from __future__ import annotations

import errno
import io
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final, TextIO

import psutil

from darnet_trt.errors import OutputError, UsageError

LOCK: Final = ".darnet-trt.lock"
"""The file that `sole_writer` locks in a folder."""

_TEMPORARY: Final = re.compile(r"\.(?P<name>.+)\.(?P<pid>[0-9]{1,10})", re.DOTALL)
"""The name that `whole_file` gives a file until it is whole."""

# No other place: a run or a cache would begin anew there.
_NO_SPACE: Final = "free some space on its disk, and try again"
_NO_PERMISSION: Final = "check its permissions, or choose another place"
_REMEDIES: Final = {
    errno.ENOSPC: _NO_SPACE,
    errno.EDQUOT: _NO_SPACE,
    errno.EACCES: _NO_PERMISSION,
    errno.EPERM: _NO_PERMISSION,
    errno.EROFS: "choose another place",
}
_ANY_REMEDY: Final = "check free space and permissions, or choose another place"

# flock's errors on network shares without locks. Such a folder is written without a lock.
_NO_LOCKS: Final = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP)


def cannot_write(path: Path, error: OSError) -> OutputError:
    """Return the error for a file or folder that cannot be written."""
    if isinstance(error, FileExistsError | NotADirectoryError):
        file = next((one for one in (path, *path.parents) if one.is_file()), path)
        return OutputError("is a file, expected a folder", where=file, do="choose another path")
    return OutputError(
        f"cannot be written ({error.strerror or error})",
        where=path,
        do=_REMEDIES.get(error.errno or 0, _ANY_REMEDY),
    )


def cannot_keep(what: str, error: Exception) -> OutputError:
    """Return the error for a temporary file that cannot be written.

    Args:
        what: What the file holds: "a scan".
        error: The reason.
    """
    if tempfile.tempdir is None and isinstance(error, OSError):
        return no_temporary_folder(error)
    reason = (error.strerror if isinstance(error, OSError) else None) or error
    too_many = isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE)
    return OutputError(
        f"{what} cannot be kept in a temporary file ({reason})",
        where=tempfile.tempdir,
        do="raise the limit on open files (ulimit -n)"
        if too_many
        else "free some space there, or set TMPDIR to another folder",
    )


def no_temporary_folder(error: OSError) -> OutputError:
    """Return the error for a system on which no temporary folder can be written.

    Args:
        error: From `tempfile`, whose text lists the folders it tried. It is the only
            FileNotFoundError without a file name.
    """
    return OutputError(
        f"cannot be written ({error.strerror or error})",
        where="the temporary folder",
        do="free some space in one of them, or set TMPDIR to another folder",
    )


def temporary_folder() -> str:
    """Return the folder of temporary files.

    Raises:
        OutputError: None can be written.
    """
    try:
        return tempfile.gettempdir()
    except OSError as error:
        raise no_temporary_folder(error) from error


def allow_open_files(count: int) -> None:
    """Let this process have so many files open, as far as the system allows it.

    A mapped file stays open. Linux allows 1024 at first, macOS 256, and far more where a process
    asks for them. Windows has no such limit.
    """
    try:
        import resource
    except ImportError:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY:
        count = min(count, hard)
    if resource.RLIM_INFINITY != soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))


def cannot_write_stdout(error: OSError) -> OutputError:
    """Return the error for stdout, and discard all that is printed from now on."""
    # The interpreter flushes stdout at its end, which would fail again.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return OutputError(f"cannot be written ({error.strerror or error})", where="stdout")


def check_file_place(path: Path) -> None:
    """Check before long work that a file can be at `path`.

    Raises:
        UsageError: It is a folder, or its folder does not exist.
    """
    if path.is_dir():
        raise UsageError("is a folder, expected a file", where=path, do="name a file in it")
    if not path.parent.is_dir():
        raise UsageError("the folder does not exist", where=path.parent, do="make it first")


@contextmanager
def whole_file(path: Path, *, private: bool = False, durable: bool = False) -> Iterator[BinaryIO]:
    """Open a file under a temporary name beside `path`, and rename it when all went well.

    A pipe or a device such as /dev/null is written directly.

    Args:
        path: Its final name.
        private: Let nobody but its owner read it (mode 0600), from the first byte on.
        durable: Have it on the disk, name included, when this returns: a power cut keeps it.

    Raises:
        OutputError: No such folder, no permission, disk full.
    """
    if path.exists() and not path.is_file():
        try:
            with path.open("wb") as file:
                yield file
        except OSError as error:
            raise cannot_write(path, error) from error
        return
    path = path.resolve()  # replace a link's target, not the link
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with suppress(FileNotFoundError):  # left by a killed process, perhaps for all to read
            temporary.unlink()
        with open(temporary, "xb", opener=opener(private)) as file:
            yield file
            if durable:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
        if durable:
            keep_names(path.parent)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        with suppress(OSError):  # it has its final name, or its folder was removed
            temporary.unlink()


@contextmanager
def whole_text(path: Path) -> Iterator[TextIO]:
    """Open a text file (UTF-8) as `whole_file` does; line ends stay as they are written.

    Bytes of names of files that are not UTF-8 are written as the escapes of `as_text`.

    Raises:
        OutputError: As in `whole_file`.
    """
    with (
        whole_file(path) as file,
        io.TextIOWrapper(file, "utf-8", "backslashreplace", newline="") as text,
    ):
        yield text


def as_text(name: object) -> str:
    """Return a name, of a file perhaps, as UTF-8 can hold it: bytes that are not are escaped."""
    return str(name).encode("utf-8", "backslashreplace").decode()


def opener(private: bool) -> Callable[[str, int], int]:
    """Return what `open` needs to make a file that only its owner may read, or an ordinary one."""
    return lambda path, flags: os.open(path, flags, 0o600 if private else 0o666)


def keep_names(folder: Path) -> None:
    """Have the names of the files in a folder on the disk.

    Raises:
        OSError: The file system cannot do it.
    """
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def remove_left_over(folder: Path, is_ours: Callable[[str], bool]) -> None:
    """Remove the temporary files of `whole_file` whose processes were killed.

    Args:
        folder: The folder; this process is writing no file in it.
        is_ours: Whether a file of that name is written with `whole_file`.

    Raises:
        OSError: The folder cannot be listed.
    """
    for name in os.listdir(folder):  # noqa: PTH208 (names are enough)
        found = _TEMPORARY.fullmatch(name)
        if found and is_ours(found["name"]) and not _runs(int(found["pid"])):
            with suppress(OSError):  # somebody else's, in a folder for all
                (folder / name).unlink()


def _runs(pid: int) -> bool:
    """Return whether another process of that number runs."""
    return pid != os.getpid() and psutil.pid_exists(pid)


def whole_files(contents: Mapping[Path, bytes]) -> None:
    """Write several files, all or none of them; see `whole_file`.

    All are written before the first is renamed, so that a full disk leaves none of them.

    Raises:
        OutputError: As in `whole_file`. The old files are kept.
    """
    with ExitStack() as written:
        for path, content in contents.items():
            file = written.enter_context(whole_file(path))
            file.write(content)
            file.flush()


@contextmanager
def sole_writer(folder: Path, *, shown: Path | None = None) -> Iterator[None]:
    """Create the folder if needed, and keep every other darnet-trt from writing into it.

    The lock is the kernel's (flock), so it ends with this process, even if that is killed. The
    folder may be renamed meanwhile. If it was created here and stays empty, it is removed.

    The package filelock (4.3) does not fit: it leaves its file in the folder, and removing that
    would need the check of `_locked` again; and it fails on shares without locks.

    Args:
        folder: The folder to write into.
        shown: The name of the folder in errors; None: `folder`.

    Raises:
        UsageError: Another process is writing into it.
        OutputError: It cannot be created or written.
    """
    shown = shown or folder
    try:
        made = not folder.exists()
        folder.mkdir(parents=True, exist_ok=True)
        inside = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise cannot_write(shown, error) from error
    try:
        lock = _locked(shown, inside)
        try:
            yield
        finally:
            with suppress(OSError):
                os.unlink(LOCK, dir_fd=inside)
            os.close(lock)
    finally:
        os.close(inside)
        if made:
            with suppress(OSError):  # it is not empty
                folder.rmdir()


def refuse_being_written(folder: Path) -> None:
    """Raise UsageError if another darnet-trt is writing into the folder; change nothing in it."""
    import fcntl

    try:
        lock = os.open(folder / LOCK, os.O_RDONLY)
    except OSError:  # there is none
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise _taken(folder) from error
    except OSError:  # a share without locks
        return
    finally:
        os.close(lock)


def _taken(folder: Path) -> UsageError:
    return UsageError(
        "another darnet-trt is writing into it",
        where=folder,
        do="wait until it ends, or choose another folder",
    )


def _locked(folder: Path, inside: int) -> int:
    """Create and lock the file LOCK in the open folder `inside`, and return its descriptor."""
    import fcntl  # not on Windows, where the rest of this file works

    while True:
        try:
            lock = os.open(LOCK, os.O_RDWR | os.O_CREAT, 0o666, dir_fd=inside)
        except OSError as error:
            raise cannot_write(folder, error) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(lock)
            raise _taken(folder) from error
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                os.close(lock)
                raise cannot_write(folder, error) from error
        # The previous holder may have removed the file between the two calls: try again.
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(lock), os.stat(LOCK, dir_fd=inside)):
                return lock
        os.close(lock)
