"""Entries of a header that are missing, wrong, or contradict each other are named."""

import numpy as np
import pytest
from pydicom.dataset import Dataset

from darnet_trt.scan.dicom.fitness import unfit
from darnet_trt.scan.dicom.header import read_headers
from darnet_trt.scan.dicom.pixels import decode_slice
from tests.scan.series_factory import chest, only, save, slice_dataset, write_series

HU = chest(3)[1]


def header_of(ds, path):
    (header,) = read_headers(save(ds, path / "a.dcm"))
    return header


@pytest.mark.parametrize(
    ("attributes", "code", "named"),
    [
        ({"Rows": 32}, "pixel-length", "Rows 32"),
        ({"Columns": 65}, "pixel-length", "Columns 65"),
        ({"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}, "pixel-length", "BitsAllocated 8"),
        ({"BitsAllocated": 32}, "pixel-length", "BitsAllocated 32"),
        ({"NumberOfFrames": 2}, "frames", "NumberOfFrames"),
        ({"SamplesPerPixel": 3}, "pixel-length", "PixelData"),
        ({"SamplesPerPixel": 3, "Rows": 32, "Columns": 64}, "pixel-length", "PixelData"),
        ({"PhotometricInterpretation": "RGB"}, "colour", "RGB"),
        ({"BitsStored": 17}, "pixel-format", "BitsStored 17"),
        ({"BitsStored": 0}, "pixel-format", "BitsStored 0"),
        ({"BitsStored": 12, "HighBit": 15}, "high-bit", "HighBit 15"),
        ({"BitsStored": 12, "HighBit": 12}, "high-bit", "HighBit 12"),
        ({"HighBit": 11}, "high-bit", "HighBit 11"),
        ({"PixelRepresentation": 2}, "pixel-format", "PixelRepresentation 2"),
        ({"PixelRepresentation": None}, "missing-attribute", "PixelRepresentation"),
        ({"RescaleType": "US"}, "rescale-type", "RescaleType is US"),
        ({"RescaleType": "OD"}, "rescale-type", "RescaleType is OD"),
        ({"PixelSpacing": [-1, 1]}, "pixel-spacing", "PixelSpacing"),
    ],
)
def test_a_header_that_is_refused(tmp_path, attributes, code, named):
    write_series(tmp_path, chest(12), **attributes)
    verdict = only(tmp_path).verdict
    assert not verdict.usable
    assert verdict.readable
    assert verdict.reason.code == code
    assert named in verdict.reason


@pytest.mark.parametrize("extra", [-8192, -2, 2, 4096, 8192])
def test_pixels_longer_or_shorter_than_the_header_says(tmp_path, extra):
    ds = slice_dataset(HU, (0, 0, 0))
    ds.PixelData = ds.PixelData[:extra] if extra < 0 else ds.PixelData + b"\1" * extra
    assert unfit(header_of(ds, tmp_path)).code == "pixel-length"


@pytest.mark.parametrize("value", [b"inf   ", b"NaN   ", b"-1e999"])
@pytest.mark.parametrize("keyword", ["RescaleSlope", "RescaleIntercept"])
def test_a_rescale_that_is_not_a_number(tmp_path, keyword, value):
    path = save(slice_dataset(HU, (0, 0, 0), **{keyword: "-98765"}), tmp_path / "a.dcm")
    path.write_bytes(path.read_bytes().replace(b"-98765", value))
    (header,) = read_headers(path)
    assert unfit(header).code == "missing-attribute"
    assert keyword in unfit(header)


def test_a_byte_of_padding(tmp_path):
    ds = slice_dataset(HU, (0, 0, 0))
    ds.PixelData += b"\0"
    np.testing.assert_array_equal(decode_slice(header_of(ds, tmp_path)), HU)
    odd = np.arange(33 * 33, dtype=np.uint8).reshape(33, 33)
    ds = slice_dataset(odd, (0, 0, 0))
    ds.PixelData += b"\0"
    np.testing.assert_array_equal(decode_slice(header_of(ds, tmp_path)), odd)


@pytest.mark.parametrize("keyword", ["FloatPixelData", "DoubleFloatPixelData"])
def test_float_pixels_are_refused(tmp_path, keyword):
    ds = slice_dataset(HU, (0, 0, 0))
    del ds.PixelData
    setattr(ds, keyword, HU.astype("f4" if keyword[0] == "F" else "f8").tobytes())
    reason = unfit(header_of(ds, tmp_path))
    assert reason.code == "float-pixels"
    assert keyword in reason


@pytest.mark.parametrize("undefined", [True, False])
@pytest.mark.parametrize("entries", [4, 60_000])
def test_a_modality_lut_is_refused(tmp_path, undefined, entries):
    table = Dataset()
    table.LUTDescriptor, table.LUTData = [entries, 0, 16], bytes(2 * entries)
    table["LUTDescriptor"].VR, table["LUTData"].VR = "US", "OW"
    ds = slice_dataset(HU, (0, 0, 0), RescaleSlope=None, RescaleIntercept=None)
    ds.ModalityLUTSequence = [table]
    ds["ModalityLUTSequence"].is_undefined_length = undefined
    reason = unfit(header_of(ds, tmp_path))
    assert reason.code == "modality-lut"
    assert "ModalityLUTSequence" in reason


def test_a_matrix_that_no_ct_has(tmp_path):
    ds = slice_dataset(np.zeros((16, 5000), np.int16), (0, 0, 0))
    assert unfit(header_of(ds, tmp_path)).code == "matrix-too-large"


@pytest.mark.parametrize("kind", ["HU", "hu", None])
def test_hounsfield_units(tmp_path, kind):
    attributes = {} if kind is None else {"RescaleType": kind}
    assert unfit(header_of(slice_dataset(HU, (0, 0, 0), **attributes), tmp_path)) is None


def test_an_unknown_compression(tmp_path):
    syntax = "1.2.840.10008.1.2.4.100"
    ds = slice_dataset(HU, (0, 0, 0), TransferSyntaxUID=syntax, PixelData=b"MPEG")
    reason = unfit(header_of(ds, tmp_path))
    assert reason.code == "transfer-syntax"
    assert syntax in reason
