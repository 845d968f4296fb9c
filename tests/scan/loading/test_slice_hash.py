"""The hashes of a scan's slices are the same in every copy, and in no other scan."""

import functools
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from darnet_trt.phantom import CohortPlan, write_cohort
from darnet_trt.phantom.synthesis import synthesize
from darnet_trt.scan import Preprocessing, Volume, find_studies, load_study
from darnet_trt.scan.cohorts import read_cohort
from darnet_trt.scan.loading.slice_hash import landmarks, slice_hash
from tests.scan import written_scans as writers
from tests.scan.written_scans import VOLUME_FILES, stored

SPEC = Preprocessing(size=(16, 56, 56), extent="lungs")
TURNED = ((2, 0, 1), (True, False, True))
UPSIDE_DOWN = ((0, 1, 2), (True, False, False))


def hashes(path):
    (study,) = find_studies(path)
    return load_study(study, SPEC, identify=True)[1].hashes


@functools.cache
def phantom(seed=3, slices=32):
    volume = synthesize("normal", seed, matrix=64, slices=(slices, slices))
    return Volume(volume.hu.clip(-1024), (304 / slices, 5.5, 5.5), (-171.25, -169.5, 12.75))


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    found = hashes(writers.write_classic(stored(phantom()), tmp_path_factory.mktemp("plain")))
    assert len(found) > 10
    return found


@pytest.mark.parametrize("order", [((0, 1, 2), ()), TURNED, UPSIDE_DOWN])
@pytest.mark.parametrize("file", VOLUME_FILES)
def test_a_volume_file_has_the_hashes_of_its_dicom_series(tmp_path, plain, file, order):
    assert hashes(VOLUME_FILES[file](stored(phantom(), *order), tmp_path / file)) == plain


@pytest.mark.parametrize("syntax", ["rle", "jpeg-2000", "jpeg-lossless"])
@pytest.mark.parametrize("write", [writers.write_classic, writers.write_enhanced])
def test_every_way_to_write_dicom(tmp_path, plain, write, syntax):
    folder = write(stored(phantom(), *UPSIDE_DOWN), tmp_path / "a", syntax)
    assert hashes(folder) == plain
    assert hashes(writers.packed(folder, tmp_path / "a.zip")) == plain


def test_pictures_in_another_order_and_format(tmp_path):
    plan = CohortPlan(scans=2, seed=1, format="slices", matrix=64, slices=(32, 32))
    table = write_cohort(plan, tmp_path / "cohort", processes=1)
    first, second = (entry.scan for entry in read_cohort(table).entries)
    pictures = sorted(first.iterdir(), reverse=True)
    (tmp_path / "turned").mkdir()
    for number, picture in enumerate(pictures):
        upside_down = Image.open(picture).transpose(Image.Transpose.FLIP_TOP_BOTTOM)
        upside_down.save(tmp_path / "turned" / f"{number:03}.tif")
    found = hashes(first)
    assert len(found) > 10
    assert hashes(tmp_path / "turned") == found
    assert not hashes(second) & found


@pytest.mark.parametrize("flip", [1, 2])
def test_a_header_that_swaps_the_sides_changes_nothing(tmp_path, plain, flip):
    wrong = stored(replace(phantom(), hu=np.flip(phantom().hu, flip)))
    assert hashes(writers.write_nifti(wrong, tmp_path / "a.nii.gz")) == plain


def test_another_phantom_shares_none(tmp_path, plain):
    other = hashes(writers.write_nifti(stored(phantom(4)), tmp_path / "a.nii.gz"))
    assert len(other) > 10
    assert not other & plain


@pytest.mark.parametrize(("bottom", "top"), [(1, 0), (7, 3), (0, 14)])
def test_a_copy_that_was_cut_shares_the_landmarks(tmp_path, bottom, top):
    thin = phantom(slices=300)  # the input needs one in ten slices
    step = thin.spacing_mm[0]
    cut = Volume(
        thin.hu[bottom : 300 - top],
        thin.spacing_mm,
        (*thin.origin_mm[:2], thin.origin_mm[2] + bottom * step),
    )
    whole = hashes(writers.write_classic(stored(thin), tmp_path / "whole"))
    assert len(whole & hashes(writers.write_nifti(stored(cut), tmp_path / "cut.nii.gz"))) >= 5


def test_landmarks_stay_where_they_are():
    z_mm = np.arange(-200.0, 150.0, 0.5)
    whole = [z_mm[i] for i in landmarks(z_mm, 0)]
    assert len(whole) == 9
    rounded = np.float32(z_mm[13:-7]) + np.float32(1e-3)
    part = [z_mm[i] for i in landmarks(rounded, 13)]
    assert part == [mm for mm in whole if mm > z_mm[13]]
    assert landmarks((), 0) == []


def draw(seed, shape=(64, 64)):
    return np.random.default_rng(seed).integers(-1000, 400, shape).astype(np.int16)


@pytest.mark.parametrize("shape", [(64, 64), (65, 63), (300, 512), (511, 1024)])
def test_flips_padding_and_scale_do_not_matter(shape):
    hu = draw(0, shape)
    hu[:5] = -1024
    expected = slice_hash(hu, 1, 0)
    assert expected is not None
    padded = hu.copy()
    padded[:5] = -3024
    for same in (hu[::-1], hu[:, ::-1], hu[::-1, ::-1], padded, hu.astype(np.float32) + 0.2):
        assert slice_hash(same, 1, 0) == expected
    assert slice_hash((hu + 1024).astype(np.uint16), 1, -1024) == expected
    assert slice_hash(hu.astype(np.int32) * 4, 0.25, 0) == expected
    assert slice_hash(draw(1, shape), 1, 0) != expected
    assert slice_hash(hu.T, 1, 0) != expected


@pytest.mark.parametrize("inside", [-1024, -1000])
def test_an_empty_slice_has_no_hash(inside):
    y, x = np.mgrid[:256, :256] - 127.5
    hu = np.where(y**2 + x**2 < 120**2, inside, -2000).astype(np.int16)
    assert slice_hash(hu, 1, 0) is None
    body = np.where(y**2 + x**2 < 60**2, draw(0, hu.shape), hu)
    assert slice_hash(body, 1, 0) is not None


def test_what_is_not_a_number_does_not_stop_the_reading():
    hu = draw(0).astype(np.float32)
    hu[3, 3] = np.nan
    slice_hash(hu, 1, 0)
