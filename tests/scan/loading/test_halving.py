"""A slice that is halved gives one input, however it is stored."""

import functools
from collections import Counter

import imagecodecs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from darnet_trt.phantom.synthesis import synthesize
from darnet_trt.scan import Preprocessing, Volume, find_studies, load_study, preprocess
from darnet_trt.scan.dicom.pixels import read_codestream
from darnet_trt.scan.loading.halving import halve
from darnet_trt.scan.preprocessing import area_matrix, halved, read_grid
from tests.scan import written_scans as writers
from tests.scan.series_factory import save, slice_dataset
from tests.scan.written_scans import AXIAL_ORDERS, SYNTAXES, VOLUME_FILES, stored

J2K = "1.2.840.10008.1.2.4.90"
SPEC = Preprocessing(size=(16, 28, 28), extent="lungs", resolution="half")


def reference(x):
    """The low-pass of ISO/IEC 15444-1 F.4.8, sample by sample, in whole numbers."""

    def one(line):
        n = len(line)
        if n == 1:
            return list(line)

        def at(i):  # mirrored at both ends
            i = abs(i)
            return line[2 * (n - 1) - i if i >= n else i]

        def high(i):
            return at(i) - (at(i - 1) + at(i + 1)) // 2

        return [at(i) + (high(i - 1) + high(i + 1) + 2) // 4 for i in range(0, n, 2)]

    columns = np.array([one(line) for line in x.T.tolist()]).T
    return np.array([one(line) for line in columns.tolist()])


@settings(max_examples=60)
@given(
    shape=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    dtype=st.sampled_from([np.uint8, np.int16, np.uint16, np.int32, np.float32]),
    seed=st.integers(0, 99),
)
def test_the_low_pass_matches_its_definition(shape, dtype, seed):
    top = 2**15 - 1 if np.dtype(dtype).itemsize > 1 else 255
    low = 0 if np.dtype(dtype).kind == "u" else -top
    x = np.random.default_rng(seed).integers(low, top, shape).astype(dtype)
    np.testing.assert_array_equal(halve(x), reference(x.astype(np.int64)))


@settings(max_examples=60)
@given(n_out=st.integers(1, 60), n_in=st.integers(120, 260))
def test_rows_of_the_matrix_find_a_slope_where_the_whole_ones_do(n_out, n_in):
    """The samples lie on even pixels; what the box before the half would take is not shifted."""
    half, whole = area_matrix(n_out, n_in, half=True), area_matrix(n_out, n_in)
    assert half.shape == (n_out, (n_in + 1) // 2)
    np.testing.assert_allclose(half.sum(1), 1, atol=1e-5)
    found = half @ np.arange(0, n_in, 2)
    inner = np.s_[1:-1]  # the first and last sample stand for the slice's edge, too
    assert np.abs(found - whole @ np.arange(n_in))[inner].max(initial=0) < 0.51
    assert np.mean((found - whole @ np.arange(n_in))[inner] if n_out > 2 else 0) == pytest.approx(
        0, abs=0.15
    )


def test_only_slices_with_twice_the_pixels_are_halved():
    spec = Preprocessing(size=(16, 28, 30), resolution="half")
    assert halved(spec, (56, 60))
    assert not halved(spec, (55, 60))
    assert not halved(spec, (56, 59))
    assert not halved(Preprocessing(size=(16, 28, 30)), (512, 512))
    assert read_grid(spec, (1.0, 2.0, 3.0), (57, 60)) == ((1.0, 4.0, 6.0), (29, 30))
    hu = np.random.default_rng(0).integers(-1024, 400, (20, 55, 59)).astype(np.int16)
    volume = Volume(hu, (1, 1, 1))
    full = spec.model_copy(update={"resolution": "full"})
    np.testing.assert_array_equal(preprocess(spec, volume), preprocess(full, volume))


@pytest.mark.parametrize("matrix", [56, 57, 64, 71])
def test_the_input_is_that_of_whole_slices_but_for_what_is_finer(matrix):
    volume = synthesize("covid-19", 1, matrix=matrix, slices=(24, 24))
    half, whole = (
        preprocess(SPEC.model_copy(update={"resolution": one}), volume) for one in ("half", "full")
    )
    assert 0 < np.abs(half - whole).mean() < 0.02


# -- one scan, one input --------------------------------------------------------------------


@functools.cache
def phantom(matrix=64):
    volume = synthesize("normal", 3, matrix=matrix, slices=(32, 32))
    return Volume(volume.hu.clip(-1024), (9.5, 5.5, 5.5), (-171.25, -169.5, 12.75))


def load(path, spec=SPEC, **options):
    (study,) = find_studies(path)
    return load_study(study, spec, **options)[1]


@pytest.fixture(scope="module", params=[64, 65])
def scan(request, tmp_path_factory):
    volume = phantom(request.param)
    plain = writers.write_classic(stored(volume), tmp_path_factory.mktemp("plain"))
    loaded = load(plain, identify=True)
    np.testing.assert_allclose(loaded.array, preprocess(SPEC, volume), atol=1e-6)
    return volume, loaded


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("write", [writers.write_classic, writers.write_enhanced])
def test_every_lossless_transfer_syntax(tmp_path, scan, write, syntax):
    volume, expected = scan
    found = load(write(stored(volume), tmp_path / "a", syntax), identify=True)
    np.testing.assert_allclose(found.array, expected.array, atol=1e-6)
    assert found.hashes == expected.hashes
    assert found.warnings == expected.warnings


@pytest.mark.parametrize("order", AXIAL_ORDERS[1::7])
@pytest.mark.parametrize("syntax", ["explicit", "jpeg-2000"])
def test_every_order_of_axial_slices(tmp_path, scan, order, syntax):
    volume, expected = scan
    found = load(writers.write_classic(stored(volume, *order), tmp_path / "a", syntax))
    np.testing.assert_allclose(found.array, expected.array, atol=1e-6)


@pytest.mark.parametrize("file", ["a.nii", "a.nrrd"])
def test_volume_files(tmp_path, scan, file):
    volume, expected = scan
    path = VOLUME_FILES[file](stored(volume, (2, 1, 0), (True, False, True)), tmp_path / file)
    found = load(path, identify=True)
    np.testing.assert_allclose(found.array, expected.array, atol=1e-6)
    assert found.hashes == expected.hashes


def test_hashes_are_those_of_whole_slices_and_each_is_decoded_once(tmp_path, monkeypatch):
    folder = writers.write_classic(stored(phantom()), tmp_path / "a", "jpeg-2000")
    whole = load(folder, SPEC.model_copy(update={"resolution": "full"}), identify=True)
    plain, read = load(folder), Counter()

    def counting(header):
        read[header.path] += 1
        return read_codestream(header)

    for module in ("pixels", "encoding.reduced"):
        monkeypatch.setattr(f"darnet_trt.scan.dicom.{module}.read_codestream", counting)
    found = load(folder, identify=True)
    assert found.hashes == whole.hashes != frozenset()
    np.testing.assert_array_equal(found.array, plain.array)
    assert set(read.values()) == {1}


def test_transfer_syntaxes_mixed_in_one_series(tmp_path, scan):
    volume, expected = scan
    for index, syntax in enumerate(("jpeg-2000", "explicit", "htj2k", "rle")):
        folder = writers.write_classic(stored(volume), tmp_path / syntax, syntax)
        for number, file in enumerate(sorted(folder.iterdir())):
            if number % 4 == index:
                (tmp_path / "mixed").mkdir(exist_ok=True)
                file.rename(tmp_path / "mixed" / file.name)
    np.testing.assert_allclose(load(tmp_path / "mixed").array, expected.array, atol=1e-6)


@pytest.mark.parametrize("padding_hu", [-3024, -1500])
def test_what_was_not_reconstructed_is_air_of_any_value(tmp_path, padding_hu):
    outside = np.hypot(*(np.indices((64, 64)) - 31.5)) > 30
    inputs = []
    for value in (-1024, padding_hu):
        hu = phantom().hu.astype(np.int32)
        hu[:, outside] = value
        for says in ({}, {"PixelPaddingValue": value + 1024}):
            for syntax in ("1.2.840.10008.1.2.1", J2K):
                folder = tmp_path / f"{value} {len(says)} {syntax}"
                write_stored(folder, (hu + 1024).astype(np.int16), syntax, **says)
                inputs.append(load(folder, SPEC.model_copy(update={"extent": "scan"})).array)
    for found in inputs[1:4]:
        np.testing.assert_array_equal(found, inputs[0])
    for found in inputs[5:]:
        np.testing.assert_array_equal(found, inputs[4])
    # Only the pixels beside the fill count as air, too.
    inner = np.hypot(*(np.indices((28, 28)) - 13.5)) < 10
    np.testing.assert_array_equal(inputs[4][0][:, inner], inputs[0][0][:, inner])


def encode(pixels, bits=16, **options):
    options = {"level": 0, "reversible": True, "codecformat": "j2k", **options}
    return imagecodecs.jpeg2k_encode(pixels, bitspersample=bits, **options)


def write_stored(folder, volume, syntax, code=encode, **attributes):
    for index, pixels in enumerate(volume):
        more = {} if syntax == "1.2.840.10008.1.2.1" else {"PixelData": code(pixels)}
        ds = slice_dataset(
            pixels,
            (-190.0, -190.0, index * 10.0),
            TransferSyntaxUID=syntax,
            RescaleIntercept="-1024",
            InstanceNumber=index + 1,
            **more,
            **attributes,
        )
        save(ds, folder / f"IM{index:04d}.dcm")
    return folder
