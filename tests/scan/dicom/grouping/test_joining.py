"""Slices whose files each got an attribute of their own are one series again."""

import shutil

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydicom.uid import generate_uid

from darnet_trt.scan import find_studies, read_volume
from darnet_trt.scan.dicom.grouping.declared import group_slices
from darnet_trt.scan.dicom.grouping.joining import IDENTITY
from tests.scan.dicom.grouping.headers import places, slice_at
from tests.scan.series_factory import chest, only, save, slice_dataset

PLACES = np.arange(0, 240, 10.0).tolist()


def own(keyword, index):
    """Return a value that only one file has."""
    if keyword == "AcquisitionDate":
        return f"{20000101 + index}"
    return index if keyword in ("SeriesNumber", "AcquisitionNumber") else f"1.2.3.{index}"


def scan(anew=("SeriesInstanceUID",), places_mm=PLACES, **values):
    start = 1000 * int(places_mm[0])
    return [
        slice_at(z, **values, **{keyword: own(keyword, start + index) for keyword in anew})
        for index, z in enumerate(places_mm)
    ]


def joined(*slices):
    """Return the places and the codes of each group of more than one slice."""
    groups = [group for group in group_slices(slices) if len(group.headers) > 1]
    return sorted((places(g.headers), [note.code for note in g.notes]) for g in groups)


@pytest.mark.parametrize(
    "keywords",
    [
        ("SeriesInstanceUID",), ("StudyInstanceUID", "SeriesInstanceUID"), ("FrameOfReferenceUID",),
        ("SeriesNumber",), ("SeriesDescription",), ("SeriesInstanceUID", "FrameOfReferenceUID"),
        ("StackID",), ("ConvolutionKernel",), ("AcquisitionDate", "SeriesInstanceUID"),
        ("SOPInstanceUID", "SeriesInstanceUID"), ("AcquisitionNumber", "SeriesInstanceUID"),
        tuple(IDENTITY),
    ],
)  # fmt: skip
@pytest.mark.parametrize("study_also_emptied", [False, True])
def test_files_with_a_value_of_their_own(tmp_path, keywords, study_also_emptied):
    for index, stored in enumerate(chest()):
        values = {keyword: own(keyword, index) for keyword in keywords}
        if study_also_emptied and "StudyInstanceUID" not in keywords:
            values["StudyInstanceUID"] = ""
        ds = slice_dataset(stored, (-190, -190, 10 * index), InstanceNumber=index + 1, **values)
        save(ds, tmp_path / f"{index:02}.dcm")
    (study,) = find_studies(tmp_path)
    (series,) = study.series
    assert series.verdict.usable
    np.testing.assert_array_equal(read_volume(series).hu, chest())
    (note,) = series.verdict.warnings
    assert note.code == "joined-by-position"
    assert all(k in note for k in keywords if k in IDENTITY)


def test_copies_of_such_files(tmp_path):
    for index, stored in enumerate(chest()):
        ds = slice_dataset(stored, (-190, -190, 10 * index), SeriesInstanceUID=generate_uid())
        shutil.copy(save(ds, tmp_path / f"{index:02}.dcm"), tmp_path / f"{index:02} copy.dcm")
    series = only(tmp_path)
    assert series.verdict.usable
    assert [w.code for w in series.verdict.warnings] == ["joined-by-position", "duplicate-files"]


def test_a_gap_between_such_files_is_named_with_its_cause(tmp_path):
    for index, stored in enumerate(chest()):
        if index != 7:
            ds = slice_dataset(stored, (-190, -190, 10 * index), FrameOfReferenceUID=generate_uid())
            save(ds, tmp_path / f"{index:02}.dcm")
    reason = only(tmp_path).verdict.reason
    assert reason.code == "missing-slices"
    assert "FrameOfReferenceUID differs in each of 23 slices" in reason


@pytest.mark.parametrize(
    ("keyword", "one", "other"),
    [("ConvolutionKernel", ("B40f",), ("B70f",)), ("SeriesNumber", 2, 3),
     ("SeriesDescription", "in", "ex"), ("PixelSpacing", (6.0, 6.0), (5.0, 5.0)),
     ("Rows", 64, 32), ("AcquisitionDate", "20200101", "20200601"),
     ("FrameOfReferenceUID", "1", "2")],
)  # fmt: skip
def test_two_such_series_stay_two(keyword, one, other):
    shifted = [z + 3 for z in PLACES]
    slices = scan(**{keyword: one}) + scan(places_mm=shifted, **{keyword: other})
    codes = ["joined-by-position"]
    assert joined(*slices) == [(PLACES, codes), (shifted, codes)]


def test_two_such_series_in_two_folders():
    shifted = [z + 3 for z in PLACES]
    slices = scan(folder="in") + scan(places_mm=shifted, folder="ex")
    codes = ["joined-by-position"]
    assert joined(*slices) == [(PLACES, codes), (shifted, codes)]


def test_two_passes_of_such_files():
    shifted = [z + 5 for z in PLACES]
    slices = scan(AcquisitionNumber=1) + scan(places_mm=shifted, AcquisitionNumber=2)
    codes = ["joined-by-position", "shared-series-uid"]
    assert joined(*slices) == [(PLACES, codes), (shifted, codes)]


def test_slices_that_form_no_stack_are_one_refused_series():
    ((found, codes),) = joined(*scan(places_mm=[0, 3, 10, 24, 50, 51, 60]))
    assert found == [0, 3, 10, 24, 50, 51, 60]
    assert codes == ["joined-by-position"]


@pytest.mark.parametrize("places_mm", [[0, 10, 20], [50] * 12, [50, 50, 60, 60, 50, 50]])
def test_a_few_single_slices_are_series_of_their_own(places_mm):
    assert joined(*scan(places_mm=places_mm)) == []


def test_a_whole_series_beside_single_slices_is_left_alone():
    slices = [slice_at(z) for z in PLACES] + scan(places_mm=[300, 310, 320, 330, 340, 350])
    assert joined(*slices) == [
        (PLACES, []),
        ([300, 310, 320, 330, 340, 350], ["joined-by-position"]),
    ]


@given(
    anew=st.sets(st.sampled_from(IDENTITY), min_size=1),
    order=st.permutations(range(24)),
    noise=st.lists(st.floats(-1e-6, 1e-6), min_size=24, max_size=24),
)
def test_any_set_of_attributes_in_any_order(anew, order, noise):
    assume(anew != {"AcquisitionDate"})  # it separates nothing by itself
    slices = scan(tuple(anew))
    for one, off in zip(slices, noise, strict=True):  # writers round
        one.values["PixelSpacing"] = (6 + off, 6)
        one.values["ImageOrientationPatient"] = (1, off, 0, 0, 1, 0)
    assert joined(*(slices[i] for i in order)) == [(PLACES, ["joined-by-position"])]
