"""Volume files keep their geometry and come out S, P, L."""

import re

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from darnet_trt.errors import RefusedScanError, UnreadableScanError
from darnet_trt.scan import Preprocessing, find_studies, load_input, preprocess, read_volume
from tests.scan.series_factory import chest, only

FORMATS = ["a.nii", "a.nii.gz", "a.nrrd", "a.mha", "a.mhd"]
SPEC = Preprocessing(size=(16, 32, 32))


def image(array=None, spacing=(6.0, 6.5, 10.0), origin=(-5.0, 7.0, 11.0)):
    written = sitk.GetImageFromArray(chest() if array is None else array)
    written.SetSpacing(spacing)
    written.SetOrigin(origin)
    return written


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


def zeros(*shape, colours=False):
    written = sitk.GetImageFromArray(np.zeros(shape, np.int16), isVector=colours)
    written.SetSpacing([2.0] * written.GetDimension())
    return written


@pytest.mark.parametrize(
    ("name", "written", "reason"),
    [
        ("a.nrrd", zeros(40, 50), "2-dimensional"),
        ("a.nrrd", zeros(3, 12, 20, 20), "4-dimensional"),
        ("a.nrrd", zeros(4, 20, 20), "4 slices"),
        ("a.nrrd", zeros(1, 20, 20), "a single slice"),
        ("a.mha", zeros(20, 30, 30, 3, colours=True), "3 values a voxel"),
        ("a.nii.gz", image(spacing=(500, 500, 5)), "32000×32000 mm (at most 1000 mm)"),
    ],
)
def test_images_that_are_not_volumes_of_a_ct(tmp_path, name, written, reason):
    sitk.WriteImage(written, tmp_path / name)
    verdict = only(tmp_path).verdict
    assert not verdict.usable
    assert reason in verdict.reason


def test_oblique_axes(tmp_path):
    turned = image()
    turned.SetDirection(tuple(np.array(sitk.Euler3DTransform((0, 0, 0), 0.6, 0, 0).GetMatrix())))
    sitk.WriteImage(turned, tmp_path / "a.nrrd")
    assert "turned by 34°" in only(tmp_path).verdict.reason


@pytest.mark.parametrize("name", ["a.nrrd", "a.mha", "a.nii"])
@pytest.mark.parametrize(("tilt_deg", "usable"), [(0.8, True), (18.5, False)])
def test_a_tilted_gantry_leaves_axes_that_are_not_perpendicular(tmp_path, name, tilt_deg, usable):
    """Slices shifted along y from one to the next, as converters write a tilted scan."""
    y, z = np.sin(np.radians(tilt_deg)), np.cos(np.radians(tilt_deg))
    if name == "a.nii":
        affine = np.array([[-6, 0, 0, 0], [0, -6.5, -10 * y, 0], [0, 0, 10 * z, 0], [0, 0, 0, 1]])
        nibabel.save(nibabel.Nifti1Image(chest().transpose(2, 1, 0), affine), tmp_path / name)
    else:
        sheared = image()
        sheared.SetDirection((1, 0, 0, 0, 1, y, 0, 0, z))
        sitk.WriteImage(sheared, tmp_path / name)
    verdict = only(tmp_path).verdict
    assert verdict.usable == usable
    assert usable or f"gantry tilted by {tilt_deg}°" in verdict.reason


def test_values_that_are_not_numbers(tmp_path):
    array = np.where(chest() > 600, np.nan, chest()).astype(np.float32)
    sitk.WriteImage(image(array), tmp_path / "a.nii.gz")
    with pytest.raises(RefusedScanError, match="not numbers"):
        load_input(only(tmp_path), SPEC)


@pytest.mark.parametrize("name", FORMATS[:-1])
def test_truncated_files(tmp_path, name):
    path = tmp_path / name
    sitk.WriteImage(image(), path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UnreadableScanError, match=re.escape(name)):
        load_input(only(path), SPEC)


def test_a_direction_of_length_0(tmp_path):
    sitk.WriteImage(image(spacing=(1, 1, 1)), tmp_path / "a.nrrd")
    data = (tmp_path / "a.nrrd").read_bytes()
    assert b"(1,0,0) (0,1,0)" in data
    (tmp_path / "a.nrrd").write_bytes(data.replace(b"(1,0,0) (0,1,0)", b"(0,0,0) (0,1,0)"))
    with pytest.raises(UnreadableScanError, match="voxels of size 0"):
        only(tmp_path / "a.nrrd")


@pytest.mark.parametrize("name", FORMATS)
def test_text_under_an_image_s_name(tmp_path, name):
    (tmp_path / name).write_text("no image at all\n" * 50)
    with pytest.raises(UnreadableScanError, match=name) as caught:
        find_studies(tmp_path / name)
    assert "\n" not in str(caught.value)
