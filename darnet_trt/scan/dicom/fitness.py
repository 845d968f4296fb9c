"""Which images cannot be slices of an axial CT, judged one by one."""

from __future__ import annotations

from typing import Final

from darnet_trt.errors import Finding
from darnet_trt.scan.dicom.encoding.codestreams import COMPRESSED
from darnet_trt.scan.dicom.encoding.meta import NATIVE
from darnet_trt.scan.dicom.header import ENHANCED_CT, Header
from darnet_trt.scan.plausibility.grid import MAX_MATRIX, too_small

_NEEDED: Final = (
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "PixelRepresentation",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "RescaleSlope",
    "RescaleIntercept",
)
MIN_SLOPE: Final = 1e-6
"""Below it not even 32 stored bits reach tissue: one Hounsfield unit is a million steps."""
_CT = frozenset({"1.2.840.10008.5.1.4.1.1.2", *ENHANCED_CT})
_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_RADIOGRAPHS = frozenset({"CR", "DX", "DR", "RG", "PX", "MG", "XA", "RF"})
_REFORMATS = ("MPR", "MIP", "MINIP", "AVERAGE", "VRT", "3D", "PROJECTION", "REFORMAT", "SCREEN")
_COMBINED = frozenset(  # derived pixel contrast, value 4 of a frame's type (PS3.3 C.8.16.1.4)
    {
        "ADDITION", "DIVISION", "MASKED", "MAXIMUM", "MAX_IP", "MEAN", "MEDIAN", "MINIMUM",
        "MIN_IP", "MULTIPLICATION", "RESAMPLED", "STD_DEVIATION", "SUBTRACTION",
    }
)  # fmt: skip


def unfit(header: Header) -> Finding | None:
    """Return why an image cannot be a CT slice, or None; then all of `_NEEDED` is valid."""
    return _kind(header) or _image_type(header) or header.conflict or _entries(header)


def _kind(header: Header) -> Finding | None:
    """Return what it is instead of a CT."""
    modality, sop = header.get("Modality", ""), header.get("SOPClassUID", "")
    if modality in _RADIOGRAPHS:
        return Finding("radiograph", f"a radiograph (modality {modality}), not a CT")
    if modality and modality != "CT":
        return Finding("not-ct", f"modality {modality}, not CT")
    if sop.startswith(_SECONDARY_CAPTURE):
        return Finding(
            "secondary-capture",
            "a secondary capture (screenshot or scanned film), not CT slices",
        )
    if not modality and sop not in _CT:
        return Finding(
            "no-modality", f"neither Modality nor SOPClassUID says that it is a CT{_cut(header)}"
        )
    return None


def _cut(header: Header) -> str:
    """Return the defect in brackets; it is most likely why something is absent."""
    return f" ({header.defect})" if header.defect else ""


def _image_type(header: Header) -> Finding | None:
    """Return what ImageType (0008,0008), or a frame's FrameType (0008,9007), excludes."""
    image_type = tuple(part.upper() for part in header.get("ImageType", ()))
    if "LOCALIZER" in image_type or "SCOUT" in image_type:
        return Finding("localizer", "a localizer (scout view), not axial slices")
    if image_type[1:2] == ("SECONDARY",):
        return Finding("derived", "derived images (ImageType SECONDARY), not the original slices")
    reformatted = any(word in part for part in image_type for word in _REFORMATS)
    if image_type[:1] == ("DERIVED",) and (reformatted or _COMBINED & {*image_type[3:4]}):
        return Finding(
            "derived", f"derived images ({'/'.join(image_type)}), not the original slices"
        )
    return None


def _entries(header: Header) -> Finding | None:
    """Return which entry of the header is missing or wrong."""
    photometric = header.get("PhotometricInterpretation", "")
    if header.get("SamplesPerPixel", 1) != 1 or not photometric.startswith("MONOCHROME"):
        found = photometric or "no photometric interpretation"
        return Finding("colour", f"colour images ({found}), not grey CT")
    if header.get("ModalityLUTSequence"):
        return Finding(
            "modality-lut", "ModalityLUTSequence, where a CT has RescaleSlope and RescaleIntercept"
        )
    for keyword in _NEEDED:
        if header.get(keyword) is None:
            return Finding("missing-attribute", f"no valid {keyword} in the header{_cut(header)}")
    return _pixel_format(header) or _matrix(header) or _rescale(header)


def _pixel_format(header: Header) -> Finding | None:
    syntax = header.transfer_syntax
    if syntax not in NATIVE and syntax not in COMPRESSED and not header.defect:
        return Finding("transfer-syntax", f"TransferSyntaxUID {syntax} is in no known compression")
    allocated, stored = header.get("BitsAllocated"), header.get("BitsStored")
    if allocated not in (8, 16, 32) or not 1 <= stored <= allocated:
        return Finding(
            "pixel-format", f"BitsStored {stored} of BitsAllocated {allocated}, which no CT has"
        )
    sign, high = header.get("PixelRepresentation"), header.get("HighBit", stored - 1)
    if sign not in (0, 1):
        return Finding("pixel-format", f"PixelRepresentation {sign}, which is neither 0 nor 1")
    # Some writers shift the pixels to the left, and some write a wrong HighBit: nobody can tell.
    if high != stored - 1:
        return Finding(
            "high-bit",
            f"HighBit {high} with BitsStored {stored}, where a CT has {stored - 1}: the pixels may "
            "be left-justified",
        )
    return None


def _matrix(header: Header) -> Finding | None:
    rows, columns = header.get("Rows"), header.get("Columns")
    if max(rows, columns) > MAX_MATRIX:
        return Finding(
            "matrix-too-large",
            f"Rows {rows} and Columns {columns} (at most {MAX_MATRIX}), which no CT has",
        )
    if reason := too_small(rows, columns):
        return reason
    if min(header.get("PixelSpacing")) <= 0:
        return Finding("pixel-spacing", "PixelSpacing is not positive")
    return None


def _rescale(header: Header) -> Finding | None:
    slope, kind = header.get("RescaleSlope"), header.get("RescaleType", "HU")
    if abs(slope) < MIN_SLOPE:
        return Finding(
            "rescale-slope", f"RescaleSlope is {slope:g}, which gives no Hounsfield units"
        )
    if kind.upper() != "HU":  # absent means HU (PS3.3 C.8.2.1)
        return Finding("rescale-type", f"RescaleType is {kind}, not HU")
    return None
