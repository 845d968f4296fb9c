"""Small CT series, written with pydicom: a body with two lungs, and whatever is wrong with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid

from darnet_trt.scan import Series, Study, find_studies

CT = "1.2.840.10008.5.1.4.1.1.2"


def chest(slices: int = 24, size: int = 64, seed: int = 0) -> np.ndarray[Any, Any]:
    """int16 HU (d, h, w), S P L: an asymmetric body, so that every flip shows."""
    rng = np.random.default_rng(seed)
    d, h, w = np.mgrid[-1 : 1 : slices * 1j, -1 : 1 : size * 1j, -1 : 1 : size * 1j]
    hu = np.full((slices, size, size), -1000.0)
    hu[(h / 0.7) ** 2 + (w / 0.9) ** 2 < 1] = 40
    for side, width in ((-0.42, 0.3), (0.45, 0.25)):
        hu[(h / 0.5) ** 2 + ((w - side) / width) ** 2 + (d / 0.95) ** 2 < 1] = -850
    hu[(np.abs(h - 0.55) < 0.1) & (np.abs(w) < 0.1)] = 700  # spine
    hu[(np.abs(h) < 0.15) & (np.abs(w + 0.4) < 0.1) & (d > 0.3)] = 30  # high, on the right
    return np.rint(hu + rng.normal(0, 8, hu.shape)).astype(np.int16)


def slice_dataset(stored: np.ndarray[Any, Any], position: Any, **attributes: Any) -> Dataset:
    """One CT slice; attributes override or (with None) delete what is set here."""
    syntax = UID(attributes.pop("TransferSyntaxUID", ExplicitVRLittleEndian))
    pixels = attributes.pop("PixelData", None)
    bits = stored.dtype.itemsize * 8
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = CT, generate_uid()
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.Modality, ds.PatientID, ds.PatientName = "CT", "P1", "P^1"
    ds.StudyInstanceUID, ds.SeriesInstanceUID = "1.2.3.1", "1.2.3.1.1"
    ds.SeriesNumber, ds.InstanceNumber, ds.SliceThickness = 1, 1, "10"
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows, ds.Columns = stored.shape
    ds.PixelSpacing = [6.0, 6.0]
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = bits, bits, bits - 1
    ds.PixelRepresentation = int(stored.dtype.kind == "i")
    ds.RescaleSlope, ds.RescaleIntercept = "1", "0"
    ds.ImagePositionPatient = [float(round(v, 6)) for v in position]
    ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    for name, value in attributes.items():
        if value is None:
            delattr(ds, name)
        else:
            setattr(ds, name, value)
    if pixels is None:
        ds.PixelData = stored.astype(stored.dtype.newbyteorder("<")).tobytes()
    else:
        ds.PixelData = encapsulate([pixels])
    ds["PixelData"].VR = "OW"
    ds.file_meta = FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID = ds.get("SOPClassUID") or CT
    ds.file_meta.MediaStorageSOPInstanceUID = ds.get("SOPInstanceUID") or generate_uid()
    ds.file_meta.TransferSyntaxUID = syntax
    return ds


def save(ds: Dataset, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    ds.save_as(path, enforce_file_format=True)
    return path


def write_series(
    folder: Path,
    hu: np.ndarray[Any, Any] | None = None,
    *,
    step_mm: float = 10.0,
    **attributes: Any,
) -> list[Path]:
    """An axial head-first supine series, foot to head in the order of the returned files."""
    hu = chest() if hu is None else hu
    return [
        save(
            slice_dataset(
                stored,
                (-190.0, -190.0, index * step_mm),
                **{"InstanceNumber": index + 1, **attributes},
            ),
            folder / f"IM{index:04d}.dcm",
        )
        for index, stored in enumerate(hu)
    ]


def write_study(
    folder: Path, *volumes: np.ndarray[Any, Any], **attributes: tuple[Any, ...]
) -> Study:
    """A study of series 1, 2, …; each attribute has a value for each of them."""
    for index, hu in enumerate(volumes):
        own = {name: values[index] for name, values in attributes.items()}
        write_series(
            folder / str(index + 1),
            hu,
            **{"SeriesInstanceUID": generate_uid(), "SeriesNumber": index + 1, **own},
        )
    (study,) = find_studies(folder)
    return study


def series_of(path: Path) -> list[Series]:
    return [series for study in find_studies(path) for series in study.series]


def only(path: Path) -> Series:
    (series,) = series_of(path)
    return series
