"""The same slice in every encoding, named rightly, wrongly or not at all: one header, one image."""

import io
import zlib

import numpy as np
import pydicom
import pytest
from pydicom.dataset import FileMetaDataset
from pydicom.filebase import DicomFileLike
from pydicom.filewriter import write_dataset

from darnet_trt.errors import UnreadableScanError
from darnet_trt.scan import read_volume
from darnet_trt.scan.dicom.header import read_headers
from darnet_trt.scan.dicom.pixels import decode_slice
from tests.scan.series_factory import chest, only, save, slice_dataset

IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
DEFLATED, BIG_ENDIAN = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"
JPEG_LS = "1.2.840.10008.1.2.4.80"
PREAMBLE = bytes(128) + b"DICM"


def data_set(ds, *, implicit, big_endian):
    """Return the bytes of the elements alone, after the meta information."""
    file = DicomFileLike(io.BytesIO())
    file.is_little_endian, file.is_implicit_VR = not big_endian, implicit
    write_dataset(file, ds)
    return file.parent.getvalue()


def meta(syntax):
    """Return preamble and meta information; without TransferSyntaxUID where it is None."""
    ds = FileMetaDataset()
    ds.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    ds.MediaStorageSOPInstanceUID = "1.2.3"
    if syntax is not None:
        ds.TransferSyntaxUID = syntax
    buffer = DicomFileLike(io.BytesIO())
    pydicom.filewriter.write_file_meta_info(buffer, ds, enforce_standard=False)
    return PREAMBLE + buffer.parent.getvalue()


def stored_as(ds, stored, *, big_endian):
    ds.PixelData = stored.astype(stored.dtype.newbyteorder("><"[not big_endian])).tobytes()
    ds["PixelData"].VR = "OW"
    return ds


def decode(path):
    (header,) = read_headers(path)
    return decode_slice(header)


HEADS = {
    "none": b"",
    "preamble": PREAMBLE,
    "no-syntax": meta(None),
    "implicit": meta(IMPLICIT),
    "explicit": meta(EXPLICIT),
    "big-endian": meta(BIG_ENDIAN),
}


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("implicit", [True, False])
@pytest.mark.parametrize("big_endian", [True, False])
@pytest.mark.parametrize("dtype", ["i2", "u2", "i4"])
def test_what_the_bytes_show_counts(tmp_path, head, implicit, big_endian, dtype):
    stored = (chest(3)[1] + (1024 if dtype[0] == "u" else 0)).clip(-1024).astype(dtype)
    ds = slice_dataset(stored, (-190, -190, 40))
    ds.add_new(0x00280120, "SS" if dtype[0] == "i" else "US", 3000)
    stored[:3] = 3000
    stored_as(ds, stored, big_endian=big_endian)
    path = tmp_path / "a.dcm"
    path.write_bytes(HEADS[head] + data_set(ds, implicit=implicit, big_endian=big_endian))
    (header,) = read_headers(path)
    assert header.get("ImagePositionPatient") == (-190, -190, 40)
    assert header.get("Rows") == 64
    assert header.get("PixelPaddingValue") == 3000
    decoded = decode_slice(header)
    np.testing.assert_array_equal(decoded[3:], stored[3:])
    assert (decoded[:3] == (0 if dtype[0] == "u" else -1024)).all()


@pytest.mark.parametrize("vr", ["OB", "OW"])
@pytest.mark.parametrize("size", [64, 33])
@pytest.mark.parametrize("big_endian", [True, False])
def test_pixels_of_8_bits(tmp_path, vr, size, big_endian):
    stored = np.random.default_rng(0).integers(0, 256, (size, size)).astype(np.uint8)
    ds = slice_dataset(stored, (0, 0, 0), TransferSyntaxUID=BIG_ENDIAN if big_endian else EXPLICIT)
    padded = stored.tobytes() + bytes(stored.size % 2)
    if big_endian and vr == "OW":  # words of two pixels each, swapped
        padded = np.frombuffer(padded, "<u2").astype(">u2").tobytes()
    ds.PixelData = padded
    ds["PixelData"].VR = vr
    path = save(ds, tmp_path / "a.dcm")
    np.testing.assert_array_equal(decode(path), stored)
    if size == 64:  # pydicom does not swap the last pair of an odd number
        np.testing.assert_array_equal(pydicom.dcmread(path).pixel_array, stored)


def test_a_big_endian_series(tmp_path):
    hu = chest(12)
    for index, plane in enumerate(hu):
        ds = slice_dataset(plane, (-190, -190, index * 10), TransferSyntaxUID=BIG_ENDIAN)
        save(stored_as(ds, plane, big_endian=True), tmp_path / f"{index}.dcm")
        np.testing.assert_array_equal(pydicom.dcmread(tmp_path / f"{index}.dcm").pixel_array, plane)
    series = only(tmp_path)
    assert series.verdict.usable
    np.testing.assert_array_equal(read_volume(series).hu, hu)


@pytest.mark.parametrize("implicit", [True, False])
def test_a_series_without_preamble(tmp_path, implicit):
    hu = chest(12)
    for index, plane in enumerate(hu):
        ds = slice_dataset(plane, (-190, -190, index * 10))
        path = tmp_path / f"{index}.dcm"
        path.write_bytes(data_set(ds, implicit=implicit, big_endian=False))
    series = only(tmp_path)
    assert series.verdict.usable
    np.testing.assert_array_equal(read_volume(series).hu, hu)


@pytest.mark.parametrize(
    ("syntax", "compressed"), [(JPEG_LS, False), (EXPLICIT, True), (None, True), (DEFLATED, True)]
)
def test_a_syntax_that_contradicts_the_pixels_is_refused(tmp_path, syntax, compressed):
    for index, plane in enumerate(chest(12)):
        ds = slice_dataset(plane, (0, 0, index * 10))
        if compressed:
            ds.PixelData = pydicom.encaps.encapsulate([b"\xff\xd8\xff\xd9"])
            ds["PixelData"].is_undefined_length = True
        elements = data_set(ds, implicit=False, big_endian=False)
        if syntax == DEFLATED:
            elements = deflate(elements)
        (tmp_path / f"{index}.dcm").write_bytes(meta(syntax) + elements)
    verdict = only(tmp_path).verdict
    assert verdict.reason.code == "transfer-syntax"
    assert verdict.readable
    assert "TransferSyntaxUID" in verdict.reason


def deflate(elements):
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(elements) + packer.flush()


def test_a_deflated_series(tmp_path):
    hu = chest(12)
    for index, plane in enumerate(hu):
        ds = slice_dataset(plane, (-190, -190, index * 10), TransferSyntaxUID=DEFLATED)
        save(ds, tmp_path / f"{index}.dcm")
    series = only(tmp_path)
    assert series.verdict.usable
    np.testing.assert_array_equal(read_volume(series).hu, hu)


def test_a_deflated_file_that_is_cut_or_damaged(tmp_path):
    path = save(slice_dataset(chest(1)[0], (0, 0, 0), TransferSyntaxUID=DEFLATED), tmp_path / "a")
    whole = path.read_bytes()
    path.write_bytes(whole[:-200])
    with pytest.raises(UnreadableScanError) as caught:
        decode(path)
    assert caught.value.code == "truncated"
    path.write_bytes(whole[:400] + bytes(16) + whole[416:])
    with pytest.raises(UnreadableScanError):
        decode(path)


def test_said_to_be_deflated_but_plain(tmp_path):
    plane = chest(1)[0]
    elements = data_set(slice_dataset(plane, (0, 0, 0)), implicit=False, big_endian=False)
    (tmp_path / "a").write_bytes(meta(DEFLATED) + elements)
    np.testing.assert_array_equal(decode(tmp_path / "a"), plane)
