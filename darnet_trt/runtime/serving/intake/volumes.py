"""Tell what an upload is that is no DICOM file."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from darnet_trt.errors import Finding, UnreadableScanError
from darnet_trt.machine.unpacking import GZIP
from darnet_trt.scan.discovery.kinds import kind_of
from darnet_trt.scan.volume_files.series import image_series

SNIFFED: Final = 4096
"""Bytes that tell what a file is."""


def volume_suffix(start: bytes) -> str:
    """Return the suffix that a volume file has in our store.

    Args:
        start: Its first `SNIFFED` bytes.

    Raises:
        UnreadableScanError: It is none.
    """
    kind = kind_of(start)
    if kind == "nifti":
        return ".nii.gz" if start.startswith(GZIP) else ".nii"
    if kind in ("nrrd", "mha"):
        return f".{kind}"
    text = f"is neither DICOM, NIfTI, NRRD nor MetaImage, but: {kind}"
    raise UnreadableScanError(Finding("not-the-format", text), do="send a scan")


def check_volume(path: Path) -> None:
    """Check that a volume file has a whole header and holds its own voxels.

    Raises:
        UnreadableScanError: It has not. It names no path of ours.
    """
    try:
        files = image_series(path).files
    except UnreadableScanError as error:
        raise UnreadableScanError(error.what, do=error.do) from error
    if files != (path,):
        text = "its header names another file for its voxels"
        raise UnreadableScanError(
            Finding("voxel-file-elsewhere", text), do="write header and voxels into one file"
        )
