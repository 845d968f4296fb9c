"""Slices are sorted into series, whatever their UIDs say."""

import shutil

import pytest

from darnet_trt.scan import find_studies
from tests.scan.series_factory import chest, only, save, series_of, slice_dataset, write_series


def test_duplicate_files_are_left_out(tmp_path):
    files = write_series(tmp_path)
    shutil.copy(files[3], tmp_path / "copy.dcm")
    series = only(tmp_path)
    assert series.verdict.usable
    (warning,) = series.verdict.warnings
    assert "1 duplicate file" in warning
    assert series.slices == 24


@pytest.mark.parametrize(
    ("seed", "rescale"), [(9, {}), (0, {"RescaleIntercept": "200"}), (0, {"RescaleSlope": "2"})]
)
def test_two_images_at_one_position(tmp_path, seed, rescale):
    write_series(tmp_path)
    save(slice_dataset(chest(seed=seed)[3], (-190, -190, 30), **rescale), tmp_path / "other.dcm")
    reason = only(tmp_path).verdict.reason
    assert "1 position holds more than one image" in reason
    assert ("RescaleSlope or RescaleIntercept" in reason) == bool(rescale)


@pytest.mark.parametrize(
    ("other", "by"),
    [
        ({"ConvolutionKernel": "B70f"}, "convolution kernel"),
        ({"SeriesNumber": 9}, "series number"),
        ({"PixelSpacing": [5, 5]}, "pixel spacing"),
        ({"AcquisitionNumber": 9}, "acquisition number"),
        ({"SliceThickness": "5"}, "slice thickness"),
    ],
)
def test_two_series_with_one_uid_are_separated(tmp_path, other, by):
    write_series(tmp_path / "a")
    write_series(tmp_path / "b", chest(seed=1), **other)
    series = series_of(tmp_path)
    assert len(series) == 2
    for one in series:
        assert one.verdict.usable
        assert one.slices == 24
        (warning,) = one.verdict.warnings
        assert "2 series" in warning
        assert warning.endswith(by)


def test_interleaved_reconstructions_of_one_range(tmp_path):
    write_series(tmp_path / "thick", SliceThickness="10")
    write_series(tmp_path / "thin", chest(80), step_mm=3.0, SliceThickness="3")
    assert [s.slices for s in series_of(tmp_path)] == [24, 80]
    assert all(s.verdict.usable for s in series_of(tmp_path))


def test_a_localizer_with_the_series_uid_does_no_harm(tmp_path):
    write_series(tmp_path / "a")
    write_series(
        tmp_path / "b", chest(1), ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"],
        ImageOrientationPatient=[1, 0, 0, 0, 0, -1],
    )  # fmt: skip
    good, bad = sorted(series_of(tmp_path), key=lambda s: not s.verdict.usable)
    assert good.verdict.usable
    assert good.verdict.warnings == ()
    assert "localizer" in bad.verdict.reason


def test_emptied_uids_group_by_folder(tmp_path):
    for name in "ab":
        write_series(tmp_path / name, StudyInstanceUID="", SeriesInstanceUID="")
    studies = find_studies(tmp_path)
    assert [study.path.name for study in studies] == ["a", "b"]
    assert all(len(study.series) == 1 for study in studies)
