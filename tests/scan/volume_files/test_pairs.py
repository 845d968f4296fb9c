"""NIfTI and ANALYZE files in two parts, and files packed or not against their names."""

import gzip
import os

import nibabel
import numpy as np
import pytest

from darnet_trt.errors import UnreadableScanError
from darnet_trt.scan import find_studies, read_volume
from darnet_trt.scan.volume_files.series import image_format
from tests.scan.series_factory import chest, only

AFFINE = np.diag([-6.0, -6.5, 10, 1])
AFFINE[:3, 3] = 5, -7, 11


@pytest.mark.parametrize("kind", [nibabel.Nifti1Pair, nibabel.Nifti2Pair])
@pytest.mark.parametrize("named", ["a.hdr", "a.img"])
def test_a_nifti_pair(tmp_path, kind, named):
    nibabel.save(kind(chest().transpose(2, 1, 0), AFFINE), tmp_path / "a.img")
    series = only(tmp_path / named)
    assert (series.path, series.format) == (tmp_path / "a.hdr", "nifti")
    assert series.files == (tmp_path / "a.hdr", tmp_path / "a.img")
    assert series.oriented
    volume = read_volume(series)
    np.testing.assert_array_equal(volume.hu, chest())
    assert volume.origin_mm == pytest.approx((-5, 7, 11))


def test_a_gzipped_pair_in_capitals(tmp_path):
    nibabel.save(nibabel.Nifti1Pair(chest().transpose(2, 1, 0), AFFINE), tmp_path / "a.img.gz")
    np.testing.assert_array_equal(read_volume(only(tmp_path / "a.hdr.gz")).hu, chest())
    (tmp_path / "a.hdr.gz").rename(tmp_path / "A.HDR.GZ")
    (tmp_path / "a.img.gz").rename(tmp_path / "A.IMG.GZ")
    np.testing.assert_array_equal(read_volume(only(tmp_path / "A.HDR.GZ")).hu, chest())


@pytest.mark.parametrize("order", "<>")
def test_analyze(tmp_path, order):
    header = nibabel.AnalyzeHeader(endianness=order)
    image = nibabel.AnalyzeImage(chest().transpose(2, 1, 0), AFFINE, header)
    image.to_filename(tmp_path / "a.img")
    series = only(tmp_path / "a.hdr")
    assert series.verdict.usable
    assert not series.oriented
    assert [warning.code for warning in series.verdict.warnings] == ["no-orientation"]
    volume = read_volume(series)
    stored = np.asarray(nibabel.AnalyzeImage.from_filename(tmp_path / "a.img").dataobj)
    zooms = nibabel.AnalyzeImage.from_filename(tmp_path / "a.img").header.get_zooms()
    assert volume.spacing_mm == pytest.approx(zooms[::-1])
    # Its base affine points to the Left, the Front and the Head, as nibabel has it.
    np.testing.assert_array_equal(volume.hu, stored.transpose(2, 1, 0)[:, ::-1])


@pytest.mark.parametrize(("orient", "usable"), [(0, True), (1, False), (2, False), (3, True)])
def test_analyze_says_which_slices_it_holds(tmp_path, orient, usable):
    nibabel.AnalyzeImage(chest().transpose(2, 1, 0), AFFINE).to_filename(tmp_path / "a.img")
    header = bytearray((tmp_path / "a.hdr").read_bytes())
    header[252] = orient
    (tmp_path / "a.hdr").write_bytes(header)
    verdict = only(tmp_path / "a.hdr").verdict
    assert verdict.usable == usable
    assert usable or verdict.reason.code == "not-axial"


def test_a_header_alone(tmp_path):
    nibabel.save(nibabel.Nifti1Pair(chest().transpose(2, 1, 0), AFFINE), tmp_path / "a.img")
    (tmp_path / "a.img").unlink()
    with pytest.raises(UnreadableScanError) as caught:
        find_studies(tmp_path / "a.hdr")
    assert caught.value.code == "no-voxel-file"


def test_a_pipe_where_the_other_file_should_be(tmp_path):
    nibabel.save(nibabel.Nifti1Pair(chest().transpose(2, 1, 0), AFFINE), tmp_path / "a.img")
    (tmp_path / "a.img").rename(tmp_path / "b.img")
    os.mkfifo(tmp_path / "a.img")
    os.mkfifo(tmp_path / "b.hdr")
    with pytest.raises(UnreadableScanError) as caught:
        find_studies(tmp_path / "a.hdr")
    assert caught.value.code == "voxel-file-elsewhere"
    assert image_format(tmp_path / "b.img") is None


def test_voxels_cut_short(tmp_path):
    nibabel.save(nibabel.Nifti1Pair(chest().transpose(2, 1, 0), AFFINE), tmp_path / "a.img")
    voxels = tmp_path / "a.img"
    voxels.write_bytes(voxels.read_bytes()[:-100])
    with pytest.raises(UnreadableScanError) as caught:
        find_studies(tmp_path / "a.hdr")
    assert (caught.value.code, caught.value.where) == ("truncated", str(voxels))


def test_a_name_that_says_packed_or_not(tmp_path):
    nibabel.save(nibabel.Nifti1Image(chest().transpose(2, 1, 0), AFFINE), tmp_path / "a.nii")
    plain = (tmp_path / "a.nii").read_bytes()
    (tmp_path / "a.nii").write_bytes(gzip.compress(plain))
    (tmp_path / "b.nii.gz").write_bytes(plain)
    for name in ("a.nii", "b.nii.gz"):
        np.testing.assert_array_equal(read_volume(only(tmp_path / name)).hu, chest())
