"""A synthetic scan as a DICOM series of CT images (PS3.3 A.3)."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian

from darnet_trt.phantom.files.placement import as_stored
from darnet_trt.phantom.synthesis import Scan
from darnet_trt.scan.cohorts import PHANTOM_MODEL

NOTE = "Synthetic phantom, no patient. Research only."
INTERCEPT_HU = -1024
KERNELS = ((0.25, "B20f"), (0.5, "B31f"), (0.75, "B50f"), (1.01, "B70f"))


def _uid(*parts: object) -> UID:
    """Return a UID under 2.25 (PS3.5 B.2) that depends on nothing but its parts."""
    digest = hashlib.sha256("/".join(map(str, ("darnet-trt phantom", *parts))).encode()).digest()
    return UID(f"2.25.{int.from_bytes(digest[:16], 'big')}")


def write_dicom(scan: Scan, folder: Path, patient: str, visit: int, identity: str) -> None:
    """Write one file for each slice into an existing folder.

    Args:
        scan: What to write.
        folder: Where to.
        patient: PatientID (0010,0020).
        visit: Which scan of that patient; makes another study of it.
        identity: What the UIDs are made from: the same text gives the same UIDs.

    Raises:
        OSError: A file cannot be written.
    """
    hu, origin_mm, direction = as_stored(scan)
    count, rows, columns = hu.shape
    dz, dy, dx = (float(f"{value:.6g}") for value in scan.volume.spacing_mm)
    kernel = next(name for limit, name in KERNELS if scan.acquisition.sharpness < limit)

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = _uid("implementation")
    ds = Dataset()
    ds.file_meta = meta
    ds.SpecificCharacterSet = "ISO_IR 100"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.SOPClassUID = CTImageStorage
    ds.StudyDate = ds.SeriesDate = ds.AcquisitionDate = ds.ContentDate = f"202001{visit + 1:02d}"
    ds.StudyTime = ds.SeriesTime = ds.AcquisitionTime = ds.ContentTime = "120000"
    ds.AccessionNumber = ""
    ds.Modality = "CT"
    ds.Manufacturer = "darnet-trt"
    ds.ReferringPhysicianName = ""
    ds.StudyDescription = "Synthetic chest"
    ds.SeriesDescription = f"Chest {dz:.1f} mm {kernel}"
    ds.ManufacturerModelName = PHANTOM_MODEL
    ds.PatientName = patient
    ds.PatientID = patient
    ds.PatientBirthDate = ""
    ds.PatientSex = "F" if scan.anatomy.breast else "M"
    ds.PatientComments = NOTE
    ds.BodyPartExamined = "CHEST"
    ds.SliceThickness = f"{dz:.6g}"
    ds.KVP = "120"
    ds.PatientPosition = scan.acquisition.position
    ds.ConvolutionKernel = kernel
    ds.StudyInstanceUID = _uid(identity, patient, visit, "study")
    ds.SeriesInstanceUID = _uid(identity, patient, visit, "series")
    ds.StudyID = str(visit + 1)
    ds.SeriesNumber = 2
    ds.AcquisitionNumber = 1
    ds.FrameOfReferenceUID = _uid(identity, patient, visit, "frame")
    ds.PositionReferenceIndicator = ""
    ds.ImageOrientationPatient = [int(v) for v in (*direction[:, 2], *direction[:, 1])]
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.Rows, ds.Columns = rows, columns
    ds.PixelSpacing = [f"{dy:.6g}", f"{dx:.6g}"]
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    ds.WindowCenter, ds.WindowWidth = "-600", "1500"
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = str(INTERCEPT_HU), "1", "HU"
    ds.ImageComments = NOTE

    steps = np.arange(count)[:, None] * direction[:, 0] * dz
    for index, position in enumerate(origin_mm + steps):
        instance = _uid(identity, patient, visit, index)
        meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = instance
        ds.InstanceNumber = index + 1
        ds.ImagePositionPatient = [f"{value:.8g}" for value in position]
        values = (hu[index].astype(np.int32) - INTERCEPT_HU).astype("<u2")
        ds.PixelData = values.tobytes()
        ds["PixelData"].VR = "OW"
        ds.save_as(folder / f"IM{index + 1:04d}.dcm", enforce_file_format=True)
