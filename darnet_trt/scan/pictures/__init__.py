"""Folders of PNG, JPEG or TIFF slices, as CC-CCII publishes its scans (patient/scan/0000.png)."""

from darnet_trt.scan.pictures.decoding import decode_grey, picture_kind
from darnet_trt.scan.pictures.names import natural_key
from darnet_trt.scan.pictures.series import (
    assumed_offset,
    find_offset_hu,
    ordered_series,
    slice_series,
)

__all__ = [
    "assumed_offset",
    "decode_grey",
    "find_offset_hu",
    "natural_key",
    "ordered_series",
    "picture_kind",
    "slice_series",
]
