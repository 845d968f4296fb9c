"""Axes that are sheared, made up or exchanged are refused; rounding is not."""

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from hypothesis import given, settings
from hypothesis import strategies as st

from darnet_trt.errors import UnreadableScanError
from darnet_trt.scan import find_studies, read_volume
from tests.scan.series_factory import chest, only

SPACING = np.array([6.0, 6.0, 10.0])
LPS = np.diag([-1.0, -1, 1])
FORMATS = ["a.nii", "a.nrrd", "a.mha"]


def write(path, steps, array=None, origin=(-5.0, 7.0, 11.0)):
    """Write an array (k, j, i) whose axes i j k step by the columns of a matrix, in LPS mm."""
    array = chest() if array is None else array
    if path.suffix == ".nii":
        affine = np.eye(4)
        affine[:3, :3], affine[:3, 3] = LPS @ steps, LPS @ origin
        image = nibabel.Nifti1Image(array.transpose(2, 1, 0), affine)
        image.set_qform(None, 0)  # it cannot hold a shear
        nibabel.save(image, path)
        return path
    image = sitk.GetImageFromArray(array)
    lengths = np.linalg.norm(steps, axis=0)
    image.SetSpacing(lengths.tolist())
    image.SetDirection((steps / lengths).ravel().tolist())
    image.SetOrigin(origin)
    sitk.WriteImage(image, path)
    return path


def sheared(along, of, angle_deg):
    """Return an axis that is tilted towards another one; slices keep their distance."""
    steps = np.diag(SPACING)
    steps[along, of] = SPACING[of] * np.tan(np.radians(angle_deg))
    return steps


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("along", [0, 1])
@pytest.mark.parametrize(("angle_deg", "usable"), [(0.9, True), (-1.1, False), (18.5, False)])
def test_slices_shifted_from_one_to_the_next(tmp_path, name, along, angle_deg, usable):
    verdict = only(write(tmp_path / name, sheared(along, 2, angle_deg))).verdict
    assert verdict.usable == usable
    assert usable or f"tilted by {abs(angle_deg)}°" in verdict.reason


@pytest.mark.parametrize("name", FORMATS)
def test_a_tilt_towards_a_corner_is_the_angle_to_the_slices_normal(tmp_path, name):
    steps = np.diag(SPACING)
    steps[:2, 2] = 10 * np.tan(np.radians(0.9))  # 1.27° together
    verdict = only(write(tmp_path / name, steps)).verdict
    assert not verdict.usable
    assert "tilted by 1.3°" in verdict.reason


@pytest.mark.parametrize("name", FORMATS)
def test_tilt_of_slices_along_another_stored_axis(tmp_path, name):
    steps = sheared(1, 2, 18.5)[:, [2, 0, 1]]
    verdict = only(write(tmp_path / name, steps, chest().transpose(1, 2, 0))).verdict
    assert "tilted by 18.5°" in verdict.reason


@pytest.mark.parametrize("name", FORMATS)
def test_rows_that_are_not_perpendicular_to_columns(tmp_path, name):
    verdict = only(write(tmp_path / name, sheared(0, 1, 4))).verdict
    assert not verdict.usable
    assert verdict.reason.code == "sheared"


@settings(max_examples=20)
@given(name=st.sampled_from(FORMATS), seed=st.integers(0, 999))
def test_rounding_by_a_thousandth_of_a_voxel(tmp_path_factory, name, seed):
    noise = np.random.default_rng(seed).uniform(-1e-3, 1e-3, (3, 3))
    path = write(tmp_path_factory.mktemp("rounded") / name, np.diag(SPACING) * (1 + noise) + noise)
    volume = read_volume(only(path))
    np.testing.assert_allclose(volume.direction.T @ volume.direction, np.eye(3), atol=1e-9)
    np.testing.assert_allclose(volume.direction[:, ::-1], np.eye(3), atol=2e-3)
    np.testing.assert_array_equal(volume.hu, chest())


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, -1, 1), (1, -1, -1)])
def test_a_geometry_that_nobody_entered(tmp_path, name, signs):
    verdict = only(write(tmp_path / name, np.diag(signs).astype(float), origin=(0, 0, 0))).verdict
    assert not verdict.usable
    assert verdict.reason.code == "placeholder-geometry"


@pytest.mark.parametrize("name", FORMATS)
def test_voxels_of_1_mm_at_a_place_of_their_own(tmp_path, name):
    assert only(write(tmp_path / name, np.eye(3))).verdict.usable


def test_what_libraries_write_for_an_array_alone(tmp_path):
    zyx = chest().repeat(4, 0)
    nibabel.save(nibabel.Nifti1Image(zyx, np.eye(4)), tmp_path / "a.nii")
    for name in ("b.nii", "b.nrrd", "b.mha"):
        sitk.WriteImage(sitk.GetImageFromArray(zyx), tmp_path / name)
    codes = {study.series[0].verdict.reason.code for study in find_studies(tmp_path)}
    assert codes == {"placeholder-geometry"}


@pytest.mark.parametrize("name", FORMATS)
def test_an_array_z_y_x_under_a_scanner_s_affine(tmp_path, name):
    steps = np.diag([6.0, 6.0, 10.0])
    verdict = only(write(tmp_path / name, steps, chest(40).transpose(2, 1, 0))).verdict
    assert not verdict.usable
    assert verdict.reason.code == "axes-exchanged"


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("size", [(64, 64, 64), (24, 64, 50), (64, 50, 70)])
def test_sizes_that_contradict_nothing(tmp_path, name, size):
    assert only(write(tmp_path / name, np.diag(SPACING), np.zeros(size, np.int16))).verdict.usable


def test_rows_of_a_matrix_that_are_not_unit_vectors(tmp_path):
    path = write(tmp_path / "a.mha", np.diag(SPACING))
    text = b"TransformMatrix = 1 0 0 0 1 0 0 0 1"
    whole = path.read_bytes()
    assert text in whole
    for matrix in (b"2 0 0 0 2 0 0 0 2", b"0 0 0 0 0 0 0 0 0", b"6 0 0 0 6 0 0 0 10"):
        path.write_bytes(whole.replace(text, b"TransformMatrix = " + matrix))
        with pytest.raises(UnreadableScanError, match="TransformMatrix") as caught:
            find_studies(path)
        assert caught.value.code == "broken-header"
