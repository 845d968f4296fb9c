"""Studies to make objects of: phantoms, real series, and headers that lack or spoil something."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from struct import pack
from typing import Any, Final

from pydicom import dcmread
from pydicom.datadict import dictionary_VR
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from darnet_trt.phantom.files.dicom import write_dicom
from darnet_trt.phantom.synthesis import synthesize_scan
from tests.scan.written_scans import stored, write_classic, write_enhanced

PHANTOM: Final = synthesize_scan("covid-19", 5, matrix=64, slices=(30, 30))
REAL: Final = ("chest-4mm-64px", "chest-8mm/soft", "chest-8mm/sharp")


def phantom(folder: Path, name: str = "P0001") -> Path:
    """Write a phantom as the cohort does."""
    folder.mkdir(parents=True)
    write_dicom(PHANTOM, folder, name, 0, name)
    return folder


def changed(folder: Path, change: Callable[[Dataset], Any], name: str = "P0002") -> Path:
    """Write a phantom whose slices are all changed."""
    for file in phantom(folder, name).iterdir():
        ds = dcmread(file)
        change(ds)
        ds.save_as(file)
    return folder


def bare(folder: Path, *, enhanced: bool = False, syntax: str = "explicit") -> Path:
    """Write a phantom with hardly more than its pixels and its geometry."""
    write = write_enhanced if enhanced else write_classic
    return as_study(write(stored(PHANTOM.volume), folder, syntax), f"{enhanced:d}{len(syntax)}")


def as_study(folder: Path, number: str) -> Path:
    """Give the slices in a folder UIDs of their own, and a frame of reference."""
    for file in folder.iterdir():
        ds = dcmread(file)
        ds.StudyInstanceUID = f"2.25.1{number}"
        ds.SeriesInstanceUID = f"2.25.1{number}.1"
        ds.FrameOfReferenceUID = f"2.25.1{number}.2"
        ds.SOPInstanceUID = f"2.25.1{number}.3.{ds.InstanceNumber}"
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
        ds.save_as(file)
    return folder


def lacking(*names: str) -> Callable[[Dataset], None]:
    """Return a change that deletes attributes."""

    def change(ds: Dataset) -> None:
        for name in names:
            if name in ds:
                delattr(ds, name)

    return change


def without_any(ds: Dataset) -> None:
    """Delete what describes the patient and the study."""
    for element in list(ds.group_dataset(0x0010)):
        del ds[element.tag]
    lacking(
        "StudyDate", "StudyTime", "StudyID", "AccessionNumber", "ReferringPhysicianName",
        "StudyDescription", "SeriesDescription", "SeriesNumber", "BodyPartExamined",
        "PositionReferenceIndicator", "PatientPosition", "Manufacturer",
    )(ds)  # fmt: skip


def japanese(ds: Dataset) -> None:
    """Name the patient as in PS3.5 H.3.1, with code extensions."""
    ds.SpecificCharacterSet = ["", "ISO 2022 IR 87"]
    ds.PatientName = "Yamada^Tarou=山田^太郎=やまだ^たろう"
    ds.StudyDescription = "胸部"


def chinese(ds: Dataset) -> None:
    """Name the patient as in PS3.5 J.3, in GB18030."""
    ds.SpecificCharacterSet = "GB18030"
    ds.PatientName = "Wang^XiaoDong=王^小东"


def cyrillic(ds: Dataset) -> None:
    """Name the patient in ISO 8859-5, with all five parts."""
    ds.SpecificCharacterSet = "ISO_IR 144"
    ds.PatientName = "Люкceмбypг^Анна^Мария^Dr^Jr"
    ds.ReferringPhysicianName = "Чехов^Антон"


def spoiled(folder: Path, values: dict[str, bytes], name: str = "P0003") -> Path:
    """Write a phantom, and put bytes that pydicom would not write into each of its files."""
    for file in changed(
        folder, lambda ds: [setattr(ds, key, None) for key in values], name
    ).iterdir():
        content = file.read_bytes()
        for key, value in values.items():
            start = pack("<HH", Tag(key).group, Tag(key).element) + dictionary_VR(key).encode()
            even = value + b" " * (len(value) % 2)
            empty = start + pack("<H", 0)
            assert content.count(empty) == 1
            content = content.replace(empty, start + pack("<H", len(even)) + even)
        file.write_bytes(content)
    return folder
