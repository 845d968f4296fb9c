"""Compressed slices: every kind decodes exactly, and none decodes to what its header denies."""

import struct

import imagecodecs
import numpy as np
import pydicom
import pytest

from darnet_trt.errors import RefusedScanError, ScanError, UnreadableScanError
from darnet_trt.scan.dicom.header import read_headers
from darnet_trt.scan.dicom.pixels import decode_slice
from tests.scan.dicom.test_enhanced import rle
from tests.scan.series_factory import chest, save, slice_dataset

JPEG_2000, HTJ2K = "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.201"
HTJ2K_RPCL, HTJ2K_LOSSY = "1.2.840.10008.1.2.4.202", "1.2.840.10008.1.2.4.203"
JPEG_LOSSLESS, JPEG_LS, RLE = (
    "1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.5"
)  # fmt: skip
BASELINE = "1.2.840.10008.1.2.4.50"
HU = chest(3)[1]


def j2k(values, bits=None):
    return imagecodecs.jpeg2k_encode(
        values, level=0, codecformat="j2k", reversible=True, bitspersample=bits
    )


def htj2k(values, bits=None):
    assert bits in (None, values.dtype.itemsize * 8)
    return imagecodecs.htj2k_encode(values, reversible=True)


def unsigned(encode):
    return lambda values: encode(values.view(values.dtype.str.replace("i", "u")))


ENCODERS = {
    JPEG_2000: j2k, HTJ2K: htj2k, HTJ2K_RPCL: htj2k, HTJ2K_LOSSY: htj2k, RLE: rle,
    JPEG_LS: unsigned(imagecodecs.jpegls_encode), JPEG_LOSSLESS: unsigned(imagecodecs.ljpeg_encode),
}  # fmt: skip


def write(path, code, syntax, stored=HU, **attributes):
    ds = slice_dataset(stored, (0, 0, 0), TransferSyntaxUID=syntax, PixelData=code, **attributes)
    return save(ds, path / "a.dcm")


def decode(path):
    (header,) = read_headers(path)
    return decode_slice(header)


@pytest.mark.parametrize("syntax", ENCODERS)
@pytest.mark.parametrize("dtype", ["i2", "u2", "u1"])
def test_signed_and_unsigned(tmp_path, syntax, dtype):
    stored = HU if dtype == "i2" else (HU.astype(int) + 1024).clip(0)
    stored = (stored >> 4 if dtype == "u1" else stored).astype(dtype)
    path = write(tmp_path, ENCODERS[syntax](stored), syntax, stored)
    decoded = decode(path)
    assert decoded.dtype == stored.dtype
    np.testing.assert_array_equal(decoded, stored)
    if syntax in (JPEG_2000, HTJ2K, HTJ2K_RPCL, HTJ2K_LOSSY, RLE):  # what pydicom decodes here
        np.testing.assert_array_equal(pydicom.dcmread(path).pixel_array, stored)


def test_32_bits(tmp_path):
    stored = HU.astype(np.int32) * 1000
    path = write(tmp_path, j2k(stored), JPEG_2000, stored)
    np.testing.assert_array_equal(decode(path), stored)


@pytest.mark.parametrize("encode", [j2k, htj2k])
@pytest.mark.parametrize("signed", [True, False])
def test_a_sign_that_the_codestream_does_not_have(tmp_path, encode, signed):
    """Some writers pass signed pixels on as unsigned ones, and the reverse: the bits count."""
    stored = HU if signed else (HU.astype(int) + 40_000).astype(np.uint16)
    other = stored.view(np.uint16 if signed else np.int16)
    syntax = JPEG_2000 if encode is j2k else HTJ2K
    path = write(tmp_path, encode(other), syntax, stored)
    np.testing.assert_array_equal(decode(path), stored)
    np.testing.assert_array_equal(pydicom.dcmread(path).pixel_array, stored)


def test_a_sign_in_13_bits(tmp_path):
    code = j2k((HU & 0x1FFF).astype(np.uint16), 13)
    path = write(tmp_path, code, JPEG_2000, BitsStored=13, HighBit=12)
    np.testing.assert_array_equal(decode(path), HU)
    path = write(tmp_path, code, JPEG_2000)  # 16 bits: is 6192 the number, or −2000?
    with pytest.raises(RefusedScanError) as caught:
        decode(path)
    assert caught.value.code == "pixel-format"


@pytest.mark.parametrize("syntax", [JPEG_2000, HTJ2K, JPEG_LS, JPEG_LOSSLESS, BASELINE])
def test_another_size_is_refused(tmp_path, syntax):
    grey = (HU > 0).astype(np.uint8) * 200
    encode = imagecodecs.jpeg8_encode if syntax == BASELINE else ENCODERS[syntax]
    for part in (slice(0, 32), slice(0, 63)):
        path = write(tmp_path, encode(grey[part]), syntax, grey)
        with pytest.raises(RefusedScanError) as caught:
            decode(path)
        assert caught.value.code == "pixel-size"
        path = write(tmp_path, encode(np.ascontiguousarray(grey[:, part])), syntax, grey)
        with pytest.raises(RefusedScanError):
            decode(path)


def test_rle_of_another_size(tmp_path):
    for other in (HU[:32], np.tile(HU, (2, 1)), HU.astype(np.uint8)):
        with pytest.raises(ScanError):
            decode(write(tmp_path, rle(np.ascontiguousarray(other)), RLE))


@pytest.mark.parametrize("padding", [0, 1, 2, 6])
def test_rle_with_padding(tmp_path, padding):
    path = write(tmp_path, rle(HU) + bytes(padding), RLE)
    np.testing.assert_array_equal(decode(path), HU)


@pytest.mark.parametrize(("syntax", "bits"), [(BASELINE, 8), ("1.2.840.10008.1.2.4.51", 12)])
def test_lossy_jpeg(tmp_path, syntax, bits):
    stored = ((HU.astype(int) + 1024).clip(0, 4095) >> (12 - bits)).astype(f"u{1 + bits // 12}")
    code = imagecodecs.jpeg8_encode(stored, level=95, bitspersample=bits)
    path = write(tmp_path, code, syntax, stored, BitsStored=bits, HighBit=bits - 1)
    assert np.abs(decode(path).astype(int) - stored).mean() < 1 << (bits - 7)


def test_a_codestream_of_another_compression(tmp_path):
    grey = (HU > 0).astype(np.uint8) * 200
    for syntax in (JPEG_LS, JPEG_2000, BASELINE):
        path = write(tmp_path, imagecodecs.ljpeg_encode(grey), syntax, grey)
        with pytest.raises(UnreadableScanError) as caught:
            decode(path)
        assert caught.value.code == "undecodable"


@pytest.mark.parametrize("syntax", [JPEG_2000, HTJ2K, JPEG_LS, JPEG_LOSSLESS, RLE, BASELINE])
@pytest.mark.parametrize("end", [b"", b"\xff\xd9"])
def test_a_cut_codestream_gives_no_image(tmp_path, syntax, end):
    """Also where an end-of-image marker was put behind it."""
    stored = (HU > 0).astype(np.uint8) * 200 if syntax == BASELINE else HU
    encode = imagecodecs.jpeg8_encode if syntax == BASELINE else ENCODERS[syntax]
    code = encode(stored)
    for keep in (len(code) - 40, len(code) // 2, 50):
        path = write(tmp_path, code[:keep] + end, syntax, stored)
        try:
            decoded = decode(path)
        except UnreadableScanError:
            continue
        # A JPEG or JPEG 2000 decoder may find nothing wrong with a marker in the right place.
        assert end
        assert syntax in (BASELINE, JPEG_LOSSLESS)
        assert decoded.shape == stored.shape


def changed(code, at, values):
    whole = bytearray(code)
    struct.pack_into(f">{len(values)}I", whole, at, *values)
    return bytes(whole)


def coding_style(code, *, layers=1, block=4, precinct=None):
    """Return the codestream with another COD marker segment (ISO/IEC 15444-1, A.6.1)."""
    at = code.index(b"\xff\x52")
    length = int.from_bytes(code[at + 2 : at + 4], "big")
    old = code[at + 4 : at + 2 + length]
    sizes = b"" if precinct is None else bytes([precinct]) * (old[5] + 1)
    new = bytes([old[0] | (precinct is not None), old[1]]) + struct.pack(">H", layers)
    new += bytes([old[4], old[5], block, block]) + old[8:10] + sizes
    return code[:at] + b"\xff\x52" + struct.pack(">H", len(new) + 2) + new + code[at + 2 + length :]


LARGE = {"Rows": 4096, "Columns": 4096}


def bombs():
    """Return, by name, claims of gigabytes: a file's code, transfer syntax and attributes."""
    for syntax, encode in ((JPEG_2000, j2k), (HTJ2K, htj2k)):
        code = encode(HU)
        yield f"{syntax}-claim", changed(code, 8, (60_000, 60_000)), syntax, {}
        yield f"{syntax}-tile", changed(code, 8, (4096, 4096)), syntax, LARGE
        whole = changed(changed(code, 8, (4096, 4096)), 24, (4096, 4096))
        yield f"{syntax}-precincts", coding_style(whole, precinct=0x11), syntax, LARGE
        yield f"{syntax}-layers", coding_style(whole, layers=65_535), syntax, LARGE
        tiny = changed(changed(code, 8, (4096, 4096)), 24, (8, 8))
        yield f"{syntax}-tiles", tiny, syntax, LARGE
    for syntax, encode, marker in (
        (JPEG_LS, ENCODERS[JPEG_LS], b"\xff\xf7"),
        (JPEG_LOSSLESS, ENCODERS[JPEG_LOSSLESS], b"\xff\xc3"),
    ):
        code = bytearray(encode(HU))
        struct.pack_into(">HH", code, code.index(marker) + 5, 65_535, 65_535)
        yield f"{syntax}-claim", bytes(code), syntax, {}
    runs = struct.pack("<16I", 2, 64, 64 + (1 << 24), *[0] * 13) + b"\x81\0" * (1 << 24)
    yield "rle", runs, RLE, {}


@pytest.mark.parametrize(
    ("code", "syntax", "attributes"), [pytest.param(*b, id=name) for name, *b in bombs()]
)
def test_a_bomb_is_not_decoded(tmp_path, monkeypatch, code, syntax, attributes):
    path = write(tmp_path, code, syntax, **attributes)
    for name in ("jpeg2k_decode", "ljpeg_decode", "jpegls_decode", "packbits_decode"):
        monkeypatch.setattr(imagecodecs, name, None)
    with pytest.raises(ScanError) as caught:
        decode(path)
    assert caught.value.code in ("pixel-size", "undecodable", "pixel-length")
