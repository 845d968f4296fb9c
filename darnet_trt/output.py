"""Files that are whole or absent, and what is said where something cannot be written."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from darnet_trt.errors import OutputError

__all__ = ["cannot_write", "cannot_write_stdout", "whole_file"]


def cannot_write(path: Path, error: OSError) -> OutputError:
    """The error for a file or folder that the system did not let us write."""
    if isinstance(error, FileExistsError | NotADirectoryError):
        return OutputError("is a file where a folder is needed", where=path, do="name another")
    return OutputError(
        f"cannot be written ({error.strerror or error})",
        where=path,
        do="check free space and permissions, or choose another place with -o",
    )


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
