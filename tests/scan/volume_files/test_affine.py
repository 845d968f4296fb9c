"""NIfTI's two forms: the sform is taken, and every contradiction is named."""

import struct

import nibabel
import numpy as np
import pytest

from darnet_trt.scan import read_volume
from tests.scan.series_factory import chest, only

AFFINE = np.array([[-6.0, 0, 0, 5], [0, -6.5, 0, -7], [0, 0, 10, 11], [0, 0, 0, 1]])
"""RAS: the axes of the array run Left, Posterior, Superior."""
KINDS = [nibabel.Nifti1Image, nibabel.Nifti2Image]


def write(path, *, sform=None, qform=None, codes=(1, 1), kind=nibabel.Nifti1Image, **fields):
    """Write a file with two forms; `codes` are those of sform and qform, `fields` the header's."""
    image = kind(chest().transpose(2, 1, 0), AFFINE)
    image.set_qform(AFFINE if qform is None else qform, codes[1])
    image.set_sform(AFFINE if sform is None else sform, codes[0])
    for name, value in fields.items():
        image.header[name] = value
    data = image.header.binaryblock + bytes(4) + np.asarray(image.dataobj).tobytes(order="F")
    path.write_bytes(data)
    return path


def turned(angle_deg):
    a = np.radians(angle_deg)
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]]
    return turn


def codes_of(series):
    return [warning.code for warning in series.verdict.warnings]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("codes", [(1, 1), (2, 1), (1, 2), (4, 1)])
@pytest.mark.parametrize("flip", [(-1, 1, 1), (1, -1, 1), (1, 1, -1), (-1, -1, 1)])
def test_forms_that_mirror_or_turn_each_other(tmp_path, kind, codes, flip):
    path = write(tmp_path / "a.nii", sform=np.diag([*flip, 1]) @ AFFINE, codes=codes, kind=kind)
    verdict = only(path).verdict
    assert not verdict.usable
    assert verdict.reason.code == "sform-or-qform"


def test_forms_with_other_axes(tmp_path):
    verdict = only(write(tmp_path / "a.nii", qform=AFFINE[[1, 0, 2, 3]])).verdict
    assert verdict.reason.code == "sform-or-qform"


@pytest.mark.parametrize("codes", [(1, 1), (2, 1)])
def test_forms_that_differ_a_little(tmp_path, codes):
    """As after a registration: the sform counts, as nibabel has it."""
    sform = turned(4) @ AFFINE
    path = write(tmp_path / "a.nii", sform=sform, codes=codes)
    series = only(path)
    assert series.verdict.usable
    assert codes_of(series) == ["sform-taken"]
    assert "4.0°" in series.verdict.warnings[0]
    np.testing.assert_allclose(nibabel.load(path).affine, sform, atol=1e-5)
    lps = (np.diag([-1, -1, 1]) @ sform[:3, :3]) / (6, 6.5, 10)
    np.testing.assert_allclose(read_volume(series).direction[:, ::-1], lps, atol=1e-6)


@pytest.mark.parametrize("shift_mm", [(0, 300, 0), (0, 0, 25)])
def test_forms_at_different_places(tmp_path, shift_mm):
    sform = AFFINE.copy()
    sform[:3, 3] += shift_mm
    assert codes_of(only(write(tmp_path / "a.nii", sform=sform))) == ["sform-taken"]


def test_a_qform_that_is_no_rotation(tmp_path):
    series = only(write(tmp_path / "a.nii", quatern_b=5))
    assert series.verdict.usable
    assert codes_of(series) == ["sform-taken"]


def test_forms_that_differ_by_rounding(tmp_path):
    sform = AFFINE + np.random.default_rng(0).uniform(-6e-4, 6e-4, (4, 4))
    sform[3] = 0, 0, 0, 1
    assert codes_of(only(write(tmp_path / "a.nii", sform=sform))) == []


@pytest.mark.parametrize("kind", KINDS)
def test_only_one_form(tmp_path, kind):
    mirrored = np.diag([-1, 1, 1, 1]) @ AFFINE
    flipped = chest()[:, :, ::-1]
    for codes, hu in [((1, 0), flipped), ((0, 1), chest())]:
        path = write(tmp_path / "a.nii", sform=mirrored, codes=codes, kind=kind)
        series = only(path)
        assert (series.oriented, codes_of(series)) == (True, [])
        np.testing.assert_array_equal(read_volume(series).hu, hu)


@pytest.mark.parametrize("kind", KINDS)
def test_no_form(tmp_path, kind):
    series = only(write(tmp_path / "a.nii", codes=(0, 0), kind=kind))
    assert series.verdict.usable
    assert not series.oriented
    assert codes_of(series) == ["no-orientation"]
    assert series.spacing_mm == pytest.approx((10, 6.5, 6))


def test_no_form_and_no_voxel_sizes(tmp_path):
    path = write(tmp_path / "a.nii", codes=(0, 0), pixdim=[1] * 8)
    assert only(path).verdict.reason.code == "placeholder-geometry"


def test_an_identity_that_pixdim_contradicts(tmp_path):
    shifted = np.eye(4)
    shifted[:3, 3] = 1, 2, 3
    for codes in ((1, 0), (1, 1)):
        path = write(tmp_path / "a.nii", sform=shifted, codes=codes)
        assert only(path).verdict.reason.code == "placeholder-geometry"


def test_pixdim_that_contradicts_the_sform(tmp_path):
    path = write(tmp_path / "a.nii", codes=(1, 0), pixdim=[1, 6, 6.5, 5, 0, 0, 0, 0])
    series = only(path)
    assert codes_of(series) == ["voxel-sizes-differ"]
    assert series.spacing_mm == pytest.approx((10, 6.5, 6))


@pytest.mark.parametrize(
    ("codes", "found"),
    [
        ((1, 0), []),
        ((0, 1), ["negative-voxel-size"]),
        ((0, 0), ["no-orientation", "negative-voxel-size"]),
    ],
)
def test_negative_voxel_sizes(tmp_path, codes, found):
    path = write(tmp_path / "a.nii", codes=codes, pixdim=[1, -6, 6.5, 10, 0, 0, 0, 0])
    series = only(path)
    assert codes_of(series) == found
    assert series.spacing_mm == pytest.approx((10, 6.5, 6))
    if codes == (0, 1):
        lps = np.diag([-1, -1, 1, 1]) @ nibabel.load(path).affine  # it drops the sign as well
        np.testing.assert_allclose(read_volume(series).origin_mm, lps[:3, 3], atol=1e-5)


def test_a_tilt_that_only_the_sform_holds(tmp_path):
    """dcm2niix writes a tilted scan so; ITK reads the straight qform."""
    sform = AFFINE.copy()
    sform[1, 2] = 10 * np.tan(np.radians(18.5))
    verdict = only(write(tmp_path / "a.nii", sform=sform)).verdict
    assert "tilted by 18.5°" in verdict.reason


def test_analyze_codes_are_not_looked_at(tmp_path):
    """A pair without a magic word has other things where NIfTI has its forms."""
    whole = bytearray(write(tmp_path / "a.nii").read_bytes())
    struct.pack_into("4s", whole, 344, b"\0\0\0\0")
    whole[252] = 0
    (tmp_path / "a.hdr").write_bytes(whole[:348])
    (tmp_path / "a.img").write_bytes(whole[352:])
    series = only(tmp_path / "a.hdr")
    assert not series.oriented
    np.testing.assert_array_equal(read_volume(series).hu.shape, (24, 64, 64))


@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, -1, 1)])
def test_voxel_sizes_without_an_orientation(tmp_path, signs):
    """What `numpy.diag` as affine and an array in SimpleITK give; a scanner's origin is not 0."""
    default = np.diag([6 * signs[0], 6.5 * signs[1], 10 * signs[2], 1.0])
    path = write(tmp_path / "a.nii", sform=default, qform=default)
    assert codes_of(only(path)) == ["default-orientation"]
    placed = default.copy()
    placed[2, 3] = 0.5
    assert codes_of(only(write(tmp_path / "b.nii", sform=placed, qform=placed))) == []


@pytest.mark.parametrize(("unit", "code"), [(1, "wide-field"), (3, "narrow-field")])
def test_a_unit_that_is_wrong(tmp_path, unit, code):
    assert only(write(tmp_path / "a.nii", xyzt_units=unit)).verdict.reason.code == code
