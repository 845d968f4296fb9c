"""One scan, written in every format and in every order of its axes that the format allows.

The writers are those of other projects (pydicom, nibabel, SimpleITK, imagecodecs), so that the
readers are compared with what others make.
"""

from __future__ import annotations

import gzip
import itertools
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imagecodecs
import nibabel
import numpy as np
import SimpleITK as sitk  # noqa: N813
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.sequence import Sequence

from darnet_trt.scan import Volume
from tests.scan.series_factory import save, slice_dataset

INTERCEPT_HU = -1024
ENHANCED_CT = "1.2.840.10008.5.1.4.1.1.2.1"
EVERY_ORDER = [
    (axes, flips)
    for axes in itertools.permutations(range(3))
    for flips in itertools.product((False, True), repeat=3)
]
"""The 48 ways to store a volume: which of d h w comes first, and which of them run backwards."""
AXIAL_ORDERS = [(axes, flips) for axes, flips in EVERY_ORDER if axes[0] == 0]
"""The 16 of them whose slices are axial."""


@dataclass(frozen=True, eq=False)
class Stored:
    """Voxels as a file holds them.

    Attributes:
        hu: int16 (k, j, i), not below -1024.
        spacing_mm: Along k, j, i.
        direction: 3×3, columns are the LPS unit vectors of the k, j and i axes.
        origin_mm: LPS coordinates of the first voxel.
    """

    hu: np.ndarray[Any, Any]
    spacing_mm: tuple[float, float, float]
    direction: np.ndarray[Any, Any]
    origin_mm: np.ndarray[Any, Any]


def stored(
    volume: Volume, axes: tuple[int, ...] = (0, 1, 2), flips: tuple[bool, ...] = ()
) -> Stored:
    """Return the volume with its axes in another order; every voxel keeps its place."""
    hu = np.asarray(volume.hu, np.int16).clip(INTERCEPT_HU)
    direction, origin = volume.direction.copy(), np.array(volume.origin_mm, float)
    for axis, flip in enumerate(flips):
        if flip:
            origin += direction[:, axis] * volume.spacing_mm[axis] * (hu.shape[axis] - 1)
            direction[:, axis] *= -1
            hu = np.flip(hu, axis)
    spacing = tuple(float(volume.spacing_mm[axis]) for axis in axes)
    turned = np.ascontiguousarray(hu.transpose(axes))
    return Stored(turned, spacing, direction[:, list(axes)], origin)


def write_nifti(scan: Stored, path: Path, kind: type = nibabel.Nifti1Image) -> Path:
    """Write NIfTI: `.nii`, `.nii.gz`, or a `.hdr` with its `.img`."""
    affine = np.eye(4)
    affine[:3, :3] = (scan.direction * scan.spacing_mm)[:, ::-1]
    affine[:3, 3] = scan.origin_mm
    image = kind(scan.hu.T, np.diag([-1, -1, 1, 1]) @ affine)
    image.header.set_xyzt_units("mm")
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(image, path)
    return path


def write_nifti_2(scan: Stored, path: Path) -> Path:
    """Write NIfTI-2."""
    return write_nifti(scan, path, nibabel.Nifti2Image)


def write_nifti_pair(scan: Stored, path: Path) -> Path:
    """Write `.hdr` and `.img`."""
    return write_nifti(scan, path, nibabel.Nifti1Pair)


def write_itk(scan: Stored, path: Path, *, compress: bool = False) -> Path:
    """Write NRRD or MetaImage, as the name says."""
    image = sitk.GetImageFromArray(scan.hu)
    image.SetSpacing(scan.spacing_mm[::-1])
    image.SetDirection(scan.direction[:, ::-1].ravel().tolist())
    image.SetOrigin(scan.origin_mm.tolist())
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, path, compress)
    return path


def write_packed(scan: Stored, path: Path) -> Path:
    """Write NRRD or MetaImage with compressed voxels."""
    return write_itk(scan, path, compress=True)


VOLUME_FILES: dict[str, Callable[[Stored, Path], Path]] = {
    "a.nii": write_nifti,
    "a.nii.gz": write_nifti,
    "two.nii": write_nifti_2,
    "two.nii.gz": write_nifti_2,
    "a.hdr": write_nifti_pair,
    "a.nrrd": write_itk,
    "packed.nrrd": write_packed,
    "a.nhdr": write_itk,
    "a.mha": write_itk,
    "packed.mha": write_packed,
    "a.mhd": write_itk,
    "packed.mhd": write_packed,
}
"""Name of the file to write → its writer."""

Encoder = Callable[[np.ndarray[Any, Any]], bytes]


def _rle(pixels: np.ndarray[Any, Any]) -> bytes:
    ds = slice_dataset(pixels, (0, 0, 0))
    ds.compress(uid.RLELossless, generate_instance_uid=False)
    return next(generate_frames(ds.PixelData, number_of_frames=1))


def _jpeg_2000(pixels: np.ndarray[Any, Any]) -> bytes:
    options = {"codecformat": "j2k", "bitspersample": 16, "reversible": True}
    return imagecodecs.jpeg2k_encode(pixels, level=0, **options)


def _htj2k(pixels: np.ndarray[Any, Any]) -> bytes:
    return imagecodecs.htj2k_encode(pixels, reversible=True)


def _jpeg_lossless(pixels: np.ndarray[Any, Any]) -> bytes:
    return imagecodecs.ljpeg_encode(pixels, bitspersample=16)


SYNTAXES: dict[str, tuple[str, Encoder | None]] = {
    "implicit": (uid.ImplicitVRLittleEndian, None),
    "explicit": (uid.ExplicitVRLittleEndian, None),
    "big-endian": (uid.ExplicitVRBigEndian, None),
    "deflated": (uid.DeflatedExplicitVRLittleEndian, None),
    "rle": (uid.RLELossless, _rle),
    "jpeg-lossless": (uid.JPEGLossless, _jpeg_lossless),
    "jpeg-lossless-sv1": (uid.JPEGLosslessSV1, _jpeg_lossless),
    "jpeg-ls": (uid.JPEGLSLossless, imagecodecs.jpegls_encode),
    "jpeg-2000": (uid.JPEG2000Lossless, _jpeg_2000),
    "htj2k": (uid.HTJ2KLossless, _htj2k),
    "htj2k-rpcl": (uid.HTJ2KLosslessRPCL, _htj2k),
}
"""Name of a lossless transfer syntax → its UID and its encoder of one slice."""


def _slice(scan: Stored, index: int, syntax: str) -> Dataset:
    """Return an axial slice of classic CT; in native syntaxes without its pixels' order."""
    assert abs(scan.direction[2, 0]) > 0.99, "the slices are axial"
    pixels = (scan.hu[index].astype(np.int32) - INTERCEPT_HU).astype(np.uint16)
    transfer, encode = SYNTAXES[syntax]
    dz, dy, dx = scan.spacing_mm
    place = scan.origin_mm + index * dz * scan.direction[:, 0]
    more = {} if encode is None else {"PixelData": encode(pixels)}
    ds = slice_dataset(
        pixels,
        place,
        TransferSyntaxUID=transfer,
        RescaleIntercept=str(INTERCEPT_HU),
        PixelSpacing=[dy, dx],
        SliceThickness=dz,
        InstanceNumber=index + 1,
        SOPInstanceUID=f"1.2.3.4.{index + 1}",
        ImageOrientationPatient=[*scan.direction[:, 2].tolist(), *scan.direction[:, 1].tolist()],
        **more,
    )
    ds.ImagePositionPatient = [f"{value:.10g}" for value in place]
    if transfer == uid.ExplicitVRBigEndian:
        ds.PixelData = pixels.astype(">u2").tobytes()
    return ds


def write_classic(scan: Stored, folder: Path, syntax: str = "explicit") -> Path:
    """Write a file for each slice."""
    for index in range(len(scan.hu)):
        save(_slice(scan, index, syntax), folder / f"IM{index:04d}.dcm")
    return folder


def write_enhanced(scan: Stored, folder: Path, syntax: str = "explicit") -> Path:
    """Write one Enhanced CT file (PS3.3 A.38) with a frame for each slice."""
    slices = [_slice(scan, index, syntax) for index in range(len(scan.hu))]
    ds = slices[0]
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = ENHANCED_CT
    ds.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    ds.VolumetricProperties, ds.NumberOfFrames = "VOLUME", len(slices)
    if SYNTAXES[syntax][1] is None:
        ds.PixelData = b"".join(one.PixelData for one in slices)
    else:
        frames = [next(generate_frames(one.PixelData, number_of_frames=1)) for one in slices]
        ds.PixelData = encapsulate(frames)
    ds["PixelData"].VR = "OW"
    shared = Dataset()
    shared.PixelMeasuresSequence = _one(ds, "PixelSpacing", "SliceThickness")
    shared.PlaneOrientationSequence = _one(ds, "ImageOrientationPatient")
    rescale = ("RescaleSlope", "RescaleIntercept", "RescaleType")
    ds.RescaleType = "HU"
    shared.PixelValueTransformationSequence = _one(ds, *rescale)
    frame_type = Dataset()
    frame_type.FrameType, frame_type.VolumetricProperties = ds.ImageType, "VOLUME"
    shared.CTImageFrameTypeSequence = Sequence([frame_type])
    ds.SharedFunctionalGroupsSequence = Sequence([shared])
    frames_own = []
    for index, one in enumerate(slices):
        own, content = Dataset(), Dataset()
        content.FrameAcquisitionNumber, content.InStackPositionNumber = 1, index + 1
        content.StackID = "1"
        content.DimensionIndexValues = [1, index + 1]
        own.FrameContentSequence = Sequence([content])
        own.PlanePositionSequence = _one(one, "ImagePositionPatient")
        frames_own.append(own)
    ds.PerFrameFunctionalGroupsSequence = Sequence(frames_own)
    places = ("ImageOrientationPatient", "ImagePositionPatient")
    for moved in ("PixelSpacing", "SliceThickness", *places, *rescale):
        delattr(ds, moved)
    save(ds, folder / "enhanced.dcm")
    return folder


def _one(ds: Dataset, *names: str) -> Sequence:
    """Return a sequence of one item that holds these attributes."""
    item = Dataset()
    for name in names:
        setattr(item, name, ds[name].value)
    return Sequence([item])


def packed(folder: Path, path: Path) -> Path:
    """Pack a folder's files into a zip archive."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, file.relative_to(folder))
    return path


def gzipped(folder: Path, other: Path) -> Path:
    """Pack each file of a folder by gzip, into another folder."""
    other.mkdir(parents=True)
    for file in folder.iterdir():
        (other / f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes(), 1, mtime=0))
    return other
