"""Small files that claim, or unpack to, many gigabytes."""

from __future__ import annotations

import bz2
import functools
import gzip
import struct
import zipfile
import zlib
from collections.abc import Callable
from copy import deepcopy
from io import BytesIO
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from PIL import Image
from pydicom import dcmread, uid
from pydicom.dataset import Dataset

from darnet_trt.scan import Volume
from tests.scan.pictures.picture_files import resized_png, write_tiff
from tests.scan.series_factory import chest, save, slice_dataset
from tests.scan.written_scans import stored, write_enhanced

CHUNK = 1 << 27
SLICES = 12


@functools.cache
def _deflated_chunk() -> bytes:
    """128 MiB of zeros as deflate blocks that can be repeated."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(bytes(CHUNK)) + packer.flush(zlib.Z_FULL_FLUSH)


def deflated_zeros(chunks: int, before: bytes = b"") -> bytes:
    """Raw deflate of `before` and then 128 MiB of zeros for each chunk."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    start = packer.compress(before) + packer.flush(zlib.Z_FULL_FLUSH)
    end = zlib.compressobj(9, zlib.DEFLATED, -15).flush()
    return start + _deflated_chunk() * chunks + end


def gzipped_zeros(chunks: int, before: bytes) -> bytes:
    """Gzip of the same, as members one after the other."""
    return gzip.compress(before) + _gzip_chunk() * chunks


@functools.cache
def _gzip_chunk() -> bytes:
    return gzip.compress(bytes(CHUNK))


def _nifti_header(*shape: int) -> bytes:
    header = bytearray(352)
    struct.pack_into("<i", header, 0, 348)
    struct.pack_into("<8h", header, 40, len(shape), *shape, *[1] * (7 - len(shape)))
    struct.pack_into("<2h", header, 70, 4, 16)
    struct.pack_into("<8f", header, 76, 1, 0.3, 0.3, 2, 0, 0, 0, 0)
    struct.pack_into("<3f", header, 108, 352, 1, 0)
    header[123] = 2
    struct.pack_into("<2h", header, 252, 0, 1)
    struct.pack_into("<12f", header, 280, -0.3, 0, 0, 160, 0, -0.3, 0, 150, 0, 0, 2, -900)
    header[344:348] = b"n+1\0"
    return bytes(header)


def nifti_gz(folder: Path) -> None:
    """21 GB of voxels in 21 MB."""
    (folder / "a.nii.gz").write_bytes(gzipped_zeros(160, _nifti_header(1024, 1024, 10_240)))


def nifti_gz_of_doubles(folder: Path) -> None:
    """A scan that may be, of 2.5 GB: 1188 slices of 64-bit numbers."""
    header = bytearray(_nifti_header(512, 512, 1188))
    struct.pack_into("<2h", header, 70, 64, 64)
    (folder / "a.nii.gz").write_bytes(gzipped_zeros(19, bytes(header)))


def nifti_gz_longer_than_its_header(folder: Path) -> None:
    """A small volume, and 21 GB behind it."""
    (folder / "a.nii.gz").write_bytes(gzipped_zeros(160, _nifti_header(64, 64, 30)))


def nifti_gz_header_alone(folder: Path) -> None:
    """A header that claims 64 GB, and nothing else."""
    (folder / "a.nii.gz").write_bytes(gzip.compress(_nifti_header(32_000, 32_000, 32)))


def nifti_of_many_volumes(folder: Path) -> None:
    """Seven dimensions."""
    shape = (32_767,) * 7
    (folder / "a.nii").write_bytes(_nifti_header(*shape) + bytes(1000))


def _meta_header(size: str, data: str, more: str = "") -> bytes:
    return (
        "ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\n"
        f"{more}TransformMatrix = 1 0 0 0 1 0 0 0 1\n"
        "Offset = -160 -150 -900\nElementSpacing = 0.3 0.3 2\n"
        f"DimSize = {size}\nElementType = MET_SHORT\nElementDataFile = {data}\n"
    ).encode()


def mha_zlib(folder: Path) -> None:
    """13 GB of voxels in 13 MB."""
    packed = b"\x78\xda" + deflated_zeros(100)
    packed += struct.pack(">I", (100 * CHUNK % 65521 << 16) | 1)
    more = f"CompressedData = True\nCompressedDataSize = {len(packed)}\n"
    header = _meta_header(f"1024 1024 {100 * CHUNK // 2**21}", "LOCAL", more)
    (folder / "a.mha").write_bytes(header + packed)


def mha_zlib_longer_than_its_header(folder: Path) -> None:
    """A small volume whose voxels unpack to 13 GB."""
    packed = b"\x78\xda" + deflated_zeros(100)
    header = _meta_header("64 64 30", "LOCAL", "CompressedData = True\n")
    (folder / "a.mha").write_bytes(header + packed)


def mha_zlib_of_nothing(folder: Path) -> None:
    """A header that claims 12 GB before a few packed bytes."""
    header = _meta_header("2000 2000 1500", "LOCAL", "CompressedData = True\n")
    (folder / "a.mha").write_bytes(header + zlib.compress(bytes(1000)))


def _nrrd(folder: Path, encoding: str, data: bytes, sizes: str = "2000 2000 1500") -> None:
    header = (
        "NRRD0004\ntype: short\ndimension: 3\nspace: left-posterior-superior\n"
        f"sizes: {sizes}\nspace directions: (0.3,0,0) (0,0.3,0) (0,0,2)\n"
        f"endian: little\nencoding: {encoding}\nspace origin: (-160,-150,-900)\n\n"
    )
    (folder / "a.nrrd").write_bytes(header.encode() + data)


def nrrd_raw(folder: Path) -> None:
    """A header that claims 12 GB before 1 kB."""
    _nrrd(folder, "raw", bytes(1000))


def nrrd_gzip(folder: Path) -> None:
    """The same, packed."""
    _nrrd(folder, "gzip", gzip.compress(bytes(1000)))


def nrrd_gzip_whole(folder: Path) -> None:
    """12 GB of zeros in 12 MB."""
    _nrrd(folder, "gzip", gzipped_zeros(90, b""), f"1024 1024 {90 * CHUNK // 2**21}")


def nrrd_bzip2(folder: Path) -> None:
    """The same in another packing."""
    _nrrd(folder, "bzip2", bz2.compress(bytes(1000)))


def nrrd_text(folder: Path) -> None:
    """The same as text."""
    _nrrd(folder, "ascii", b"0 " * 500)


def _series(folder: Path, syntax: str, code: bytes, **more: Any) -> None:
    """Twelve slices with the same compressed pixels."""
    plane = np.zeros((64, 64), np.uint16)
    for index in range(SLICES):
        place = (-190, -190, 10 * index)
        options = {"TransferSyntaxUID": syntax, "RescaleIntercept": "-1024", **more}
        ds = slice_dataset(plane, place, PixelData=code, InstanceNumber=index + 1, **options)
        save(ds, folder / f"{index}.dcm")


def _plane() -> np.ndarray[Any, Any]:
    return (chest(3)[1].astype(int) + 1024).clip(0).astype(np.uint16)


def _jpeg_2000(side: int) -> bytes:
    code = bytearray(imagecodecs.jpeg2k_encode(_plane(), level=0, codecformat="j2k"))
    at = code.index(b"\xff\x51")
    struct.pack_into(">2I", code, at + 6, side, side)  # Xsiz, Ysiz
    struct.pack_into(">2I", code, at + 22, side, side)  # XTsiz, YTsiz
    return bytes(code)


def jpeg_2000(folder: Path) -> None:
    """A codestream of 64×64 pixels that claims 33 000×33 000."""
    _series(folder, uid.JPEG2000Lossless, _jpeg_2000(33_000))


def jpeg_2000_that_its_header_believes(folder: Path) -> None:
    """The same with Rows and Columns that agree."""
    _series(folder, uid.JPEG2000Lossless, _jpeg_2000(33_000), Rows=33_000, Columns=33_000)


def jpeg_2000_of_a_large_matrix(folder: Path) -> None:
    """The same with a size that a slice may have."""
    size = {"Rows": 2048, "Columns": 2048, "PixelSpacing": [0.2, 0.2]}
    _series(folder, uid.JPEG2000Lossless, _jpeg_2000(2048), **size)


def htj2k(folder: Path) -> None:
    """The same in HTJ2K."""
    code = bytearray(imagecodecs.htj2k_encode(_plane(), reversible=True))
    at = code.index(b"\xff\x51")
    struct.pack_into(">2I", code, at + 6, 33_000, 33_000)
    struct.pack_into(">2I", code, at + 22, 33_000, 33_000)
    _series(folder, uid.HTJ2KLossless, bytes(code))


def _with_frame(code: bytes, markers: tuple[bytes, ...], side: int) -> bytes:
    """Write another size into the frame header (SOF) of a JPEG."""
    changed = bytearray(code)
    at = next(code.index(marker) for marker in markers if marker in code)
    struct.pack_into(">2H", changed, at + 5, side, side)
    return bytes(changed)


def jpeg_lossless(folder: Path) -> None:
    """A JPEG of 64×64 pixels that claims 65 500×65 500."""
    code = _with_frame(imagecodecs.ljpeg_encode(_plane(), bitspersample=16), (b"\xff\xc3",), 65_500)
    _series(folder, uid.JPEGLosslessSV1, code)


def jpeg_ls(folder: Path) -> None:
    """The same in JPEG-LS."""
    code = _with_frame(imagecodecs.jpegls_encode(_plane()), (b"\xff\xf7",), 65_500)
    _series(folder, uid.JPEGLSLossless, code)


def jpeg_baseline(folder: Path) -> None:
    """The same in JPEG baseline."""
    code = imagecodecs.jpeg8_encode((_plane() >> 4).astype(np.uint8))
    code = _with_frame(code, (b"\xff\xc0", b"\xff\xc1", b"\xff\xc2"), 65_500)
    eight = {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}
    _series(folder, uid.JPEGBaseline8Bit, code, **eight)


def rle_that_its_header_believes(folder: Path) -> None:
    """A run for each 128 bytes of 65 535×65 535 pixels would be 67 MB: here are a few."""
    segments = struct.pack("<16I", 2, 64, 64 + 2000, *[0] * 13) + b"\x81\0" * 2000
    _series(folder, uid.RLELossless, segments, Rows=65_535, Columns=65_535)


def native_that_is_short(folder: Path) -> None:
    """Rows and Columns of 8 GB before 8 kB of pixels."""
    for index in range(SLICES):
        ds = slice_dataset(_plane(), (-190, -190, 10 * index), Rows=65_535, Columns=65_535)
        save(ds, folder / f"{index}.dcm")


def enhanced_of_many_frames(folder: Path) -> None:
    """Two thousand million frames."""
    ds = slice_dataset(_plane(), (0, 0, 0), SOPClassUID="1.2.840.10008.5.1.4.1.1.2.1")
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
    """Twelve slices of 4 GB, and 4 GB behind each, in 8 MB."""
    for index in range(SLICES):
        ds = slice_dataset(_plane(), (-190, -190, 10 * index), Rows=61_440, Columns=32_768)
        _deflated(ds, folder / f"{index}.dcm", 30 * CHUNK, 64)


def deflated_dicom_longer_than_its_header(folder: Path) -> None:
    """Slices of 64×64 pixels, in 4 GB of them."""
    for index in range(SLICES):
        ds = slice_dataset(_plane(), (-190, -190, 10 * index))
        _deflated(ds, folder / f"{index}.dcm", 30 * CHUNK, 30)


def deflated_dicom_with_more_behind(folder: Path) -> None:
    """Slices of 64×64 pixels, and 8 GB behind them."""
    for index in range(SLICES):
        ds = slice_dataset(_plane(), (-190, -190, 10 * index))
        _deflated(ds, folder / f"{index}.dcm", 8192, 64)


def deflated_enhanced(folder: Path) -> None:
    """7660 frames of 512×512 pixels, packed to 4 MB."""
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
    """A slice with 13 GB behind it, packed by gzip; twelve of them."""
    for index in range(SLICES):
        path = save(slice_dataset(_plane(), (-190, -190, 10 * index)), folder / f"{index}.dcm")
        (folder / f"{index}.dcm.gz").write_bytes(gzipped_zeros(100, path.read_bytes()))
        path.unlink()


def _zip(path: Path, members: dict[str, tuple[bytes, int, int]]) -> None:
    """Write a zip archive of members that are packed already: packed bytes, size, checksum."""
    bodies, entries, at = [], [], 0
    for name, (packed, size, checksum) in members.items():
        sizes = struct.pack("<3I2H", checksum, len(packed), min(size, 2**32 - 2), len(name), 0)
        fields = struct.pack("<5H", 20, 0, 8, 0, 0) + sizes
        bodies.append(b"PK\3\4" + fields + name.encode() + packed)
        after = struct.pack("<3H2I", 0, 0, 0, 0, at) + name.encode()
        entries.append(b"PK\1\2\x14\0" + fields + after)
        at += len(bodies[-1])
    body, directory = b"".join(bodies), b"".join(entries)
    count = len(members)
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, count, count, len(directory), len(body), 0)
    path.write_bytes(body + directory + end)


def zip_of_zeros(folder: Path) -> None:
    """A volume of 4 GB and more in 4 MB."""
    packed = deflated_zeros(40, _nifti_header(1024, 1024, 2560))
    _zip(folder / "a.zip", {"a.nii": (packed, 352 + 40 * CHUNK, 0)})


def zip_that_lies(folder: Path) -> None:
    """A member that unpacks to 5 GB and says that it has 10 kB."""
    packed = deflated_zeros(40, _nifti_header(64, 64, 30))
    _zip(folder / "a.zip", {"a.nii": (packed, 10_000, 0), "b.dcm": (packed, 10_000, 0)})


def zip_of_one_packed_many_times(folder: Path) -> None:
    """Two hundred volumes of 128 MiB."""
    packed = deflated_zeros(1, _nifti_header(1024, 1024, 64))
    _zip(folder / "a.zip", {f"{i}.nii": (packed, 352 + CHUNK, 0) for i in range(200)})


def zip_of_many_files(folder: Path) -> None:
    """A million empty files, in a list of 60 MB."""
    entry = b"PK\1\2\x14\0" + bytes(40)
    name = struct.pack("<H", 7)
    entries = b"".join(
        entry[:28] + name + entry[30:] + b"%07d" % index for index in range(1_000_000)
    )
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 16_960, 16_960, len(entries), 0, 0)
    (folder / "a.zip").write_bytes(entries + end)


def zip_in_zips(folder: Path) -> None:
    """An archive in an archive in an archive …"""
    path = folder / "0.zip"
    _zip(path, {"a.nii": (deflated_zeros(40), 40 * CHUNK, 0)})
    for depth in range(1, 30):
        outer = folder / f"{depth}.zip"
        with zipfile.ZipFile(outer, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.write(path, path.name)
        path.unlink()
        path = outer


def _pictures(folder: Path, name: str, content: bytes) -> None:
    for index in range(SLICES):
        (folder / f"{index}.{name}").write_bytes(content)


def png(folder: Path) -> None:
    """Pictures of 60 000×60 000 pixels."""
    Image.fromarray(_plane().astype(np.uint8)).save(folder / "a.png")
    content = resized_png((folder / "a.png").read_bytes(), 60_000, 60_000)
    (folder / "a.png").unlink()
    _pictures(folder, "png", content)


def png_text(folder: Path) -> None:
    """Small pictures with a packed comment of gigabytes."""
    Image.fromarray(_plane().astype(np.uint8)).save(folder / "a.png")
    whole = (folder / "a.png").read_bytes()
    (folder / "a.png").unlink()
    text = b"zTXtComment\0\0\x78\xda" + deflated_zeros(20)
    chunk = struct.pack(">I", len(text) - 4) + text + struct.pack(">I", zlib.crc32(text))
    _pictures(folder, "png", whole[:33] + chunk + whole[33:])


def tiff(folder: Path) -> None:
    """A TIFF that claims 65 000×65 000 pixels in one packed strip."""
    write_tiff(folder / "a.tif", _plane(), deflate=True)
    content = (folder / "a.tif").read_bytes()
    (folder / "a.tif").unlink()
    for tag in (256, 257, 278):
        content = content.replace(
            struct.pack("<HHII", tag, 4, 1, 64), struct.pack("<HHII", tag, 4, 1, 65_000)
        )
    _pictures(folder, "tif", content)


def jpeg(folder: Path) -> None:
    """A JPEG picture that claims 65 500×65 500 pixels."""
    code = imagecodecs.jpeg8_encode((_plane() >> 4).astype(np.uint8))
    _pictures(folder, "jpg", _with_frame(code, (b"\xff\xc0", b"\xff\xc1", b"\xff\xc2"), 65_500))


def jpeg_of_many_scans(folder: Path) -> None:
    """A progressive JPEG of 4096×4096 pixels with 20 000 scans that change nothing."""
    stream = BytesIO()
    Image.fromarray(np.zeros((4096, 4096), np.uint8)).save(stream, "jpeg", progressive=True)
    code = stream.getvalue()
    last = code.rindex(b"\xff\xda")
    _pictures(folder, "jpg", code[:last] + code[last:-2] * 20_000 + code[-2:])


BOMBS: dict[str, Callable[[Path], None]] = {
    maker.__name__: maker
    for maker in (
        nifti_gz, nifti_gz_of_doubles, nifti_gz_longer_than_its_header, nifti_gz_header_alone,
        nifti_of_many_volumes,
        mha_zlib, mha_zlib_longer_than_its_header, mha_zlib_of_nothing,
        nrrd_raw, nrrd_gzip, nrrd_gzip_whole, nrrd_bzip2, nrrd_text,
        jpeg_2000, jpeg_2000_that_its_header_believes,
        jpeg_2000_of_a_large_matrix, htj2k, jpeg_lossless, jpeg_ls, jpeg_baseline,
        rle_that_its_header_believes, native_that_is_short, enhanced_of_many_frames,
        deflated_dicom, deflated_dicom_longer_than_its_header, deflated_dicom_with_more_behind,
        deflated_enhanced, dicom_gz,
        zip_of_zeros, zip_that_lies, zip_of_one_packed_many_times, zip_of_many_files, zip_in_zips,
        png, png_text, tiff, jpeg, jpeg_of_many_scans,
    )
}  # fmt: skip
