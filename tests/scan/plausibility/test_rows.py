"""Pixels in rows of another length than the header says are refused, and no others."""

import numpy as np
import pydicom
import pytest

from darnet_trt.errors import RefusedScanError
from darnet_trt.scan import Preprocessing, find_studies, load_input, read_volume
from darnet_trt.scan.plausibility.rows import other_rows
from tests.scan.series_factory import only, write_series
from tests.scan.test_one_input import REAL, phantom
from tests.scan.written_scans import stored, write_classic

SPEC = Preprocessing(size=(16, 56, 56), extent="lungs")


@pytest.mark.parametrize("columns", [8, 16, 32, 128, 256])
def test_rows_of_another_length(columns):
    hu = phantom().hu
    assert all(other_rows(one) is None for one in hu)
    assert all(other_rows(one.reshape(-1, columns)) is not None for one in hu[8:24])


def test_rows_and_columns_exchanged():
    hu = phantom().hu[:, 4:]  # 60×64
    assert all(other_rows(one) is None for one in hu)
    assert all(other_rows(one.reshape(64, 60)) is not None for one in hu[8:24])


@pytest.mark.parametrize(
    "hu", [np.full((64, 64), -1000), np.random.default_rng(0).normal(size=(64, 64))]
)
def test_what_tells_nothing_is_not_refused(hu):
    assert other_rows(hu) is None


@pytest.mark.data
@pytest.mark.parametrize("series", REAL)
def test_real_slices(data_dir, series):
    (study,) = find_studies(data_dir / series)
    hu = read_volume(study.series[0]).hu
    assert all(other_rows(one) is None for one in hu)
    middle = hu[len(hu) // 4 : 3 * len(hu) // 4]
    for columns in (hu.shape[2] // 2, hu.shape[2] * 2):
        assert all(other_rows(one.reshape(-1, columns)) is not None for one in middle)


@pytest.mark.parametrize("syntax", ["explicit", "implicit", "big-endian", "deflated", "rle"])
@pytest.mark.parametrize("matrix", [(32, 128), (128, 32)])
def test_as_many_pixels_under_another_header(tmp_path, syntax, matrix):
    folder = write_classic(stored(phantom()), tmp_path / "a", syntax)
    for file in folder.iterdir():
        dataset = pydicom.dcmread(file)
        dataset.Rows, dataset.Columns = matrix
        dataset.save_as(file)
    with pytest.raises(RefusedScanError) as refused:
        load_input(only(folder), SPEC)
    assert refused.value.code == "other-matrix"


def test_small_honest_series(tmp_path):
    write_series(tmp_path)
    assert load_input(only(tmp_path), SPEC).array.std() > 0.1
