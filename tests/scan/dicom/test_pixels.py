"""Stored values as pydicom decodes them, and the Hounsfield units they mean."""

import imagecodecs
import numpy as np
import pydicom
import pytest

from darnet_trt.errors import UnreadableScanError
from darnet_trt.scan import read_volume
from darnet_trt.scan.dicom.header import read_headers
from darnet_trt.scan.dicom.pixels import decode_slice
from tests.scan.series_factory import chest, only, save, slice_dataset, write_series

JPEG_2000, JPEG_2000_LOSSY = "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91"
JPEG_LOSSLESS, JPEG_LOSSLESS_SV1 = "1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70"
JPEG_LS, RLE = "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.5"
STORED = (chest(3)[1].astype(int) + 1024).clip(0).astype(np.uint16)


def decode(path):
    (header,) = read_headers(path)
    return decode_slice(header)


def encode(syntax, bits):
    if syntax == RLE:
        ds = slice_dataset(STORED, (0, 0, 0))
        ds.compress(RLE, generate_instance_uid=False)
        return next(pydicom.encaps.generate_frames(ds.PixelData, number_of_frames=1))
    if syntax in (JPEG_2000, JPEG_2000_LOSSY):
        return imagecodecs.jpeg2k_encode(
            STORED, level=0, codecformat="j2k", bitspersample=bits, reversible=True
        )
    if syntax == JPEG_LS:
        return imagecodecs.jpegls_encode(STORED)
    return imagecodecs.ljpeg_encode(STORED, bitspersample=bits)


@pytest.mark.parametrize(
    "syntax", [JPEG_2000, JPEG_2000_LOSSY, JPEG_LOSSLESS, JPEG_LOSSLESS_SV1, JPEG_LS, RLE]
)
@pytest.mark.parametrize("bits", [12, 16])
def test_compressed_slices_decode_exactly(tmp_path, syntax, bits):
    ds = slice_dataset(
        STORED,
        (0, 0, 0),
        TransferSyntaxUID=syntax,
        PixelData=encode(syntax, bits),
        BitsStored=bits,
        HighBit=bits - 1,
    )
    path = save(ds, tmp_path / "a.dcm")
    decoded = decode(path)
    assert decoded.dtype == np.uint16
    np.testing.assert_array_equal(decoded, STORED)
    if syntax in (JPEG_2000, JPEG_2000_LOSSY, RLE):  # what pydicom decodes here
        np.testing.assert_array_equal(decoded, pydicom.dcmread(path).pixel_array)


@pytest.mark.data
@pytest.mark.parametrize("folder", ["abdomen-j2k", "chest-4mm-64px", "chest-8mm/soft"])
def test_real_slices_as_pydicom_decodes_them(data_dir, folder):
    for path in sorted((data_dir / folder).iterdir())[::7]:
        np.testing.assert_array_equal(decode(path), pydicom.dcmread(path).pixel_array)


def test_signed_jpeg_lossless_is_sign_extended(tmp_path):
    hu = chest(3)[1]
    code = imagecodecs.ljpeg_encode(hu.view(np.uint16), bitspersample=16)
    ds = slice_dataset(hu, (0, 0, 0), TransferSyntaxUID=JPEG_LOSSLESS_SV1, PixelData=code)
    decoded = decode(save(ds, tmp_path / "a.dcm"))
    np.testing.assert_array_equal(decoded, hu)


@pytest.mark.parametrize("signed", [True, False])
def test_overlay_bits_above_bits_stored_are_dropped(tmp_path, signed):
    values = np.array([[-5, 7], [-1024, 2047]] if signed else [[0, 7], [1024, 4095]])
    stored = np.tile(((values & 0x0FFF) | 0x5000).astype(np.uint16), (8, 8))
    ds = slice_dataset(
        stored, (0, 0, 0), BitsStored=12, HighBit=11, PixelRepresentation=int(signed)
    )
    decoded = decode(save(ds, tmp_path / "a.dcm"))
    np.testing.assert_array_equal(decoded, np.tile(values, (8, 8)))


def test_slope_and_intercept_are_each_slice_s_own(tmp_path):
    hu = chest(12)
    for index, plane in enumerate(hu):
        slope, intercept = (1, -1024) if index % 2 else (2, -1000)
        stored = np.rint((plane.astype(float) - intercept) / slope).astype(np.int16)
        save(
            slice_dataset(
                stored, (0, 0, index * 10), RescaleSlope=slope, RescaleIntercept=intercept
            ),
            tmp_path / f"{index}.dcm",
        )
    volume = read_volume(only(tmp_path))
    assert np.abs(volume.hu.astype(int) - hu).max() <= 1


def test_fractional_slope_gives_float(tmp_path):
    write_series(tmp_path, chest(12), RescaleSlope="0.5", RescaleIntercept="-0.25")
    volume = read_volume(only(tmp_path))
    assert volume.hu.dtype == np.float32
    np.testing.assert_allclose(volume.hu, chest(12) * 0.5 - 0.25)


def test_monochrome1_keeps_hounsfield_units_and_says_so(tmp_path):
    write_series(tmp_path, chest(12), PhotometricInterpretation="MONOCHROME1")
    series = only(tmp_path)
    assert any("MONOCHROME1" in warning for warning in series.verdict.warnings)
    np.testing.assert_array_equal(read_volume(series).hu, chest(12))


@pytest.mark.parametrize("padding", [-2000, 3000])
def test_padding_becomes_air(tmp_path, padding):
    hu = chest(12)
    hu[:, :5] = padding
    write_series(tmp_path, hu, PixelPaddingValue=padding)
    volume = read_volume(only(tmp_path))
    assert (volume.hu[:, :5] == -1024).all()
    np.testing.assert_array_equal(volume.hu[:, 5:], hu[:, 5:])


def test_padding_that_would_erase_tissue_is_ignored(tmp_path):
    hu = chest(12)
    write_series(tmp_path, hu, PixelPaddingValue=40)
    np.testing.assert_array_equal(read_volume(only(tmp_path)).hu, hu)


@pytest.mark.parametrize("syntax", [JPEG_2000, JPEG_LOSSLESS_SV1, JPEG_LS])
def test_a_truncated_codestream_is_an_error(tmp_path, syntax):
    code = encode(syntax, 16)
    ds = slice_dataset(
        STORED, (0, 0, 0), TransferSyntaxUID=syntax, PixelData=code[: len(code) * 2 // 3]
    )
    path = save(ds, tmp_path / "a.dcm")
    with pytest.raises(UnreadableScanError, match=r"a\.dcm") as caught:
        decode(path)
    assert caught.value.code == "truncated"
