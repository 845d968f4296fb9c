"""Headers of slices without files."""

from pathlib import Path
from typing import Any

from pydicom.uid import ExplicitVRLittleEndian

from darnet_trt.scan.dicom.header import Header

_SLICE = {
    "SOPClassUID": "1.2.840.10008.5.1.4.1.1.2", "Modality": "CT", "PatientID": "P1",
    "StudyInstanceUID": "1.2.1", "SeriesInstanceUID": "1.2.1.1", "SeriesNumber": 1,
    "FrameOfReferenceUID": "1.2.9", "ImageType": ("ORIGINAL", "PRIMARY", "AXIAL"),
    "PhotometricInterpretation": "MONOCHROME2", "Rows": 64, "Columns": 64,
    "PixelSpacing": (6.0, 6.0), "BitsAllocated": 16, "BitsStored": 16, "HighBit": 15,
    "PixelRepresentation": 1, "RescaleSlope": 1.0,
    "RescaleIntercept": 0.0, "ImageOrientationPatient": (1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
}  # fmt: skip


def slice_at(z_mm: float, folder: str = "scan", **values: Any) -> Header:
    """Return the header of one axial slice; each has a path of its own."""
    slice_at.count = getattr(slice_at, "count", 0) + 1  # type: ignore[attr-defined]
    path = Path(folder) / f"{slice_at.count:06}.dcm"  # type: ignore[attr-defined]
    place = (-190.0, -190.0, float(z_mm))
    attributes = {**_SLICE, "ImagePositionPatient": place, **values}
    return Header(path, ExplicitVRLittleEndian, attributes, None)


def places(headers: Any) -> list[float]:
    """Return the places of slices along the body, sorted."""
    return sorted(header.get("ImagePositionPatient")[2] for header in headers)
