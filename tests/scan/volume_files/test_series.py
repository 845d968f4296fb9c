"""Volume files keep their geometry and come out S, P, L."""

import contextlib
import gzip
import re
import struct

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from hypothesis import given, settings
from hypothesis import strategies as st

from darnet_trt.errors import RefusedScanError, UnreadableScanError
from darnet_trt.scan import Preprocessing, find_studies, load_input, preprocess, read_volume
from tests.scan.series_factory import chest

FORMATS = ["a.nii", "a.nii.gz", "a.nrrd", "a.mha", "a.mhd"]
SPEC = Preprocessing(size=(16, 32, 32))


def image(array=None, spacing=(6.0, 6.5, 10.0), origin=(-5.0, 7.0, 11.0)):
    written = sitk.GetImageFromArray(chest() if array is None else array)
    written.SetSpacing(spacing)
    written.SetOrigin(origin)
    return written


def only(path):
    (study,) = find_studies(path)
    (series,) = study.series
    return series


@pytest.mark.parametrize("name", FORMATS)
def test_each_format(tmp_path, name):
    sitk.WriteImage(image(), tmp_path / name)
    series = only(tmp_path)
    assert series.verdict.usable
    assert series.verdict.reason == "24 axial slices, 240 mm"
    assert series.slices == 24
    assert series.spacing_mm == pytest.approx((10, 6.5, 6))
    volume = read_volume(series)
    np.testing.assert_array_equal(volume.hu, chest())
    assert volume.spacing_mm == pytest.approx((10, 6.5, 6))
    assert volume.origin_mm == pytest.approx((-5, 7, 11))
    np.testing.assert_allclose(volume.direction, [[0, 0, 1], [0, 1, 0], [1, 0, 0]], atol=1e-6)
    loaded = load_input(series, SPEC)
    np.testing.assert_allclose(loaded.array, preprocess(SPEC, volume), atol=1e-6)


CODES = [x + y + z for x in "LR" for y in "AP" for z in "SI"]
CODES += ["".join(code[i] for i in order) for code in CODES for order in [(2, 1, 0), (1, 2, 0)]]


@settings(max_examples=len(CODES), deadline=None)
@given(code=st.sampled_from(CODES))
def test_any_orientation_reads_the_same(tmp_path_factory, code):
    path = tmp_path_factory.mktemp("oriented") / "a.nrrd"
    sitk.WriteImage(sitk.DICOMOrient(image(), code), path)
    series = only(path)
    assert series.slices == 24
    assert series.spacing_mm == pytest.approx((10, 6.5, 6))
    volume = read_volume(series)
    np.testing.assert_array_equal(volume.hu, chest())
    assert volume.origin_mm == pytest.approx((-5, 7, 11))


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.zeros((40, 50), np.int16), "2-dimensional"),
        (np.zeros((3, 12, 20, 20), np.int16), "4-dimensional"),
        (np.zeros((4, 20, 20), np.int16), "too few"),
        (np.zeros((1, 20, 20), np.int16), "a single slice"),
    ],
)
def test_what_is_no_volume(tmp_path, array, reason):
    sitk.WriteImage(sitk.GetImageFromArray(array, isVector=False), tmp_path / "a.nrrd")
    verdict = only(tmp_path).verdict
    assert not verdict.usable
    assert reason in verdict.reason


def test_colours(tmp_path):
    rgb = sitk.GetImageFromArray(np.zeros((20, 30, 30, 3), np.uint8), isVector=True)
    sitk.WriteImage(rgb, tmp_path / "a.mha")
    assert "3 values a voxel" in only(tmp_path).verdict.reason


def test_a_field_of_view_that_is_no_ct_s(tmp_path):
    sitk.WriteImage(image(spacing=(500, 500, 5)), tmp_path / "a.nii.gz")
    assert only(tmp_path).verdict.reason == (
        "a field of view of 3.2e+04×3.2e+04 mm is not plausible (at most 1000 mm): "
        "is the pixel spacing right?"
    )


def test_oblique_axes(tmp_path):
    turned = image()
    turned.SetDirection(tuple(np.array(sitk.Euler3DTransform((0, 0, 0), 0.6, 0, 0).GetMatrix())))
    sitk.WriteImage(turned, tmp_path / "a.nrrd")
    assert "oblique" in only(tmp_path).verdict.reason


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.where(chest() > 600, np.nan, chest()).astype(np.float32), "not numbers"),
        ((chest() / 4 + 250).clip(0, 255).astype(np.uint8), "not Hounsfield units"),
        (chest().astype(np.int32) * 100, "cannot be Hounsfield units"),
        (np.full((24, 64, 64), 7, np.int16), "constant"),
        (np.where(chest() < -500, -1000, chest()).astype(np.int16), "not a chest"),
    ],
)
def test_values_that_cannot_be_classified(tmp_path, array, reason):
    sitk.WriteImage(image(array), tmp_path / "a.nii.gz")
    series = only(tmp_path)
    assert series.verdict.usable
    with pytest.raises(RefusedScanError, match=reason):
        load_input(series, SPEC)


@pytest.mark.parametrize("name", FORMATS[:-1])
def test_truncated_files(tmp_path, name):
    path = tmp_path / name
    sitk.WriteImage(image(), path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UnreadableScanError, match=re.escape(name)):
        load_input(only(path), SPEC)


@pytest.mark.parametrize("cut", [10, 5000, 90_000])
def test_a_nifti_file_cut_before_it_was_packed(tmp_path, cut):
    sitk.WriteImage(image(), tmp_path / "whole.nii")
    data = (tmp_path / "whole.nii").read_bytes()[:-cut]
    (tmp_path / "whole.nii").unlink()
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(data))
    with pytest.raises(UnreadableScanError, match="truncated"):
        read_volume(only(tmp_path))


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64])
def test_nifti_data_types(tmp_path, dtype):
    array = chest(12).clip(0).astype(dtype) if np.dtype(dtype).kind == "u" else chest(12)
    sitk.WriteImage(image(array.astype(dtype)), tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(read_volume(only(tmp_path)).hu, array.astype(dtype))


def test_nifti_slope_and_intercept(tmp_path):
    sitk.WriteImage(image((chest() + 1024).astype(np.int16)), tmp_path / "a.nii")
    data = bytearray((tmp_path / "a.nii").read_bytes())
    data[112:120] = struct.pack("<2f", 1, -1024)
    (tmp_path / "a.nii").write_bytes(data)
    np.testing.assert_allclose(read_volume(only(tmp_path)).hu, chest())


@pytest.mark.parametrize("slope", [0, np.nan, np.inf])
def test_nifti_without_a_slope_keeps_its_values(tmp_path, slope):
    nifti(tmp_path / "a.nii", (112, "f", slope), (116, "f", 5))
    np.testing.assert_array_equal(read_volume(only(tmp_path)).hu, chest(12))


@pytest.mark.parametrize("offset", [np.nan, np.inf, -1, 1e9])
def test_nifti_voxels_that_begin_nowhere(tmp_path, offset):
    nifti(tmp_path / "a.nii", (108, "f", offset))
    with pytest.raises(UnreadableScanError, match="its voxels begin at"):
        read_volume(only(tmp_path))


def test_a_direction_that_is_not_a_number(tmp_path):
    sitk.WriteImage(image(spacing=(1, 1, 1)), tmp_path / "a.nrrd")
    data = (tmp_path / "a.nrrd").read_bytes()
    assert b"(1,0,0) (0,1,0)" in data
    (tmp_path / "a.nrrd").write_bytes(data.replace(b"(1,0,0) (0,1,0)", b"(0,0,0) (0,1,0)"))
    assert only(tmp_path).verdict.reason == "its direction is not a number"


def nifti(path, *fields):
    """A NIfTI file with some fields of its header (offset, type, value) changed."""
    sitk.WriteImage(image(chest(12)), path)
    data = bytearray(path.read_bytes())
    for at, kind, value in fields:
        struct.pack_into(f"<{kind}", data, at, value)
    path.write_bytes(data)


def test_what_itk_says_is_told_without_its_own_places(tmp_path):
    (tmp_path / "a.nrrd").write_text("NRRD0004\n")
    with pytest.raises(UnreadableScanError) as caught:
        find_studies(tmp_path / "a.nrrd")
    assert caught.value.what == (
        'is not a readable nrrd file (hit end of header, but no "data file" given)'
    )


@pytest.mark.parametrize("name", FORMATS)
def test_text_under_an_image_s_name(tmp_path, name):
    (tmp_path / name).write_text("no image at all\n" * 50)
    with pytest.raises(UnreadableScanError, match=name) as caught:
        find_studies(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_no_nifti_header_crashes_it(tmp_path):
    path = tmp_path / "a.nii"
    nifti(path)
    whole = path.read_bytes()
    words = st.binary(min_size=4, max_size=4) | st.sampled_from(
        [struct.pack("<f", v) for v in (np.nan, np.inf, -np.inf, 0, 3e38)]
    )

    @settings(max_examples=300, deadline=None)
    @given(st.lists(st.tuples(st.integers(40, 340), words), min_size=1, max_size=3))
    def survives(changes):
        broken = bytearray(whole)
        for at, word in changes:
            broken[at : at + 4] = word
        path.write_bytes(broken)
        with contextlib.suppress(UnreadableScanError, RefusedScanError):
            load_input(only(tmp_path), SPEC)

    survives()
