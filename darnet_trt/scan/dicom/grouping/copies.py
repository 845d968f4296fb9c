"""Leave out files that hold the same slice again."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from darnet_trt.errors import Finding, ScanError
from darnet_trt.scan.dicom.encoding.meta import NATIVE
from darnet_trt.scan.dicom.grouping.group import Group, positions
from darnet_trt.scan.dicom.grouping.stack import DUPLICATE_MM, RESCALE
from darnet_trt.scan.dicom.header import Header
from darnet_trt.scan.dicom.pixels import decode_slice, is_native

_SAME_ACQUISITION: Final = ("SliceThickness", "AcquisitionNumber", "ImageType", "KVP")
"""Empty slices of two acquisitions are equal, but each belongs to its own."""
_LOSSY: Final = frozenset({"1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51"})
"""JPEG baseline and extended; for other transfer syntaxes LossyImageCompression says it."""


def without_copies(group: Group) -> Group:
    """Keep one file of each slice: the one with the fewest losses, then the plainest."""
    places = positions(group.headers)
    kept: list[int] = []
    for index in np.argsort(places, kind="stable").tolist():
        header = group.headers[index]
        at = len(kept) - 1
        while at >= 0 and places[index] - places[kept[at]] <= DUPLICATE_MM:
            if _same_image(header, group.headers[kept[at]]):
                kept[at] = min(kept[at], index, key=lambda i: _cost(group.headers[i]))
                break
            at -= 1
        else:
            kept.append(index)
    dropped = len(group.headers) - len(kept)
    if not dropped:
        return group
    headers = tuple(group.headers[i] for i in sorted(kept))
    files = {header.path for header in group.headers} - {header.path for header in headers}
    dropped = len(files) or dropped  # a file can hold many slices
    what = "duplicate file was left out" if dropped == 1 else "duplicate files were left out"
    note = Finding("duplicate-files", f"{dropped} {what}")
    return replace(group, headers=headers, notes=(*group.notes, note))


def _cost(header: Header) -> tuple[bool, bool]:
    lossy = header.get("LossyImageCompression") == "01" or header.transfer_syntax in _LOSSY
    return lossy, header.transfer_syntax not in NATIVE


def _same_image(a: Header, b: Header) -> bool:
    if a.defect or b.defect or any(a.get(keyword) != b.get(keyword) for keyword in RESCALE):
        return False
    uid = a.get("SOPInstanceUID")
    if a.transfer_syntax != b.transfer_syntax and uid and uid == b.get("SOPInstanceUID"):
        return True  # one image in two encodings
    if any(a.get(keyword) != b.get(keyword) for keyword in _SAME_ACQUISITION):
        return False
    try:
        if a.transfer_syntax == b.transfer_syntax and a.pixels and b.pixels:
            lengths = [[length for _, length in header.pixels or ()] for header in (a, b)]
            return lengths[0] == lengths[1] and a.read_pixels() == b.read_pixels()
        # Compressed slices are decoded only later, where a codec that crashes ends one scan alone.
        return is_native([a, b]) and np.array_equal(decode_slice(a), decode_slice(b))
    except (ScanError, OSError):  # reported where the slices are decoded
        return False
