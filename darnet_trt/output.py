"""Files that are whole or absent."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from darnet_trt.errors import OutputError

__all__ = ["cannot_write", "whole_file"]


def cannot_write(path: Path, error: OSError) -> OutputError:
    """The error for a file or folder that the system did not let us write."""
    return OutputError(
        f"cannot be written ({error.strerror or error})",
        where=path,
        do="check free space and permissions, or choose another place with -o",
    )


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write under a temporary name beside `path`, renamed when all went well.

    Raises:
        OutputError: No such folder, no permission, disk full.
    """
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
