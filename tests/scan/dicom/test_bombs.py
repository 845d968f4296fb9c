"""Small files that claim gigabytes are refused before they take them."""

import struct
import subprocess
import sys
import zlib

import pytest

from darnet_trt.scan.dicom.header import read_headers
from tests.scan.dicom.test_encodings import data_set, meta
from tests.scan.series_factory import chest, slice_dataset

EXPLICIT, DEFLATED = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99"
PIXELS, UNDEFINED = b"\xe0\x7f\x10\0", 0xFFFFFFFF
MANY = 1_200_000
MOST_MB = 400  # far below the limit of 1.5 GB, and far above what python itself takes

CHILD = """
import sys
from pathlib import Path
from darnet_trt.errors import ScanError
from darnet_trt.scan.dicom.fitness import unfit
from darnet_trt.scan.dicom.header import read_headers
from darnet_trt.scan.dicom.pixels import decode_slice
from tests.machine.peak import peak_bytes

for name in sys.argv[1:]:
    try:
        headers = read_headers(Path(name))
        for header in headers:
            unfit(header) or header.defect or decode_slice(header)
    except ScanError as error:
        print(error, file=sys.stderr)
print(peak_bytes() >> 20)
"""


def elements(**attributes):
    """Return the elements before the pixels, and the pixels."""
    whole = data_set(
        slice_dataset(chest(1)[0], (0, 0, 0), **attributes), implicit=False, big_endian=False
    )
    at = whole.index(PIXELS)
    return whole[:at], whole[at:]


def head(vr, length, tag=(0x7FDF, 0x1010)):
    return struct.pack("<HH2sHI", *tag, vr, 0, length)


def deflated(start, zeros):
    packer = zlib.compressobj(9, wbits=-15)
    first = packer.compress(start) + packer.flush(zlib.Z_FULL_FLUSH)
    megabyte = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    return meta(DEFLATED) + first + megabyte * (zeros >> 20) + packer.flush()


ITEM = struct.pack("<HHI", 0xFFFE, 0xE000, 0)


def bombs():
    before, pixels = elements()
    file = meta(EXPLICIT) + before
    gigabytes = 2 << 30
    yield "deflated pixels", deflated(before + head(b"OW", gigabytes, (0x7FE0, 0x10)), gigabytes)
    yield "deflated private", deflated(before + head(b"OB", gigabytes), gigabytes)
    yield "deflated tail", deflated(before + pixels, gigabytes)
    yield "matrix", meta(EXPLICIT) + b"".join(elements(Rows=65_535, Columns=65_535))
    yield "frames", meta(EXPLICIT) + b"".join(elements(NumberOfFrames=2_000_000_000))
    yield "items", file + head(b"SQ", UNDEFINED) + ITEM * MANY
    yield "unknown items", file + head(b"UN", UNDEFINED) + ITEM * MANY
    yield "nested", file + (head(b"SQ", UNDEFINED) + ITEM[:4] + b"\xff" * 4) * (1 << 16)
    yield "frames' groups", file + head(b"SQ", UNDEFINED, (0x5200, 0x9230)) + ITEM * MANY
    yield "elements", file + struct.pack("<HH2sH", 0x7FDF, 0x1010, b"US", 0) * MANY
    jpeg_ls = meta("1.2.840.10008.1.2.4.80") + before
    yield "fragments", jpeg_ls + head(b"OB", UNDEFINED, (0x7FE0, 0x10)) + ITEM * MANY


def test_bombs_take_little_memory(tmp_path):
    paths = []
    for name, content in bombs():
        paths.append(tmp_path / f"{name}.dcm")
        paths[-1].write_bytes(content)
    child = subprocess.run(
        [sys.executable, "-c", CHILD, *map(str, paths)], capture_output=True, text=True, check=True
    )
    assert "Traceback" not in child.stderr
    assert int(child.stdout) < MOST_MB


@pytest.mark.parametrize("vr", [b"OB", b"UN"])
def test_private_data_before_the_pixels_are_stepped_over(tmp_path, vr):
    before, pixels = elements()
    path = tmp_path / "a.dcm"
    length = 300 << 20
    with path.open("wb") as stream:  # a hole, so that the test writes nothing
        stream.write(meta(EXPLICIT) + before + head(vr, length))
        stream.seek(length, 1)
        stream.write(pixels)
    (header,) = read_headers(path)
    assert header.defect is None
    assert b"".join(header.read_pixels()) == chest(1)[0].tobytes()
