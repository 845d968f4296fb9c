"""What contradicts the positions, or says why slices form no stack, is named."""

import numpy as np
import pytest
from pydicom.uid import generate_uid

from tests.scan.series_factory import chest, only, save, series_of, slice_dataset, write_series


def write(folder, count=24, **of):
    """Write a series; each attribute is a function of the slice's number."""
    for index, stored in enumerate(chest(count)):
        values = {keyword: value(index) for keyword, value in of.items()}
        save(slice_dataset(stored, (-190, -190, 10 * index), **values), folder / f"{index:02}.dcm")
    return folder


def codes(folder):
    verdict = only(folder).verdict
    assert verdict.usable
    return [warning.code for warning in verdict.warnings]


SHUFFLED = np.random.default_rng(0).permutation(24).tolist()


@pytest.mark.parametrize(
    ("of", "found"),
    [
        ({"SliceLocation": lambda i: f"{10 * i:.2f}"}, []),
        ({"SliceLocation": lambda i: f"{-10 * i + 300:.2f}"}, []),
        ({"SliceLocation": lambda i: f"{10.4 * i:.2f}"}, []),
        ({"SliceLocation": lambda i: "0"}, []),
        ({"SliceLocation": lambda i: f"{5 * i}"}, ["contradicting-spacing"]),
        ({"SliceLocation": lambda i: f"{10 * SHUFFLED[i]}"}, ["contradicting-order"]),
        ({"InstanceNumber": lambda i: 3 * i}, []),
        ({"InstanceNumber": lambda i: 100 - i}, []),
        ({"InstanceNumber": lambda i: SHUFFLED[i]}, ["contradicting-order"]),
        ({"InstanceNumber": lambda i: ""}, []),
    ],
)
def test_what_contradicts_the_positions(tmp_path, of, found):
    assert codes(write(tmp_path, **of)) == found


@pytest.mark.parametrize("position", ["PatientPosition", None])
def test_patient_position_is_not_asked(tmp_path, position):
    of = {"PatientPosition": lambda i: ("FFS", "HFP")[i % 2]} if position else {}
    assert codes(write(tmp_path, **of)) == []


@pytest.mark.parametrize("at", [None, "InstanceNumber"])
def test_all_at_one_position(tmp_path, at):
    for index, stored in enumerate(chest()):
        save(slice_dataset(stored, (0, 0, 0), InstanceNumber=index), tmp_path / f"{index}.dcm")
    reason = only(tmp_path).verdict.reason
    assert reason.code == "one-position"
    assert "24 images" in reason


def refusal(folder, slices):
    (series,) = [s for s in series_of(folder) if s.slices == slices]
    assert not series.verdict.usable
    return series.verdict.reason


@pytest.mark.parametrize(
    ("other", "name"),
    [
        ({"PixelSpacing": [5, 5]}, "pixel spacing"),
        ({"ImageOrientationPatient": [0, 1, 0, 1, 0, 0]}, "orientation"),
        ({"SeriesNumber": 7}, "series number"),
        ({"FrameOfReferenceUID": generate_uid()}, "frame of reference"),
        ({"ConvolutionKernel": "B70f"}, "convolution kernel"),
    ],
)
def test_a_slice_that_differs_is_named_beside_the_gap(tmp_path, other, name):
    files = write_series(tmp_path)
    save(slice_dataset(chest()[7], (-190, -190, 70), **other), files[7])
    reason = refusal(tmp_path, 23)
    assert reason.code == "missing-slices"
    assert f"separated by {name}" in reason


def test_a_slice_of_another_size_is_named_beside_the_gap(tmp_path):
    files = write_series(tmp_path)
    save(slice_dataset(chest(size=32)[7], (-190, -190, 70)), files[7])
    assert "separated by matrix size" in refusal(tmp_path, 23)


def test_a_slice_that_is_none_is_named_beside_the_gap(tmp_path):
    files = write_series(tmp_path)
    save(slice_dataset(chest()[7], (-190, -190, 70), Modality="MR"), files[7])
    reason = refusal(tmp_path, 23)
    assert reason.code == "missing-slices"
    assert "1 image of this series was left out: modality MR" in reason


@pytest.mark.parametrize("off", [1e-6, 1e-4, 0.001])
def test_rounded_spacings_and_cosines_are_one(tmp_path, off):
    of = {
        "PixelSpacing": lambda i: [round(6 + (i % 3) * off, 6), 6],
        "ImageOrientationPatient": lambda i: [1, round((i % 2) * off, 6), 0, 0, 1, 0],
    }
    assert only(write(tmp_path, **of)).slices == 24
