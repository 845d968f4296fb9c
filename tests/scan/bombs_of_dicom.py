"""DICOM series that claim, or unpack to, many gigabytes: one function each, into a folder."""

from __future__ import annotations

import struct
from copy import deepcopy
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from pydicom import dcmread, uid
from pydicom.dataset import Dataset

from darnet_trt.scan import Volume
from tests.scan.bombs_zeros import CHUNK, deflated_zeros, gzipped_zeros
from tests.scan.series_factory import chest, save, slice_dataset
from tests.scan.written_scans import stored, write_enhanced

SLICES = 12


def _series(folder: Path, syntax: str, code: bytes, **more: Any) -> None:
    """Write twelve slices with the same compressed pixels."""
    plane = np.zeros((64, 64), np.uint16)
    for index in range(SLICES):
        place = (-190, -190, 10 * index)
        options = {"TransferSyntaxUID": syntax, "RescaleIntercept": "-1024", **more}
        ds = slice_dataset(plane, place, PixelData=code, InstanceNumber=index + 1, **options)
        save(ds, folder / f"{index}.dcm")


def plane() -> np.ndarray[Any, Any]:
    return (chest(3)[1].astype(int) + 1024).clip(0).astype(np.uint16)


def _jpeg_2000(side: int) -> bytes:
    code = bytearray(imagecodecs.jpeg2k_encode(plane(), level=0, codecformat="j2k"))
    at = code.index(b"\xff\x51")
    struct.pack_into(">2I", code, at + 6, side, side)  # Xsiz, Ysiz
    struct.pack_into(">2I", code, at + 22, side, side)  # XTsiz, YTsiz
    return bytes(code)


def jpeg_2000(folder: Path) -> None:
    """Write a codestream of 64×64 pixels that claims 33 000×33 000."""
    _series(folder, uid.JPEG2000Lossless, _jpeg_2000(33_000))


def jpeg_2000_that_its_header_believes(folder: Path) -> None:
    """Write the same with Rows and Columns that agree."""
    _series(folder, uid.JPEG2000Lossless, _jpeg_2000(33_000), Rows=33_000, Columns=33_000)


def jpeg_2000_of_a_large_matrix(folder: Path) -> None:
    """Write the same with a size that a slice may have."""
    size = {"Rows": 2048, "Columns": 2048, "PixelSpacing": [0.2, 0.2]}
    _series(folder, uid.JPEG2000Lossless, _jpeg_2000(2048), **size)


def htj2k(folder: Path) -> None:
    """Write the same in HTJ2K."""
    code = bytearray(imagecodecs.htj2k_encode(plane(), reversible=True))
    at = code.index(b"\xff\x51")
    struct.pack_into(">2I", code, at + 6, 33_000, 33_000)
    struct.pack_into(">2I", code, at + 22, 33_000, 33_000)
    _series(folder, uid.HTJ2KLossless, bytes(code))


def with_frame(code: bytes, markers: tuple[bytes, ...], side: int) -> bytes:
    """Write another size into the frame header (SOF) of a JPEG."""
    changed = bytearray(code)
    at = next(code.index(marker) for marker in markers if marker in code)
    struct.pack_into(">2H", changed, at + 5, side, side)
    return bytes(changed)


def jpeg_lossless(folder: Path) -> None:
    """Write a JPEG of 64×64 pixels that claims 65 500×65 500."""
    code = with_frame(imagecodecs.ljpeg_encode(plane(), bitspersample=16), (b"\xff\xc3",), 65_500)
    _series(folder, uid.JPEGLosslessSV1, code)


def jpeg_ls(folder: Path) -> None:
    """Write the same in JPEG-LS."""
    code = with_frame(imagecodecs.jpegls_encode(plane()), (b"\xff\xf7",), 65_500)
    _series(folder, uid.JPEGLSLossless, code)


def jpeg_baseline(folder: Path) -> None:
    """Write the same in JPEG baseline."""
    code = imagecodecs.jpeg8_encode((plane() >> 4).astype(np.uint8))
    code = with_frame(code, (b"\xff\xc0", b"\xff\xc1", b"\xff\xc2"), 65_500)
    eight = {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}
    _series(folder, uid.JPEGBaseline8Bit, code, **eight)


def rle_that_its_header_believes(folder: Path) -> None:
    """Write a few runs: one for each 128 bytes of 65 535×65 535 pixels would be 67 MB."""
    segments = struct.pack("<16I", 2, 64, 64 + 2000, *[0] * 13) + b"\x81\0" * 2000
    _series(folder, uid.RLELossless, segments, Rows=65_535, Columns=65_535)


def native_that_is_short(folder: Path) -> None:
    """Write Rows and Columns of 8 GB before 8 kB of pixels."""
    for index in range(SLICES):
        ds = slice_dataset(plane(), (-190, -190, 10 * index), Rows=65_535, Columns=65_535)
        save(ds, folder / f"{index}.dcm")


def enhanced_of_many_frames(folder: Path) -> None:
    """Write a header of two thousand million frames."""
    ds = slice_dataset(plane(), (0, 0, 0), SOPClassUID="1.2.840.10008.5.1.4.1.1.2.1")
    ds.NumberOfFrames = 2_000_000_000
    save(ds, folder / "a.dcm")


def _deflated(ds: Dataset, path: Path, length: int, chunks: int) -> None:
    """Save a slice deflated, with this length of its pixels, and zeros in place of them."""
    save(ds, path)
    whole = path.read_bytes()
    meta = 144 + struct.unpack_from("<I", whole, 140)[0]  # (0002,0000)
    elements = bytearray(whole[meta:])
    at = elements.index(b"\xe0\x7f\x10\x00OW\0\0")
    struct.pack_into("<I", elements, at + 8, length)
    head = whole[:meta].replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.1.99")
    head = head[:140] + struct.pack("<I", len(head) - 144) + head[144:]
    where = head.index(b"1.2.840.10008.1.2.1.99")
    head = head[: where - 2] + struct.pack("<H", 22) + head[where:]
    path.write_bytes(head + deflated_zeros(chunks, bytes(elements[: at + 12])))


def deflated_dicom(folder: Path) -> None:
    """Write twelve slices of 4 GB, and 4 GB behind each, in 8 MB."""
    for index in range(SLICES):
        ds = slice_dataset(plane(), (-190, -190, 10 * index), Rows=61_440, Columns=32_768)
        _deflated(ds, folder / f"{index}.dcm", 30 * CHUNK, 64)


def deflated_dicom_longer_than_its_header(folder: Path) -> None:
    """Write slices of 64×64 pixels, in 4 GB of them."""
    for index in range(SLICES):
        ds = slice_dataset(plane(), (-190, -190, 10 * index))
        _deflated(ds, folder / f"{index}.dcm", 30 * CHUNK, 30)


def deflated_dicom_with_more_behind(folder: Path) -> None:
    """Write slices of 64×64 pixels, and 8 GB behind them."""
    for index in range(SLICES):
        ds = slice_dataset(plane(), (-190, -190, 10 * index))
        _deflated(ds, folder / f"{index}.dcm", 8192, 64)


def deflated_enhanced(folder: Path) -> None:
    """Write 7660 frames of 512×512 pixels, packed to 4 MB."""
    volume = Volume(np.zeros((12, 16, 16), np.int16), (0.5, 20.0, 20.0), (-160, -150, -900))
    write_enhanced(stored(volume), folder)
    ds = dcmread(folder / "enhanced.dcm")
    ds.Rows, ds.Columns, ds.NumberOfFrames = 512, 512, 7660
    shared = ds.SharedFunctionalGroupsSequence[0]
    shared.PixelMeasuresSequence[0].PixelSpacing = [0.7, 0.7]
    own = ds.PerFrameFunctionalGroupsSequence
    for index in range(12, 7660):
        frame = deepcopy(own[0])
        frame.PlanePositionSequence[0].ImagePositionPatient = [-160, -150, -900 + 0.5 * index]
        own.append(frame)
    ds["PixelData"].VR = "OW"
    _deflated(ds, folder / "enhanced.dcm", 7660 * 512 * 1024, 30)


def dicom_gz(folder: Path) -> None:
    """Write a slice with 13 GB behind it, packed by gzip; twelve of them."""
    for index in range(SLICES):
        path = save(slice_dataset(plane(), (-190, -190, 10 * index)), folder / f"{index}.dcm")
        (folder / f"{index}.dcm.gz").write_bytes(gzipped_zeros(100, path.read_bytes()))
        path.unlink()


DICOM_BOMBS = (
    jpeg_2000,
    jpeg_2000_that_its_header_believes,
    jpeg_2000_of_a_large_matrix,
    htj2k,
    jpeg_lossless,
    jpeg_ls,
    jpeg_baseline,
    rle_that_its_header_believes,
    native_that_is_short,
    enhanced_of_many_frames,
    deflated_dicom,
    deflated_dicom_longer_than_its_header,
    deflated_dicom_with_more_behind,
    deflated_enhanced,
    dicom_gz,
)
