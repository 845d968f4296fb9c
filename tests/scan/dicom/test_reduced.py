"""A JPEG 2000 slice at half resolution is the half of the whole slice, of every kind."""

import contextlib
import io
import struct

import imagecodecs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from darnet_trt.errors import ScanError
from darnet_trt.scan import Preprocessing, find_studies, load_study
from darnet_trt.scan.dicom.encoding import reduced
from darnet_trt.scan.dicom.encoding.codestreams import describe
from darnet_trt.scan.dicom.encoding.reduced import decode_half, decode_reduced
from darnet_trt.scan.dicom.geometry import stack_slices
from darnet_trt.scan.dicom.header import read_headers
from darnet_trt.scan.dicom.pixels import decode_slice
from darnet_trt.scan.loading.halving import halve
from tests.scan.dicom.test_codestreams import htj2k
from tests.scan.series_factory import chest, save, slice_dataset

LOSSLESS, LOSSY, HTJ2K = (f"1.2.840.10008.1.2.4.{part}" for part in (90, 91, 201))
HU = chest(3, 67)[1][:, :64]
AXIAL = [1, 0, 0, 0, 1, 0]


def j2k(pixels, bits=16, **options):
    options = {"codecformat": "j2k", "reversible": True, "level": 0, **options}
    return imagecodecs.jpeg2k_encode(pixels, bitspersample=bits, **options)


def tiled(pixels, size):
    file = io.BytesIO()
    Image.fromarray(pixels).save(
        file, "JPEG2000", tile_size=size, irreversible=False, no_jp2=True, num_resolutions=3
    )
    return file.getvalue()


def header_of(folder, pixels, code, syntax=LOSSLESS, **attributes):
    ds = slice_dataset(pixels, (0, 0, 0), TransferSyntaxUID=syntax, PixelData=code, **attributes)
    (header,) = read_headers(save(ds, folder / "a.dcm"))
    return header


def stack_of(header, cosines=AXIAL):
    return stack_slices([(0, 0, 0)], cosines, (1, 1), (header.get("Rows"), header.get("Columns")))


@pytest.fixture
def whole(monkeypatch):
    """Return a list that gets an entry for each slice that is decoded as a whole."""
    decoded = []

    def counting(header, **options):
        decoded.append(header)
        return decode_slice(header, **options)

    monkeypatch.setattr(reduced, "decode_slice", counting)
    return decoded


def same(header, cosines=AXIAL):
    stack = stack_of(header, cosines)
    found, expected = decode_half(header, stack), halve(stack.turn(decode_slice(header)))
    bits, signed = header.get("BitsStored"), header.get("PixelRepresentation")
    low = -(1 << bits - 1) if signed else 0
    np.testing.assert_array_equal(found, expected.clip(low, low + (1 << bits) - 1))
    return True


U16 = (HU.astype(int) + 1024).clip(0).astype(np.uint16)
U12, S12 = {"BitsStored": 12, "HighBit": 11}, HU.clip(-2048, 2047)
QUICK = {
    "unsigned, 16 bits": (U16, j2k(U16), LOSSLESS, {}),
    "unsigned, 12 bits": (U16, j2k(U16, 12), LOSSLESS, U12),
    "signed, 16 bits": (HU, j2k(HU), LOSSLESS, {}),
    "signed, 12 bits": (S12, j2k(S12, 12), LOSSLESS, U12),
    "unsigned, 8 bits": ((U16 >> 4).astype("u1"), j2k((U16 >> 4).astype("u1"), 8), LOSSLESS, {}),
    "monochrome1": (U16, j2k(U16), LOSSLESS, {"PhotometricInterpretation": "MONOCHROME1"}),
    "one level": (U16, j2k(U16, resolutions=2), LOSSLESS, {}),
    "a JP2 file": (U16, j2k(U16, codecformat="jp2"), LOSSLESS, {}),
    "HTJ2K": (U16, htj2k(U16), HTJ2K, {}),
    "HTJ2K, signed": (HU, htj2k(HU), HTJ2K, {}),
    "padding that no pixel holds": (
        U16,
        j2k(U16, 12),
        LOSSLESS,
        {**U12, "PixelPaddingValue": 63536},
    ),
    "padding far below air": (HU, j2k(HU), LOSSLESS, {"PixelPaddingValue": -2000}),
}
SLOW = {
    "one resolution": (U16, j2k(U16, resolutions=1), LOSSLESS, {}),
    "tiles": (U16, tiled(U16, (33, 35)), LOSSLESS, {}),
    "even tiles": (U16, tiled(U16, (32, 32)), LOSSLESS, {}),
    "reversible, lossy": (U16, j2k(U16, level=30), LOSSY, {}),
    "irreversible": (U16, j2k(U16, reversible=False), LOSSY, {}),
    "irreversible, lossy": (U16, j2k(U16, reversible=False, level=60), LOSSY, {}),
    "more bits than the header says": (U16, j2k(U16, 16), LOSSLESS, U12),
    "fewer": (U16, j2k(U16, 12), LOSSLESS, {}),
    "a sign that the codestream does not have": (HU, j2k(HU.view("u2")), LOSSLESS, {}),
    "padding above the body": (U16, j2k(U16), LOSSLESS, {"PixelPaddingValue": 2000}),
    "HTJ2K, irreversible": (U16, imagecodecs.htj2k_encode(U16, reversible=False), HTJ2K, {}),
}


@pytest.mark.parametrize("kind", QUICK)
def test_the_codestream_gives_the_half(tmp_path, whole, kind):
    pixels, code, syntax, attributes = QUICK[kind]
    assert same(header_of(tmp_path, pixels, code, syntax, **attributes))
    assert whole == []


@settings(max_examples=80)
@given(
    shape=st.tuples(st.integers(1, 90), st.integers(1, 90)),
    bits=st.integers(1, 16),
    signed=st.booleans(),
    resolutions=st.integers(2, 6),
    fast=st.booleans(),
    seed=st.integers(0, 99),
)
def test_the_half_of_any_lossless_codestream(shape, bits, signed, resolutions, fast, seed):
    """Black beside white drives the wavelet furthest out of the range of the pixels."""
    bits = 8 * -(-bits // 8) if fast else bits
    low = -(1 << bits - 1) if signed else 0
    rng = np.random.default_rng(seed)
    ends = (low, low + (1 << bits) - 1)
    pixels = rng.choice(ends, shape) if seed % 2 else rng.integers(*ends, shape, endpoint=True)
    pixels = pixels.astype(f"{'i' if signed else 'u'}{1 if bits <= 8 else 2}")
    if fast:
        code = imagecodecs.htj2k_encode(pixels, reversible=True, resolutions=resolutions)
    else:
        code = j2k(pixels, bits, resolutions=resolutions)
    said = describe(LOSSLESS, code)
    assert said is not None
    assert (said.halves, said.bits, said.signed) == (True, bits, signed)
    if said.levels:
        found = reduced._decode(code, said, 1)
        np.testing.assert_array_equal(found.clip(*ends), halve(pixels).clip(*ends))


@pytest.mark.parametrize("kind", SLOW)
def test_the_whole_slice_is_decoded_where_it_does_not(tmp_path, whole, kind):
    pixels, code, syntax, attributes = SLOW[kind]
    assert same(header_of(tmp_path, pixels, code, syntax, **attributes))
    assert len(whole) == 1


@pytest.mark.parametrize(
    "cosines", [[-1, 0, 0, 0, 1, 0], [1, 0, 0, 0, -1, 0], [0, 1, 0, 1, 0, 0], [0, -1, 0, 1, 0, 0]]
)
def test_slices_that_are_turned(tmp_path, whole, cosines):
    assert same(header_of(tmp_path, U16, j2k(U16)), cosines)
    assert len(whole) == 1


def test_an_image_that_begins_off_the_grid(tmp_path, whole):
    code = bytearray(j2k(U16))
    at = code.index(b"\xff\x51") + 6
    (x1, y1) = struct.unpack_from(">2I", code, at)
    struct.pack_into(">4I", code, at, x1 + 1, y1 + 1, 1, 1)
    struct.pack_into(">2I", code, at + 16, x1 + 1, y1 + 1)
    header = header_of(tmp_path, U16, bytes(code))
    with contextlib.suppress(ScanError):  # the rest was made for another origin
        assert same(header)
    assert len(whole) == 1


@pytest.mark.parametrize("end", [0.1, 0.4, 0.7, 0.95])
def test_a_cut_codestream_fails_as_the_whole_does(tmp_path, end):
    code = j2k(U16)
    header = header_of(tmp_path, U16, code[: int(len(code) * end)])
    with pytest.raises(ScanError) as expected:
        decode_slice(header)
    with pytest.raises(ScanError) as found:
        decode_half(header, stack_of(header))
    assert str(found.value) == str(expected.value)


def test_damage_fails_or_decodes_but_never_otherwise(tmp_path):
    code = j2k(U16)
    rng = np.random.default_rng(0)
    for number in range(40):
        wrong = bytearray(code)
        for at in rng.integers(2, len(code) - 2, 3):
            wrong[at] = rng.integers(256)
        header = header_of(tmp_path / str(number), U16, bytes(wrong))
        try:
            found = decode_half(header, stack_of(header))
        except ScanError:
            continue
        assert found.shape == (34, 32)


@pytest.mark.parametrize("levels", [0, 1, 2, 5])
def test_a_look_at_few_levels(tmp_path, levels):
    header = header_of(tmp_path, U16, j2k(U16, resolutions=levels + 1))
    found = decode_reduced(header, 3)
    assert found.shape == (9, 8)
    assert abs(found.mean() - U16.mean()) < 60


def test_a_long_series_of_one_resolution(tmp_path):
    hu = chest(130, 64)
    codes = [j2k(one) for one in hu], [j2k(one, resolutions=1) for one in hu]
    arrays = []
    for number, each in enumerate(codes):
        for index, code in enumerate(each):
            ds = slice_dataset(
                hu[index], (-190, -190, 2.0 * index), TransferSyntaxUID=LOSSLESS, PixelData=code,
                InstanceNumber=index + 1, SliceThickness="2",
            )  # fmt: skip
            save(ds, tmp_path / str(number) / f"{index:03}.dcm")

        (study,) = find_studies(tmp_path / str(number))
        for resolution in ("full", "half"):
            spec = Preprocessing(size=(16, 28, 28), extent="lungs", resolution=resolution)
            arrays.append(load_study(study, spec)[1].array)
    np.testing.assert_array_equal(arrays[2], arrays[0])
    np.testing.assert_array_equal(arrays[3], arrays[1])
