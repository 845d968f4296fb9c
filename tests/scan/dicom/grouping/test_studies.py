"""Files with a StudyInstanceUID each are one study, but patients are never mixed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.uid import generate_uid

from darnet_trt.errors import RefusedScanError
from darnet_trt.scan import choose, find_studies
from darnet_trt.scan.dicom.grouping.studies import by_study
from tests.scan.dicom.grouping.headers import places, slice_at
from tests.scan.series_factory import chest, save, slice_dataset

PLACES = [10.0 * index for index in range(24)]


def scan(places_mm=PLACES, anew=("StudyInstanceUID", "SeriesInstanceUID"), **values):
    return [
        slice_at(z, **{**values, **{keyword: generate_uid() for keyword in anew}})
        for z in places_mm
    ]


def found(*slices):
    """Return the places of the slices of each study, the largest study first."""
    return sorted((places(study) for study in by_study(slices)), key=lambda own: (-len(own), own))


def test_one_study_of_files_with_a_uid_each():
    assert found(*scan()) == [PLACES]


def test_a_study_whose_files_lie_in_two_folders():
    assert found(*scan(PLACES[:12], folder="a"), *scan(PLACES[12:], folder="b")) == [PLACES]


def test_two_reconstructions_and_a_localizer_in_one_folder():
    slices = scan(ConvolutionKernel=("B40f",)) + scan(ConvolutionKernel=("B70f",))
    localizer = slice_at(0, StudyInstanceUID="7", ImageType=("ORIGINAL", "PRIMARY", "LOCALIZER"))
    assert found(*slices, localizer) == [sorted([*PLACES, *PLACES, 0.0])]


@pytest.mark.parametrize("folders", [("a", "b"), ("a", "a")])
@pytest.mark.parametrize("shift", [0, 3, 240, 500])
@pytest.mark.parametrize("more", [{}, {"FrameOfReferenceUID": "2"}, {"FrameOfReferenceUID": None}])
def test_two_patients_are_never_joined(folders, shift, more):
    shifted = [z + shift for z in PLACES]
    slices = scan(PatientID="A", folder=folders[0], **more)
    slices += scan(shifted, PatientID="B", folder=folders[1], **more)
    assert found(*slices) == [PLACES, shifted]


@pytest.mark.parametrize("shift", [0, 3, 240, 500])
def test_folders_separate_patients_without_a_name_or_a_frame_of_reference(shift):
    shifted = [z + shift for z in PLACES]
    unnamed = {"PatientID": "", "FrameOfReferenceUID": None}
    assert found(*scan(folder="a", **unnamed), *scan(shifted, folder="b", **unnamed)) == [
        PLACES,
        shifted,
    ]


@pytest.mark.parametrize("places_mm", [[0.0, 10.0, 20.0], [0.0, 3.0, 10.0, 24.0, 51.0, 60.0]])
def test_what_forms_no_stack_is_not_joined(places_mm):
    assert found(*scan(places_mm)) == [[z] for z in places_mm]


def test_single_slices_of_many_patients_are_not_joined():
    slices = [
        slice_at(z, StudyInstanceUID=f"1.{i}", SeriesInstanceUID="9", PatientID=str(i))
        for i, z in enumerate([0.0, 31.0, 45.0, 101.0, 160.0, 222.0])
    ]
    assert len(found(*slices)) == 6


def test_studies_with_uids_of_their_own_are_left_alone():
    slices = [slice_at(z, StudyInstanceUID=uid) for uid in "12" for z in PLACES]
    assert found(*slices) == [PLACES, PLACES]


@pytest.mark.parametrize(
    "anew",
    [("PatientID",), ("PatientID", "StudyInstanceUID"),
     ("PatientID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")],
)  # fmt: skip
@pytest.mark.parametrize("folders", [False, True])
def test_a_patient_id_for_each_file_is_named(tmp_path, anew, folders):
    for index, stored in enumerate(chest()):
        values = {keyword: generate_uid() for keyword in anew}
        ds = slice_dataset(stored, (-190, -190, 10 * index), **values)
        save(ds, tmp_path / (f"{index}" if folders else "") / f"{index}.dcm")
    (study,) = find_studies(tmp_path)
    with pytest.raises(RefusedScanError, match="PatientID differs in each of 24 slices") as caught:
        choose(study)
    assert study.patient_id == ""
    (series,) = study.series
    assert series.slices == 24
    assert series.verdict.reason.code == "many-patient-ids"
    assert caught.value.where == str(tmp_path)


@given(order=st.permutations(range(48)))
def test_the_order_of_files_does_not_matter(order):
    slices = scan(PatientID="A") + scan(PatientID="B")
    assert found(*(slices[i] for i in order)) == [PLACES, PLACES]
