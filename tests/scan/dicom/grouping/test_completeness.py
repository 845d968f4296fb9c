"""A study whose numbers, positions or files say that slices are missing."""

import pydicom
import pytest

from tests.scan.discovery.streams import found, study_of
from tests.scan.series_factory import chest, write_series

COUNT = 24


@pytest.fixture
def series(tmp_path):
    write_series(tmp_path / "in", chest(COUNT, 32))
    return sorted((tmp_path / "in").iterdir())


def lacks(series):
    studies = found(series[0].parent)
    return [study.missing for study in studies if study_of(study).series[0].slices > 1]


def test_a_whole_series_lacks_nothing(series):
    assert lacks(series) == [False]


@pytest.mark.parametrize("gone", [slice(0, 3), slice(10, 11), slice(5, 9)])
def test_numbers_or_positions_with_a_gap(series, gone):
    for file in series[gone]:
        file.unlink()
    assert lacks(series) == [True]


def test_few_slices_of_many_numbers_are_what_was_sent(tmp_path):
    for number, file in enumerate(write_series(tmp_path / "in", chest(COUNT, 32)), start=1):
        header = pydicom.dcmread(file)
        header.InstanceNumber = 10 * number
        header.save_as(file)
    assert [study.missing for study in found(tmp_path / "in")] == [False]


@pytest.mark.parametrize("length", [40, 900, -500])
def test_a_cut_file(series, length):
    """Cut within the preamble, the header or the pixels; also the last one, which leaves no gap."""
    series[-1].write_bytes(series[-1].read_bytes()[:length])
    assert lacks(series) == [True]


def test_a_cut_file_beside_several_studies_may_be_anyones(series, tmp_path):
    write_series(tmp_path / "more", chest(COUNT, 32), StudyInstanceUID="1.9", SeriesInstanceUID="9")
    for file in (tmp_path / "more").iterdir():
        file.rename(series[0].with_name(f"more-{file.name}"))
    series[0].with_name("new.dcm").write_bytes(series[0].read_bytes()[:40])
    assert lacks(series) == [False, False]


def test_too_few_slices(series):
    for file in series[2:]:
        file.unlink()
    assert lacks(series) == [True]


@pytest.mark.parametrize(
    ("told", "acquisition", "lacking"),
    [
        (COUNT, lambda n: 1, False),
        (COUNT + 1, lambda n: 1, True),  # though positions and numbers leave no gap
        (COUNT - 5, lambda n: 1, False),
        (COUNT // 2, lambda n: 2 * n // COUNT, False),
        (COUNT // 2 + 1, lambda n: 2 * n // COUNT, True),  # either of two has one too few
        (COUNT, lambda n: n, False),  # each slice is numbered as an acquisition of its own
        (COUNT + 1, lambda n: n, True),
        (None, lambda n: 1, False),
        (0, lambda n: 1, False),
        (-3, lambda n: 1, False),
    ],
)
def test_images_in_acquisition_says_how_many_there_are(series, told, acquisition, lacking):
    for number, file in enumerate(series):
        header = pydicom.dcmread(file)
        header.ImagesInAcquisition, header.AcquisitionNumber = told, acquisition(number)
        header.save_as(file)
    assert set(lacks(series)) == {lacking}


def test_a_number_of_images_that_is_none_says_nothing(series):
    for file in series:
        header = pydicom.dcmread(file)
        header.add_new(0x00201002, "LO", "many")
        header.save_as(file)
    assert lacks(series) == [False]
