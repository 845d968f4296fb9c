"""What a file is by its first bytes, and what its name promises."""

from __future__ import annotations

import re
import zlib
from pathlib import Path
from typing import Final

from darnet_trt.machine.archives import open_file
from darnet_trt.machine.unpacking import GZIP
from darnet_trt.scan.dicom.directory import is_directory
from darnet_trt.scan.dicom.elements import is_dicom
from darnet_trt.scan.pictures import picture_kind
from darnet_trt.scan.series import Format
from darnet_trt.scan.volume_files.series import image_format

VOLUMES: Final[dict[str, Format]] = {"nifti": "nifti", "nrrd": "nrrd", "mha": "mha"}
"""Kinds of one file that holds a scan. "dicom", "picture" and "zip" are read, too.

Every other kind is ignored, and counted under its name.
"""
DIRECTORY, EMPTY, UNKNOWN, TEXT = "DICOMDIR", "empty", "unknown", "text"
VOXELS: Final = "raw voxels"
OVERLAY_SUFFIX: Final = ".overlay.png"
"""Pictures with this ending show a result and are never slices."""
OBJECTS_SUFFIX: Final = ".objects"
"""Folders with this ending hold the DICOM objects of a result."""
PICTURES: Final = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff"})

_SNIFFED = 4096
_DICOM = frozenset({".dcm", ".dicom", ".ima"})
# fmt: off
_STARTS: Final = (
    (b"NRRD000", "nrrd"), (b"PK\3\4", "zip"), (b"PK\5\6", "zip"),
    (b"%PDF", "PDF"), (b"GIF8", "GIF"), (b"8BPS", "PSD"), (b"BM", "BMP"), (b"RIFF", "RIFF"),
    (b"\0\0\0\x0cjP  ", "JPEG 2000"), (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"7z\xbc\xaf\x27\x1c", "7z (unpack it)"), (b"Rar!\x1a\7", "rar (unpack it)"),
    (b"BZh", "bzip2 (unpack it)"), (b"\xfd7zXZ\0", "xz (unpack it)"),
    (b"\x28\xb5\x2f\xfd", "zstd (unpack it)"),
    (b"\x89HDF", "HDF5"), (b"\x93NUMPY", "NumPy"), (b"SQLite format 3", "database"),
    (b"\xd0\xcf\x11\xe0", "Office"), (b"MZ", "program"), (b"\x7fELF", "program"),
)
_MADE_OF_ZIP: Final = {
    ".docx": "Office", ".xlsx": "Office", ".pptx": "Office", ".odt": "Office", ".ods": "Office",
    ".odp": "Office", ".npz": "NumPy", ".jar": "program", ".whl": "program", ".apk": "program",
    ".pt": "weights", ".pth": "weights", ".ckpt": "weights", ".keras": "weights", ".epub": "text",
}
_BY_SUFFIX: Final = {
    ".raw": VOXELS, ".zraw": VOXELS, ".img": VOXELS, ".onnx": "weights",
}
"""Names of kinds whose content tells nothing."""
_NO_SCANS: Final = frozenset({
    "readme", "license", "copying", "notice", "authors", "lockfile", "version", "makefile",
    "dockerfile",
})
# fmt: on


def read_kind(path: Path) -> str:
    """Return what a file is by its content; never waits, as `path` is a regular file.

    Raises:
        OSError: It cannot be opened or read.
        UnreadableScanError: It lies in a broken archive.
    """
    with open_file(path) as stream:
        kind = kind_of(stream.read(_SNIFFED))
    suffix = path.suffix.lower()
    if kind == "zip":
        return _MADE_OF_ZIP.get(suffix, kind)
    if kind != UNKNOWN:
        return kind
    return DIRECTORY if path.name.upper() == DIRECTORY else _BY_SUFFIX.get(suffix, kind)


def kind_of(start: bytes) -> str:
    """Return what a file is that starts with these bytes (some thousand, or the whole file)."""
    if not start:
        return EMPTY
    if is_directory(start):
        return DIRECTORY
    if is_dicom(start):
        return "dicom"
    if start.startswith(GZIP):
        return _kind_in_gzip(start)
    if _is_nifti(start):
        return "nifti"
    if picture_kind(start):
        return "picture"
    for magic, kind in _STARTS:
        if start.startswith(magic):
            return kind
    if start[257:262] == b"ustar":
        return "tar (unpack it)"
    if re.match(rb"\s*(ObjectType\s*=\s*Image|NDims\s*=)", start):
        return "mha"
    return TEXT if _is_text(start) else UNKNOWN


def promise(path: Path) -> str | None:
    """Return the kind that a file's name promises, where that is a scan or a zip archive."""
    suffix = path.suffix.lower()
    if suffix in _DICOM or path.name.lower().endswith((".dcm.gz", ".dicom.gz", ".ima.gz")):
        return "dicom"
    return "zip" if suffix == ".zip" else image_format(path)


def may_be_dicom(path: Path, kind: str) -> bool:
    """Return whether a file is named as archives export DICOM: 1.2.840.1, IM0001, image.17.

    Where the content is known to be something else, only a name with a number counts.
    """
    suffix = path.suffix
    if suffix and not suffix[1:].isdigit():
        return False
    if path.name.lower() in _NO_SCANS:
        return False
    return kind in (UNKNOWN, EMPTY) or re.search(r"\d", path.name) is not None


def _is_nifti(start: bytes) -> bool:
    return start[344:347] in (b"n+1", b"ni1") or start[4:7] in (b"n+2", b"ni2")


def _kind_in_gzip(start: bytes) -> str:
    try:
        inner = zlib.decompressobj(31).decompress(start, _SNIFFED)
    except zlib.error:
        return "gzip (unpack it)"
    return "nifti" if _is_nifti(inner) else "gzip (unpack it)"


def _is_text(start: bytes) -> bool:
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        return True
    return not re.search(rb"[\0-\x08\x0e-\x1a\x1c-\x1f]", start)
