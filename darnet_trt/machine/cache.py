"""Keep what was made: the user's cache folder, keys of its entries, and arrays with checksums."""

from __future__ import annotations

import hashlib
import json
import os
import time
import zipfile
import zlib
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from darnet_trt.machine.files import whole_file

if TYPE_CHECKING:
    import numpy.typing as npt

KEPT_DAYS: Final = 90
DAMAGE: Final = (
    OSError,
    EOFError,
    KeyError,
    ValueError,
    NotImplementedError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
)
"""Errors of reading arrays where the file is absent, damaged or something else."""


def cache_folder(room: str) -> Path:
    """Return $XDG_CACHE_HOME/darnet-trt/ROOM, or ~/.cache/darnet-trt/ROOM; it need not exist."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "darnet-trt" / room


def digest(*parts: object) -> str:
    """Return the first 32 hexadecimal digits of the SHA-256 of JSON values and bytes."""
    found = hashlib.sha256()
    for part in parts:
        found.update(part if isinstance(part, bytes) else json.dumps(part, sort_keys=True).encode())
        found.update(b"\0")
    return found.hexdigest()[:32]


def used(file: Path) -> None:
    """Note that an entry is used today, if it is there: `drop_unused` goes by a file's time."""
    with suppress(OSError):
        os.utime(file)


def drop_unused(room: str) -> None:
    """Remove the files of a room that nobody wrote or `used` for `KEPT_DAYS`, and empty folders."""
    oldest = time.time() - KEPT_DAYS * 86_400
    with suppress(OSError):  # a cache may be missing
        for path in sorted(cache_folder(room).rglob("*"), reverse=True):  # a folder after its files
            with suppress(OSError):  # not empty, or removed meanwhile
                if path.is_dir():
                    path.rmdir()
                elif path.lstat().st_mtime < oldest:
                    path.unlink()


def write_arrays(file: Path, **arrays: object) -> None:
    """Write arrays into an .npz file, whole or not at all.

    Raises:
        OutputError: It cannot be written.
    """
    import numpy as np  # here: the command line imports this module before it needs numpy

    content = BytesIO()  # numpy's own writing to a file does not report why it fails
    np.savez(content, **arrays)  # type: ignore[arg-type]
    with whole_file(file) as stream:
        stream.write(content.getbuffer())


def read_array(file: Path, name: str) -> npt.NDArray[Any]:
    """Read an array; zipfile compares the checksum, of all bytes also where a header lies.

    Raises:
        DAMAGE: The file is absent or damaged, or holds no such array.
    """
    import numpy as np

    with zipfile.ZipFile(file) as content:
        array: npt.NDArray[Any] = np.load(BytesIO(content.read(f"{name}.npy")), allow_pickle=False)
    return array
