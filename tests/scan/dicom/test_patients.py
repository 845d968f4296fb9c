"""Two patients are never one scan, whatever their UIDs say."""

import pytest

from darnet_trt.errors import RefusedScanError
from darnet_trt.scan import choose, find_studies
from tests.scan.series_factory import chest, save, slice_dataset, write_series

MIXED = "slices of 2 patients"


def reason(folder):
    (study,) = find_studies(folder)
    assert study.patient_id == ""
    assert not any(series.verdict.usable for series in study.series)
    with pytest.raises(RefusedScanError) as caught:
        choose(study)
    return caught.value.what


def write(folder, *patients):
    """One file for each patient named (None: no PatientID), 5 mm apart, in this order."""
    for index, (stored, patient) in enumerate(zip(chest(len(patients)), patients, strict=True)):
        ds = slice_dataset(stored, (-190, -190, 5 * index), PatientID=patient)
        save(ds, folder / f"{index:02}.dcm")


@pytest.mark.parametrize("patients", ["AB" * 24, "A" * 24 + "B" * 24, "A" * 20 + "B" + "A" * 20])
def test_two_under_one_series_uid(tmp_path, patients):
    write(tmp_path, *patients)
    assert MIXED in reason(tmp_path)


def test_emptied_study_and_series_uids_in_one_folder(tmp_path):
    for patient in "AB":
        for file in write_series(
            tmp_path / patient, PatientID=patient, StudyInstanceUID="", SeriesInstanceUID=""
        ):
            file.rename(tmp_path / f"{patient}{file.name}")
        (tmp_path / patient).rmdir()
    assert MIXED in reason(tmp_path)


def test_each_in_a_folder_of_its_own_is_a_study_of_its_own(tmp_path):
    for patient in "AB":
        write_series(tmp_path / patient, PatientID=patient)
    studies = find_studies(tmp_path)
    assert [(study.path.name, study.patient_id) for study in studies] == [("A", "A"), ("B", "B")]
    for study in studies:
        (series,) = study.series
        assert series.verdict.usable
        assert series.slices == 24
        assert series.verdict.warnings == ()


def test_folders_of_which_neither_patient_has_the_deepest(tmp_path):
    for name, patient in [("1", "A"), ("2", "B"), ("3", "A"), ("4", "B")]:
        write_series(tmp_path / name, PatientID=patient, SeriesNumber=int(name))
    assert MIXED in reason(tmp_path)


@pytest.mark.parametrize("patients", [("",) * 24, (None,) * 24, ("A", "") * 12, ("A", None) * 12])
def test_an_empty_patient_id_is_not_another_patient(tmp_path, patients):
    write(tmp_path, *patients)
    (study,) = find_studies(tmp_path)
    assert study.patient_id == ("A" if "A" in patients else "")
    assert choose(study).series.slices == 24


def test_a_report_with_another_patient_id_is_not_another_patient(tmp_path):
    write(tmp_path, *["A"] * 24)
    report = slice_dataset(chest(1)[0], (0, 0, 0), PatientID="000A", Modality="SR")
    save(report, tmp_path / "report.dcm")
    (study,) = find_studies(tmp_path)
    assert study.patient_id == "A"
    assert choose(study).series.slices == 24
