"""Whole files, folders with one writer, and what is said where nothing can be written."""

from __future__ import annotations

import errno
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final

from darnet_trt.errors import OutputError, UsageError

__all__ = [
    "LOCK",
    "cannot_keep",
    "cannot_write",
    "cannot_write_stdout",
    "sole_writer",
    "temporary_folder",
    "whole_file",
    "whole_files",
]

LOCK: Final = ".darnet-trt.lock"
"""The file in a folder that `sole_writer` has locked."""

# What flock says on shares that have no locks: there the folder is written without one.
_NO_LOCKS: Final = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP)


def cannot_write(path: Path, error: OSError) -> OutputError:
    """The error for a file or folder that the system did not let us write."""
    if isinstance(error, FileExistsError | NotADirectoryError):
        return OutputError("is a file where a folder is needed", where=path, do="name another")
    return OutputError(
        f"cannot be written ({error.strerror or error})",
        where=path,
        do="check free space and permissions, or choose another place",
    )


def cannot_keep(what: str, error: Exception) -> OutputError:
    """The error for what found no room among the temporary files.

    Args:
        what: "a scan".
        error: Says why.
    """
    reason = (error.strerror if isinstance(error, OSError) else None) or error
    return OutputError(
        f"{what} cannot be kept in a temporary file ({reason})",
        where=tempfile.tempdir,  # None where there is none at all, which the reason says
        do="free some space there, or set TMPDIR to a folder that has some",
    )


def temporary_folder() -> str:
    """Where temporary files go.

    Raises:
        OutputError: Nowhere.
    """
    try:
        return tempfile.gettempdir()
    except OSError as error:
        raise cannot_keep("nothing", error) from error


def cannot_write_stdout(error: OSError) -> OutputError:
    """The same for stdout, which goes nowhere from now on."""
    # The interpreter flushes it once more at its end, and would fail again.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return OutputError(f"cannot be written ({error.strerror or error})", where="stdout")


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write under a temporary name beside `path`, renamed when all went well.

    What is no file, such as a pipe or /dev/null, stays what it is and is written as it comes.

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
    path = path.resolve()  # a link stays, too
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            yield file
        temporary.replace(path)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        with suppress(OSError):  # it is gone, or its folder is
            temporary.unlink()


def whole_files(contents: Mapping[Path, bytes]) -> None:
    """Write files that belong together, see `whole_file`.

    All are written before the first gets its name, so that a full disk leaves none of them.

    Raises:
        OutputError: As there; what had the names before still has them.
    """
    with ExitStack() as written:
        for path, content in contents.items():
            file = written.enter_context(whole_file(path))
            file.write(content)
            file.flush()


@contextmanager
def sole_writer(folder: Path, *, shown: Path | None = None) -> Iterator[None]:
    """Make the folder where absent, and keep every other darnet-trt from writing into it.

    The lock is the kernel's (flock): it ends with this process, however that ends. The folder may
    be renamed meanwhile. One that was made here and got nothing to hold goes again.

    Args:
        folder: Which.
        shown: What errors call it, where a person has never seen that one.

    Raises:
        UsageError: Another one is writing into it.
        OutputError: It cannot be made or written.
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
            with suppress(OSError):  # it holds something
                folder.rmdir()


def _locked(folder: Path, inside: int) -> int:
    """Open and lock the file LOCK of a folder that is open; its descriptor."""
    import fcntl  # not everywhere, and only who writes a folder needs it

    while True:
        try:
            lock = os.open(LOCK, os.O_RDWR | os.O_CREAT, 0o666, dir_fd=inside)
        except OSError as error:
            raise cannot_write(folder, error) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(lock)
            raise UsageError(
                "another darnet-trt is writing into it",
                where=folder,
                do="wait for its end, or name another folder",
            ) from error
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                os.close(lock)
                raise cannot_write(folder, error) from error
        # Who held it may have removed the file between the two calls: then it locks nobody out.
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(lock), os.stat(LOCK, dir_fd=inside)):
                return lock
        os.close(lock)
