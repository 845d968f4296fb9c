"""Media directories (PS3.10 section 8): what a DICOMDIR is, and the files that it lists."""

from __future__ import annotations

import io
import os
import warnings
from pathlib import Path
from typing import Any, Final

from darnet_trt.errors import Finding, UnreadableScanError, cannot_open, one_line
from darnet_trt.machine.archives import open_file
from darnet_trt.scan.dicom.encoding.meta import DEFLATED

LARGEST: Final = 1 << 26
"""Bytes. A directory of 100,000 images has some 50 MB; parsing takes ten times as much memory."""
_SOP_CLASS: Final = b"1.2.840.10008.1.3.10"
_META: Final = 1024
"""Bytes at a file's start that hold the UIDs of its meta header."""
_ELEMENTS: Final = frozenset({0x0000, 0x1130, 0x1141, 0x1142, 0x1200, 0x1202, 0x1212, 0x1220})
"""Elements of group 0004 (PS3.3 F.3.2): only a directory begins with them."""
_OFFSETS: Final = ("OffsetOfTheNextDirectoryRecord", "OffsetOfReferencedLowerLevelDirectoryEntity")


def is_directory(start: bytes) -> bool:
    """Return whether a file that starts with these bytes is a media directory.

    Its name says nothing: DICOMDIR, DIRFILE, or one in every folder. Old ones have no preamble
    and no meta header.
    """
    if start[128:132] == b"DICM":
        start = start[132:]
    if start[:2] == b"\x02\x00":
        return _SOP_CLASS in start[:_META]
    return len(start) >= 4 and any(
        int.from_bytes(start[:2], order) == 4 and int.from_bytes(start[2:4], order) in _ELEMENTS
        for order in ("little", "big")
    )


def listed_files(path: Path) -> tuple[list[Path], list[UnreadableScanError]]:
    """Return the files that a media directory lists, and an error for each that is not there.

    Names match in any case, as systems show those of a disc in either. A name or a link that
    leads out of the directory's folder is not followed.

    Raises:
        UnreadableScanError: The directory is broken, or lists no file.
    """
    files: dict[Path, None] = {}
    errors: list[UnreadableScanError] = []
    listings: dict[Path, dict[str, str]] = {}
    root = os.path.realpath(path.parent)
    for parts in _file_ids(path):
        name = one_line("/".join(parts))
        plain = not any(part in ("", "..") or "\0" in part for part in parts)
        file = _find(path.parent, parts, listings) if plain else path
        if not plain or not os.path.realpath(file).startswith(f"{root}/"):
            what = Finding("outside-folder", f"lists a file outside its own folder: {name}")
            errors.append(UnreadableScanError(what, where=path, do="give that file's folder"))
        elif os.path.isfile(file):  # noqa: PTH113 (never fails)
            files[file] = None
        else:
            what = Finding("missing-from-disc", f"is listed in {path.name} but does not exist")
            errors.append(UnreadableScanError(what, where=file, do="copy the whole disc again"))
    return list(files), errors


def _find(folder: Path, parts: list[str], listings: dict[Path, dict[str, str]]) -> Path:
    """Return where a listed file lies; as it is listed where there is no such file.

    Args:
        folder: Of the directory.
        parts: Names of folders, then of the file.
        listings: Folder → its names as they are compared → as they are; grows.
    """
    for part in parts:
        if folder not in listings:
            try:
                names = [file.name for file in folder.iterdir()]
            except OSError:
                names = []
            listings[folder] = {_compared(name): name for name in names}
            listings[folder] |= {name: name for name in names}
        found = listings[folder]
        folder /= found.get(part) or found.get(_compared(part)) or part
    return folder


def _compared(name: str) -> str:
    """Return a name without case, and without the version that ISO 9660 adds: IM1.;1."""
    return name.split(";")[0].rstrip(".").casefold()


def _file_ids(path: Path) -> list[list[str]]:
    """Return ReferencedFileID (0004,1500) of each record in use, in its parts.

    Raises:
        UnreadableScanError: The directory is broken, or lists no file.
    """
    import pydicom

    try:
        with open_file(path) as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(0)
            content = stream.read(LARGEST) if size <= LARGEST else b""
    except OSError as error:
        raise cannot_open(path, error) from error
    if size > LARGEST:
        raise _broken(path, f"it is larger than {LARGEST >> 20} MB")
    if DEFLATED.encode() in content[:_META]:
        raise _broken(path, "it is deflated")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset = pydicom.dcmread(io.BytesIO(content), force=True)
            records = list(dataset.get("DirectoryRecordSequence", ()))
            listed = [parts for parts in map(_parts, records) if parts]
            end = size + (0 if dataset.file_meta else _META)  # it may have been taken away
            cut = any(record.get(offset, 0) >= end for record in records for offset in _OFFSETS)
    except Exception as error:  # pydicom fails in a dozen ways at arbitrary bytes
        raise _broken(path, "its records cannot be read") from error
    if cut or not listed:
        raise _broken(path, "it is cut" if cut else "it lists no files")
    return listed


def _parts(record: Any) -> list[str]:
    """Return the names of a record's file; none where it has no file, or is not in use."""
    names = record.get("ReferencedFileID")
    if not names or record.get("RecordInUseFlag") == 0:
        return []
    parts = [names] if isinstance(names, str) else list(names)
    return [name for part in parts for name in str(part).strip().split("/") if name != "."]


def _broken(path: Path, reason: str) -> UnreadableScanError:
    what = Finding("broken-directory", f"is a directory that cannot be followed ({reason})")
    return UnreadableScanError(what, where=path, do="give its folder")
