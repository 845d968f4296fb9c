"""The file beside a header that holds its voxels."""

from __future__ import annotations

import os
import stat
from pathlib import Path, PureWindowsPath
from typing import NoReturn

from darnet_trt.errors import Finding, UnreadableScanError, cannot_open
from darnet_trt.machine.archives import open_file


def named_file(header: Path, name: str) -> Path:
    """Return the file that a header names for its voxels; see `file_beside`.

    Raises:
        UnreadableScanError: It is not there, or somewhere or something else.
    """
    parts = PureWindowsPath(name)  # splits at both kinds of slashes, and knows drives
    if parts.anchor or ".." in parts.parts:
        _refuse(header, "outside its folder", name)
    if not name:
        raise _missing(header, name)
    file = file_beside(header, "/".join(parts.parts) or name)
    if file == header:
        _refuse(header, "that is its header", name)
    return file


def file_beside(header: Path, name: str) -> Path:
    """Return a file in the folder of a header.

    It must be a regular file inside that folder, links resolved: a pipe or a device would make
    the reader wait for ever, and elsewhere lie other patients' voxels and system files.

    Raises:
        UnreadableScanError: It is not there, or somewhere or something else.
    """
    file = header.parent / name
    try:
        real = os.path.realpath(file, strict=True)
        mode = os.stat(real).st_mode  # noqa: PTH116
    except (OSError, ValueError):  # absent, no possible name, or inside an archive
        _check_opens(header, file, name)
        return file
    if Path(os.path.realpath(header.parent)) not in Path(real).parents:
        _refuse(header, "outside its folder", name)
    if not stat.S_ISREG(mode):
        _refuse(header, "that is not a regular file", name)
    return file


def is_missing(error: UnreadableScanError) -> bool:
    """Return whether `file_beside` found nothing."""
    return error.code == "no-voxel-file"


def _check_opens(header: Path, file: Path, name: str) -> None:
    try:
        open_file(file).close()
    except PermissionError as error:
        raise cannot_open(file, error) from error
    except (OSError, ValueError) as error:
        raise _missing(header, name) from error


def _missing(header: Path, name: str) -> UnreadableScanError:
    text = f"names a file for its voxels that does not exist: {name[:80]!r}"
    return UnreadableScanError(
        Finding("no-voxel-file", text), where=header, do="copy both files again"
    )


def _refuse(header: Path, what: str, name: str) -> NoReturn:
    text = f"names a file for its voxels {what}: {name[:80]!r}"
    raise UnreadableScanError(
        Finding("voxel-file-elsewhere", text),
        where=header,
        do="put the voxels into a file beside the header",
    )
