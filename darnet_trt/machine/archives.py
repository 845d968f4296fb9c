"""Open a file of a scan: a plain one, one in a zip archive, or a DICOM file packed with gzip.

A file in an archive has the path that it would have if the archive were a folder:
`study.zip/a/001.dcm`. Nothing is written to disk, and no more is unpacked than is read.

The limits are judgement. Real studies hold some thousand files of some MB, which shrink to a
half or a fifth; a bomb shrinks to a thousandth.
"""

from __future__ import annotations

import errno
import functools
import gzip
import io
import os
import stat
import zipfile
import zlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO, Final, cast

from darnet_trt.errors import Finding, UnreadableScanError
from darnet_trt.machine.unpacking import DEFLATE_RATIO, GZIP, unpacked_stream

MOST_FILES: Final = 100_000
LARGEST_DIRECTORY: Final = 1 << 25
"""Bytes of a zip archive's list of files: 335 for each of the most files."""
LARGEST_FILE: Final = 1 << 29
LARGEST_ARCHIVE: Final = 100 << 30
"""Bytes, unpacked."""
HIGHEST_RATIO: Final = 300
"""Unpacked to packed; what unpacks to less than `NO_BOMB` bytes may shrink further."""
NO_BOMB: Final = 1 << 25
LONGEST_NAME: Final = 255
"""Bytes; no usual file system holds a longer one."""

_UNPACK = "unpack it and give its folder"
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # the others' memory has no limit
_ENTRY = b"PK\x01\x02"
_GZIP = b"\x1f\x8b\x08"
_DICOM = bytes(64) + b"DICM"  # the end of a preamble, which is zeros in what scanners write


@dataclass(frozen=True, eq=False)
class Archive:
    """A zip archive and its files.

    Attributes:
        zip: The open archive.
        files: Path inside it, with `/` → its entry. Encrypted files are not among them.
        encrypted: How many files are encrypted.
        ignored: Kind of the others that are not among `files` → how many.
    """

    zip: zipfile.ZipFile
    files: Mapping[str, zipfile.ZipInfo]
    encrypted: int
    ignored: Counter[str]

    def has(self, path: Path) -> bool:
        """Return whether there is such a file, or a folder with files."""
        name = path.as_posix()
        return name in self.files or bool(self.below(name))

    def below(self, folder: str) -> list[str]:
        """Return the files in a folder of the archive, and in the folders below it, in order."""
        return sorted(name for name in self.files if name.startswith(f"{folder}/"))


def open_file(path: Path) -> BinaryIO:
    """Open a file of a scan for reading; the stream can seek.

    A file that is packed with gzip and holds DICOM is unpacked; every other one is given as it is.

    Raises:
        OSError: As `Path.open` does.
        UnreadableScanError: In a broken archive, or beyond the limits.
    """
    try:
        stream: BinaryIO = path.open("rb")
    except OSError as error:
        archive = archive_of(path) if error.errno in (errno.ENOTDIR, errno.ENAMETOOLONG) else None
        if archive is None:
            raise
        return open_member(open_archive(archive), path, path.relative_to(archive).as_posix())
    return _unpacked(path, stream)


def open_member(archive: Archive, path: Path, name: str) -> BinaryIO:
    """Open a file of an archive as `open_file` does.

    Args:
        archive: The open archive.
        path: The file's, for errors.
        name: The file's name in the archive.

    Raises:
        OSError: There is none of that name, or it cannot be read.
        UnreadableScanError: It is packed in a way that is not read, or beyond the limits.
    """
    return _unpacked(path, _open_entry(archive, path, name))


def _unpacked(path: Path, stream: BinaryIO) -> BinaryIO:
    try:
        start = stream.read(2)
        stream.seek(0)
        return _unpacked_dicom(path, stream) if start == GZIP else stream
    except BaseException:
        stream.close()
        raise


def archive_of(path: Path) -> Path | None:
    """Return the zip archive that a path lies in, or None."""
    parents = path.parents
    file = next((p for p in parents if os.path.isfile(p)), None)  # noqa: PTH113 (never fails)
    if file is None:
        return None
    if file.suffix.lower() == ".zip":  # bytes may stand before its first entry
        return file
    with file.open("rb") as stream:
        return file if stream.read(2) == b"PK" else None


def open_archive(path: Path) -> Archive:
    """Open a zip archive; the last few stay open.

    Raises:
        OSError: It cannot be opened.
        UnreadableScanError: Broken, or beyond the limits.
    """
    status = path.stat()
    # a child process must not share the position in the file with its parent
    return _open_archive(path, status.st_mtime_ns, status.st_size, os.getpid())


@functools.lru_cache(maxsize=8)
def _open_archive(path: Path, mtime_ns: int, size: int, process: int) -> Archive:
    return read_archive(path)


def read_archive(path: Path) -> Archive:
    """Open a zip archive, to be closed by its `zip`; see `open_archive`."""
    size = path.stat().st_size
    stream = _Guarded(path, "rb")
    try:
        archive = zipfile.ZipFile(stream)
    except _TooManyError:
        raise _beyond(path, f"more than {MOST_FILES:,} files") from None
    except Exception as error:  # zipfile fails in some ten ways at arbitrary bytes
        raise UnreadableScanError(
            Finding("archive-broken", f"is a broken zip archive ({error})"),
            where=path,
            do="copy it again",
        ) from error
    stream.opening = False
    entries = [entry for entry in archive.infolist() if not entry.is_dir()]
    unpacked = sum(entry.file_size for entry in entries)
    if unpacked > LARGEST_ARCHIVE:
        raise _beyond(path, f"{unpacked >> 30:,} GB in it")
    if sum(entry.compress_size for entry in entries) > size:
        raise _beyond(path, "files that overlap")
    _check_ratio(path, unpacked, size)
    files: dict[str, zipfile.ZipInfo] = {}
    encrypted, ignored = 0, Counter[str]()
    for entry in entries:
        name = _inside(entry.filename)
        if entry.flag_bits & 1:
            encrypted += 1
        elif stat.S_ISLNK(entry.external_attr >> 16):
            ignored["link"] += 1
        else:
            ignored["older file of one name"] += name in files  # as where it is unpacked
            files[name] = entry
    return Archive(archive, files, encrypted, ignored)


class _TooManyError(Exception):
    """The archive lists more files than `MOST_FILES`."""


class _Guarded(io.FileIO):
    """Count the entries of an archive's list before `ZipFile` makes an object of each."""

    opening = True

    def __del__(self) -> None:
        self.close()  # `ZipFile` leaves that to whoever opened it

    def read(self, size: int | None = -1, /) -> bytes:
        if self.opening and size is not None and size > LARGEST_DIRECTORY:
            raise _TooManyError
        data = super().read(-1 if size is None else size) or b""
        if self.opening and data.count(_ENTRY) > MOST_FILES:
            raise _TooManyError
        return data


def _inside(name: str) -> str:
    """Return an entry's name as a path inside the archive, wherever it wants to be unpacked."""
    return "/".join(part for part in name.replace("\\", "/").split("/") if part.strip("."))


def _open_entry(archive: Archive, path: Path, name: str) -> BinaryIO:
    entry = archive.files.get(name)
    if entry is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    if max(len(os.fsencode(part)) for part in name.split("/")) > LONGEST_NAME:
        raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), str(path))
    if entry.compress_type not in _METHODS:
        method = f"is packed by method {entry.compress_type}, not deflated"
        raise UnreadableScanError(Finding("archive-method", method), where=path, do=_UNPACK)
    if entry.file_size > LARGEST_FILE:
        raise _beyond(path, f"{entry.file_size >> 20:,} MB")
    _check_ratio(path, entry.file_size, entry.compress_size)
    return unpacked_stream(lambda: archive.zip.open(entry), entry.file_size)


def _unpacked_dicom(path: Path, packed: BinaryIO) -> BinaryIO:
    """Return a gzip stream unpacked where it holds DICOM, else as it is."""

    def again() -> IO[bytes]:
        packed.seek(0)
        return cast(IO[bytes], gzip.GzipFile(fileobj=packed))

    try:
        start = again().read(132)
    except (OSError, EOFError, zlib.error):
        start = b""
    if not _begins_dicom(start):
        packed.seek(0)
        return packed
    size = packed.seek(-4, os.SEEK_END) + 4
    unpacked = int.from_bytes(packed.read(4), "little")  # ISIZE (RFC 1952 section 2.3.1)
    if unpacked == 0 or _has_parts(packed):
        unpacked = _unpacked_size(again(), path, packed)
    if unpacked > DEFLATE_RATIO * size:
        raise OSError(errno.EIO, "cut: its last bytes are missing", str(path))
    if unpacked > LARGEST_FILE:
        raise _beyond(path, f"{unpacked >> 20:,} MB")
    _check_ratio(path, unpacked, size)
    return unpacked_stream(again, unpacked, packed)


def _has_parts(packed: BinaryIO) -> bool:
    """Return whether a gzip file may have several parts (RFC 1952 section 2.2): then only the size
    of the last one stands at its end."""
    packed.seek(3)
    end = b""
    while chunk := packed.read(1 << 20):
        if _GZIP in end + chunk:
            return True
        end = chunk[-2:]
    return False


def _unpacked_size(stream: IO[bytes], path: Path, packed: BinaryIO) -> int:
    """Return the bytes of all parts, counted as far as the limits.

    Raises:
        OSError: It is damaged, or its parts are several DICOM files.
        UnreadableScanError: It is packed beyond the limits.
    """
    size, files, end = 0, 0, b""
    try:
        while size <= LARGEST_FILE and (piece := stream.read(1 << 20)):
            size += len(piece)
            _check_ratio(path, size, packed.tell())  # at once: a bomb is not unpacked
            piece = end + piece
            files += piece.count(_DICOM)
            end = piece[1 - len(_DICOM) :]
    except (OSError, EOFError, zlib.error) as error:
        raise OSError(errno.EIO, f"damaged: {error}", str(path)) from error
    if files > 1:
        raise OSError(errno.EIO, f"it holds {files} DICOM files: unpack each", str(path))
    return size


def _begins_dicom(start: bytes) -> bool:
    """Return whether these 132 bytes begin a DICOM file, with or without preamble (PS3.10 7.1)."""
    group = start[:2]
    return start[128:] == b"DICM" or (
        len(start) == 132 and group in (b"\2\0", b"\x08\0", b"\0\x08") and not start[2] * start[3]
    )


def _check_ratio(path: Path, unpacked: int, packed: int) -> None:
    if unpacked > max(NO_BOMB, HIGHEST_RATIO * packed):
        raise _beyond(path, f"{unpacked >> 20:,} MB in {packed:,} bytes")


def _beyond(path: Path, what: str) -> UnreadableScanError:
    finding = Finding("archive-limit", f"is packed beyond the limits: {what}")
    return UnreadableScanError(finding, where=path, do=_UNPACK)
