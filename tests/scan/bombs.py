"""Small files that claim, or unpack to, many gigabytes."""

from __future__ import annotations

import bz2
import gzip
import struct
import zipfile
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import imagecodecs
import numpy as np
from PIL import Image

from tests.scan.bombs_of_dicom import DICOM_BOMBS, SLICES, plane, with_frame
from tests.scan.bombs_zeros import CHUNK, deflated_zeros, gzipped_zeros
from tests.scan.pictures.picture_files import resized_png, write_tiff


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
    """Write 21 GB of voxels in 21 MB."""
    (folder / "a.nii.gz").write_bytes(gzipped_zeros(160, _nifti_header(1024, 1024, 10_240)))


def nifti_gz_of_doubles(folder: Path) -> None:
    """Write a scan that may be, of 2.5 GB: 1188 slices of 64-bit numbers."""
    header = bytearray(_nifti_header(512, 512, 1188))
    struct.pack_into("<2h", header, 70, 64, 64)
    (folder / "a.nii.gz").write_bytes(gzipped_zeros(19, bytes(header)))


def nifti_gz_longer_than_its_header(folder: Path) -> None:
    """Write a small volume, and 21 GB behind it."""
    (folder / "a.nii.gz").write_bytes(gzipped_zeros(160, _nifti_header(64, 64, 30)))


def nifti_gz_header_alone(folder: Path) -> None:
    """Write a header that claims 64 GB, and nothing else."""
    (folder / "a.nii.gz").write_bytes(gzip.compress(_nifti_header(32_000, 32_000, 32)))


def nifti_of_many_volumes(folder: Path) -> None:
    """Write a file of seven dimensions."""
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
    """Write 13 GB of voxels in 13 MB."""
    packed = b"\x78\xda" + deflated_zeros(100)
    packed += struct.pack(">I", (100 * CHUNK % 65521 << 16) | 1)
    more = f"CompressedData = True\nCompressedDataSize = {len(packed)}\n"
    header = _meta_header(f"1024 1024 {100 * CHUNK // 2**21}", "LOCAL", more)
    (folder / "a.mha").write_bytes(header + packed)


def mha_zlib_longer_than_its_header(folder: Path) -> None:
    """Write a small volume whose voxels unpack to 13 GB."""
    packed = b"\x78\xda" + deflated_zeros(100)
    header = _meta_header("64 64 30", "LOCAL", "CompressedData = True\n")
    (folder / "a.mha").write_bytes(header + packed)


def mha_zlib_of_nothing(folder: Path) -> None:
    """Write a header that claims 12 GB before a few packed bytes."""
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
    """Write a header that claims 12 GB before 1 kB."""
    _nrrd(folder, "raw", bytes(1000))


def nrrd_gzip(folder: Path) -> None:
    """Write the same, packed."""
    _nrrd(folder, "gzip", gzip.compress(bytes(1000)))


def nrrd_gzip_whole(folder: Path) -> None:
    """Write 12 GB of zeros in 12 MB."""
    _nrrd(folder, "gzip", gzipped_zeros(90, b""), f"1024 1024 {90 * CHUNK // 2**21}")


def nrrd_bzip2(folder: Path) -> None:
    """Write the same in another packing."""
    _nrrd(folder, "bzip2", bz2.compress(bytes(1000)))


def nrrd_text(folder: Path) -> None:
    """Write the same as text."""
    _nrrd(folder, "ascii", b"0 " * 500)


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
    """Write a volume of 4 GB and more in 4 MB."""
    packed = deflated_zeros(40, _nifti_header(1024, 1024, 2560))
    _zip(folder / "a.zip", {"a.nii": (packed, 352 + 40 * CHUNK, 0)})


def zip_that_lies(folder: Path) -> None:
    """Write a member that unpacks to 5 GB and says that it has 10 kB."""
    packed = deflated_zeros(40, _nifti_header(64, 64, 30))
    _zip(folder / "a.zip", {"a.nii": (packed, 10_000, 0), "b.dcm": (packed, 10_000, 0)})


def zip_of_one_packed_many_times(folder: Path) -> None:
    """Write two hundred volumes of 128 MiB."""
    packed = deflated_zeros(1, _nifti_header(1024, 1024, 64))
    _zip(folder / "a.zip", {f"{i}.nii": (packed, 352 + CHUNK, 0) for i in range(200)})


def zip_of_many_files(folder: Path) -> None:
    """Write a million empty files, in a list of 60 MB."""
    entry = b"PK\1\2\x14\0" + bytes(40)
    name = struct.pack("<H", 7)
    entries = b"".join(
        entry[:28] + name + entry[30:] + b"%07d" % index for index in range(1_000_000)
    )
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 16_960, 16_960, len(entries), 0, 0)
    (folder / "a.zip").write_bytes(entries + end)


def zip_in_zips(folder: Path) -> None:
    """Write an archive in an archive in an archive …"""
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
    """Write pictures of 60 000×60 000 pixels."""
    Image.fromarray(plane().astype(np.uint8)).save(folder / "a.png")
    content = resized_png((folder / "a.png").read_bytes(), 60_000, 60_000)
    (folder / "a.png").unlink()
    _pictures(folder, "png", content)


def png_text(folder: Path) -> None:
    """Write small pictures with a packed comment of gigabytes."""
    Image.fromarray(plane().astype(np.uint8)).save(folder / "a.png")
    whole = (folder / "a.png").read_bytes()
    (folder / "a.png").unlink()
    text = b"zTXtComment\0\0\x78\xda" + deflated_zeros(20)
    chunk = struct.pack(">I", len(text) - 4) + text + struct.pack(">I", zlib.crc32(text))
    _pictures(folder, "png", whole[:33] + chunk + whole[33:])


def tiff(folder: Path) -> None:
    """Write a TIFF that claims 65 000×65 000 pixels in one packed strip."""
    write_tiff(folder / "a.tif", plane(), deflate=True)
    content = (folder / "a.tif").read_bytes()
    (folder / "a.tif").unlink()
    for tag in (256, 257, 278):
        content = content.replace(
            struct.pack("<HHII", tag, 4, 1, 64), struct.pack("<HHII", tag, 4, 1, 65_000)
        )
    _pictures(folder, "tif", content)


def jpeg(folder: Path) -> None:
    """Write a JPEG picture that claims 65 500×65 500 pixels."""
    code = imagecodecs.jpeg8_encode((plane() >> 4).astype(np.uint8))
    _pictures(folder, "jpg", with_frame(code, (b"\xff\xc0", b"\xff\xc1", b"\xff\xc2"), 65_500))


def jpeg_of_many_scans(folder: Path) -> None:
    """Write a progressive JPEG of 4096×4096 pixels with 20 000 scans that change nothing."""
    stream = BytesIO()
    Image.fromarray(np.zeros((4096, 4096), np.uint8)).save(stream, "jpeg", progressive=True)
    code = stream.getvalue()
    last = code.rindex(b"\xff\xda")
    _pictures(folder, "jpg", code[:last] + code[last:-2] * 20_000 + code[-2:])


BOMBS: dict[str, Callable[[Path], None]] = {
    maker.__name__: maker
    for maker in (
        *DICOM_BOMBS,
        nifti_gz, nifti_gz_of_doubles, nifti_gz_longer_than_its_header, nifti_gz_header_alone,
        nifti_of_many_volumes,
        mha_zlib, mha_zlib_longer_than_its_header, mha_zlib_of_nothing,
        nrrd_raw, nrrd_gzip, nrrd_gzip_whole, nrrd_bzip2, nrrd_text,
        zip_of_zeros, zip_that_lies, zip_of_one_packed_many_times, zip_of_many_files, zip_in_zips,
        png, png_text, tiff, jpeg, jpeg_of_many_scans,
    )
}  # fmt: skip
