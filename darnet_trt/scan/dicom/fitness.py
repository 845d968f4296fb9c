"""Which images cannot be slices of an axial CT, judged one by one."""

from __future__ import annotations

from typing import Final

from darnet_trt.scan.dicom.header import Header
from darnet_trt.scan.plausibility.grid import too_small

_NEEDED: Final = (
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "RescaleSlope",
    "RescaleIntercept",
)
MIN_SLOPE: Final = 1e-6
"""Below it not even 32 stored bits reach tissue: one Hounsfield unit is a million steps."""
_CT = "1.2.840.10008.5.1.4.1.1.2"
_ENHANCED_CT = frozenset({"1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.5.1.4.1.1.2.2"})
_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_RADIOGRAPHS = frozenset({"CR", "DX", "DR", "RG", "PX", "MG", "XA", "RF"})
_REFORMATS = ("MPR", "MIP", "MINIP", "AVERAGE", "VRT", "3D", "PROJECTION", "REFORMAT", "SCREEN")


def unfit(header: Header) -> str | None:
    """Return why an image cannot be a CT slice, or None; then all of `_NEEDED` is valid."""
    modality, sop = header.get("Modality", ""), header.get("SOPClassUID", "")
    image_type = tuple(part.upper() for part in header.get("ImageType", ()))
    cut = f" ({header.defect})" if header.defect else ""  # most likely why something is absent
    if modality in _RADIOGRAPHS:
        return f"a radiograph (modality {modality}), not a CT"
    if modality and modality != "CT":
        return f"modality {modality}, not CT"
    if sop.startswith(_SECONDARY_CAPTURE):
        return "a secondary capture (screenshot or scanned film), not CT slices"
    if sop in _ENHANCED_CT or header.get("NumberOfFrames", 1) > 1:
        return (
            "enhanced multi-frame CT is not supported: export it as classic single-frame CT, "
            "or convert it with dcm4che's emf2sf"
        )
    if not modality and sop != _CT:
        return f"neither Modality nor SOPClassUID says that it is a CT{cut}"
    if "LOCALIZER" in image_type or "SCOUT" in image_type:
        return "a localizer (scout view), not axial slices"
    if image_type[1:2] == ("SECONDARY",):
        return "derived images (ImageType SECONDARY), not the original slices"
    if image_type[:1] == ("DERIVED",) and any(
        word in part for part in image_type for word in _REFORMATS
    ):
        return f"derived images ({'/'.join(image_type)}), not the original slices"
    photometric = header.get("PhotometricInterpretation", "")
    if header.get("SamplesPerPixel", 1) != 1 or not photometric.startswith("MONOCHROME"):
        return f"colour images ({photometric or 'no photometric interpretation'}), not grey CT"
    for keyword in _NEEDED:
        if header.get(keyword) is None:
            return f"no valid {keyword} in the header{cut}"
    allocated, stored = header.get("BitsAllocated"), header.get("BitsStored")
    if allocated not in (8, 16, 32) or not 1 <= stored <= allocated:
        return f"BitsStored {stored} of BitsAllocated {allocated}, which no CT has"
    if reason := too_small(header.get("Rows"), header.get("Columns")):
        return reason
    if abs(header.get("RescaleSlope")) < MIN_SLOPE:
        return f"RescaleSlope is {header.get('RescaleSlope'):g}, which gives no Hounsfield units"
    if min(header.get("PixelSpacing")) <= 0:
        return "PixelSpacing is not positive"
    return None
