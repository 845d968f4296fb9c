"""Slices that alternate between two scans are refused; thin slices of one scan are not."""

import numpy as np
import pydicom
import pytest

from darnet_trt.errors import RefusedScanError
from darnet_trt.scan import choose, find_studies, load_study
from darnet_trt.scan.plausibility.passes import interleaved
from darnet_trt.scan.preprocessing import Preprocessing
from tests.scan.series_factory import chest, only, save, slice_dataset


def passes(count, slices=120):
    """Return slices of one chest and of chests that moved, in turn."""
    moved = [np.roll(chest(slices, seed=i), 3 * i, 2) for i in range(count)]
    return np.stack([moved[i % count][i] for i in range(slices)]).astype(np.float32)


@pytest.mark.parametrize("count", [2, 3, 4])
def test_passes_that_alternate(count):
    finding = interleaved(passes(count))
    assert finding is not None
    assert finding.code == "interleaved-scans"


@pytest.mark.parametrize("slices", [10, 30, 120, 400])
def test_one_scan(slices):
    grid = chest(slices).astype(np.float32)
    assert interleaved(grid) is None
    between = (grid[1:] + grid[:-1]) / 2  # overlapping reconstructions
    thin = np.empty((2 * slices - 1, *grid.shape[1:]), np.float32)
    thin[::2], thin[1::2] = grid, between
    assert interleaved(thin) is None


@pytest.mark.parametrize("grid", [np.zeros((20, 8, 8)), np.full((3, 8, 8), 40.0)])
def test_nothing_to_see(grid):
    assert interleaved(grid.astype(np.float32)) is None


def write(folder, hu, step_mm, **attributes):
    for index, stored in enumerate(hu):
        ds = slice_dataset(
            stored, (-190, -190, index * step_mm), **attributes, InstanceNumber=index + 1
        )
        save(ds, folder / f"{index:03}.dcm")


def test_passes_without_any_sign_are_refused_when_decoded(tmp_path):
    write(tmp_path, passes(2, 80).astype(np.int16), 3, SliceThickness="6")
    (study,) = find_studies(tmp_path)
    assert choose(study).series.slices == 80
    with pytest.raises(RefusedScanError) as caught:
        load_study(study, Preprocessing())
    assert caught.value.code == "interleaved-scans"


def test_overlapping_slices_of_one_scan_are_read(tmp_path):
    write(tmp_path, chest(80), 3, SliceThickness="6", AcquisitionNumber=3)
    (study,) = find_studies(tmp_path)
    choice, _ = load_study(study, Preprocessing())
    assert choice.series.slices == 80
    assert choice.series.verdict.warnings == ()


@pytest.mark.data
def test_real_slices_and_the_same_interleaved(data_dir, tmp_path):
    series = only(data_dir / "chest-4mm-64px")
    slices = [pydicom.dcmread(file) for file in series.files]
    hu = np.stack([ds.pixel_array for ds in slices]).astype(np.int16)
    assert interleaved(hu.astype(np.float32)) is None
    both = np.stack([hu, np.roll(hu, 2, 2)], 1).reshape(-1, *hu.shape[1:])
    assert interleaved(both.astype(np.float32)) is not None
