"""Result folders with small DICOM objects, made by hand."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Final

from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from darnet_trt.runtime.prediction.results.folder import ResultFolder
from darnet_trt.runtime.prediction.results.result import Made
from tests.runtime.prediction.results.test_result import result

PAPER_CLASSES: Final = {
    "sr": "1.2.840.10008.5.1.4.1.1.88.34",
    "pm": "1.2.840.10008.5.1.4.1.1.30",
    "sc": "1.2.840.10008.5.1.4.1.1.7",
}
KINDS: Final = tuple(PAPER_CLASSES)


def sop_uid(study: int, kind: str) -> str:
    return f"2.25.{1000 + study}{KINDS.index(kind) + 1}"


def made(study: int, kind: str, padding: int = 0) -> Made:
    """An object without pixels; the same arguments give the same bytes."""
    data = Dataset()
    data.SOPClassUID, data.SOPInstanceUID = PAPER_CLASSES[kind], sop_uid(study, kind)
    data.PatientID, data.PatientName = f"P{study}", f"Test^{study}"
    data.StudyInstanceUID = f"2.25.7{study}"
    data.SeriesInstanceUID = f"2.25.8{study}{KINDS.index(kind)}"
    data.Modality, data.InstanceNumber = kind.upper(), 1
    data.StudyID = data.AccessionNumber = data.StudyDate = data.StudyTime = ""
    if padding:
        data.add_new(0x00420011, "OB", bytes(padding))
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    content = BytesIO()
    data.save_as(content, enforce_file_format=True)
    uid = str(data.SeriesInstanceUID)
    return Made(kind, PAPER_CLASSES[kind], str(data.SOPInstanceUID), uid, content.getvalue())


def write_results(folder: Path, studies: int, *kinds: str, padding: int = 0) -> list[str]:
    """Write a folder of results with their objects; return the objects' UIDs, sorted."""
    kinds = kinds or KINDS
    with ResultFolder(folder, resume=True) as opened:
        for study in range(studies):
            objects = tuple(made(study, kind, padding) for kind in kinds)
            opened.add(result(f"scans/{study}", made=objects))
    return sorted(sop_uid(study, kind) for study in range(studies) for kind in kinds)
