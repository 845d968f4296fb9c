"""Name the transfer syntax or file format of slices."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Final

from darnet_trt.scan.dicom.encoding.codestreams import RLE
from darnet_trt.scan.dicom.encoding.meta import DEFLATED, NATIVE
from darnet_trt.scan.series import Series

UNCOMPRESSED: Final = "uncompressed pixels"
_SYNTAXES: Final = {
    **dict.fromkeys(NATIVE, UNCOMPRESSED),
    DEFLATED: "deflated files",
    RLE: "RLE",
    "1.2.840.10008.1.2.4.50": "JPEG baseline",
    "1.2.840.10008.1.2.4.51": "JPEG extended",
    "1.2.840.10008.1.2.4.57": "JPEG lossless",
    "1.2.840.10008.1.2.4.70": "JPEG lossless",
    "1.2.840.10008.1.2.4.80": "JPEG-LS lossless",
    "1.2.840.10008.1.2.4.81": "JPEG-LS near-lossless",
    "1.2.840.10008.1.2.4.90": "JPEG 2000 lossless",
    "1.2.840.10008.1.2.4.91": "JPEG 2000",
    "1.2.840.10008.1.2.4.201": "HTJ2K lossless",
    "1.2.840.10008.1.2.4.202": "HTJ2K lossless",
    "1.2.840.10008.1.2.4.203": "HTJ2K",
}
"""TransferSyntaxUID (PS3.6 annex A) → name; two of one decoder have the same."""
_VOLUMES: Final = {"nifti": "NIfTI", "nrrd": "NRRD", "mha": "MetaImage"}
_PICTURES: Final = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".tif": "TIFF", ".tiff": "TIFF"}


def is_volume(series: Series) -> bool:
    """Return whether the slices lie in one volume file, which is decoded whole."""
    return series.format in _VOLUMES


def by_encoding(series: Series, indices: Sequence[int]) -> dict[str, list[int]]:
    """Return name → those of some slices of a series that are written so."""
    found = defaultdict(list)
    for index in indices:
        found[_name(series, index)].append(index)
    return dict(found)


def _name(series: Series, index: int) -> str:
    if series.headers:
        return _SYNTAXES.get(series.headers[index].transfer_syntax, UNCOMPRESSED)
    if is_volume(series):
        packed = series.path.name.lower().endswith(".gz")
        return _VOLUMES[series.format] + ", gzip" * packed
    return _PICTURES.get(series.files[index].suffix.lower(), "other") + " pictures"
