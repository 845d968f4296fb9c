"""The files that divide CC-CCII's cleaned form."""

import json

import pytest

from darnet_trt.errors import UsageError
from darnet_trt.scan.cohorts import Entry, make_folds, read_cohort, split_by_patient
from tests.scan.cohorts.layouts import split, write_raw

ORDER = ["0002.png", "0003.png", "0000.png"]


def test_slices_have_the_order_of_the_file(tmp_path):
    write_raw(tmp_path)
    content = {"NCP": {"1": {"1010": ORDER, "1011": []}}, "Normal": {"5": {"1050": ORDER[:1] * 2}}}
    file = split(tmp_path / "my.json", content)
    cohort = read_cohort(file)
    assert cohort.entries == (
        Entry(tmp_path / "NCP/1/1010", "1", "covid-19", tuple(ORDER)),
        Entry(tmp_path / "Normal/5/1050", "5", "normal", ("0002.png",)),
    )
    assert (cohort.table, cohort.root) == (file, tmp_path)
    assert len(cohort.notes) == 2
    assert all("my.json" in note for note in cohort.notes)


def test_a_folder_with_its_divisions(tmp_path):
    write_raw(tmp_path, patients=4, scans=1)
    patients = {"NCP": range(1, 5), "CP": range(5, 9), "Normal": range(9, 13)}
    for place, name in enumerate(("train", "val", "test")):
        of = {
            folder: {str(numbers[i]): {str(1000 + 10 * numbers[i]): ORDER} for i in chosen}
            for folder, numbers in patients.items()
            for chosen in [[(0, 1), (2,), (3,)][place]]
        }
        split(tmp_path / f"ct_{name}.json", of)
    split(tmp_path / "ct_num_info.json", {"All": {"CP": 3}})
    cohort = read_cohort(tmp_path)
    assert cohort.table == tmp_path
    assert all(e.slices == tuple(ORDER) for e in cohort.entries)
    sides = split_by_patient(cohort, 0.2, 0)
    found = [{int(e.patient) for e in side} for side in (sides.train, sides.held_out, sides.test)]
    assert found == [{1, 2, 5, 6, 9, 10}, {3, 7, 11}, {4, 8, 12}]
    assert make_folds(cohort, 3).test == {"4", "8", "12"}
    (tmp_path / "ct_val.json").unlink()
    sides = split_by_patient(read_cohort(tmp_path), 0.5, 0)
    assert {e.patient for e in sides.test} == {"4", "8", "12"}
    assert len(sides.train) == len(sides.held_out) == 3


@pytest.mark.parametrize(
    ("content", "fact"),
    [
        ("{", "my.json: is not JSON (EOF"),
        ('{"NCP": {"1": {"1010": ["a.png"]}}, "NCP": {}}', "has 'NCP' 2 times"),
        ('{"NCP": {"1": {"1010": ["a.png"], "1010": ["b.png"]}}}', "has '1010' 2 times"),
        ('{"synthetic": true}', "patient and scan: look at synthetic"),
        ("[" * 10_000, "my.json"),
        ("[]", "class, patient and scan"),
        ('{"NCP": {"1": ["0001.png"]}}', "NCP/1"),
        ('{"NCP": {"1": {"1010": ["0001.png", 2]}}}', "NCP/1/1010/1"),
        ('{"NPC": {"1": {"1010": ["0001.png"]}}}', "unknown class 'NPC'"),
        ('{"covid": {"1": {"1010": ["0001.png"]}}}', "folder covid"),
        ('{"NCP": {"1": {"1010": ["../0001.png"]}}}', "'../0001.png'"),
        ('{"NCP": {"1": {"..": ["0001.png"]}}}', "'..'"),
        ('{"NCP": {"1": {"10\\u000010": ["0001.png"]}}}', "10"),
        ('{"NCP": {"/etc": {"1010": ["0001.png"]}}}', "'/etc'"),
        ('{"NCP": {"": {"1010": ["0001.png"]}}}', "''"),
        ('{"NCP": {}}', "names no scan"),
        ('{"NCP": {"1": {"1010": []}}}', "names no scan"),
        ('{"NCP": {"1": {"1010": ["\\ud800"]}}}', "my.json"),
    ],
)
def test_bad_files(tmp_path, content, fact):
    write_raw(tmp_path)
    (tmp_path / "my.json").write_text(content)
    with pytest.raises(UsageError) as caught:
        read_cohort(tmp_path / "my.json")
    assert fact in str(caught.value)
    assert "Input should" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert str(tmp_path / "my.json") in str(caught.value)


def test_a_scan_in_two_files(tmp_path):
    write_raw(tmp_path)
    for name in ("ct_train.json", "ct_test.json"):
        split(tmp_path / name, {"NCP": {"1": {"1010": ORDER}}})
    with pytest.raises(UsageError, match=r"NCP/1/1010 is in ct_train.json and in ct_test.json"):
        read_cohort(tmp_path)


@pytest.mark.parametrize("name", ["ct_train.json", "CT_cleaned_v2.csv", "unzip_filenames.csv"])
def test_a_folder_in_place_of_a_file(tmp_path, name):
    (write_raw(tmp_path) / name).mkdir()
    with pytest.raises(UsageError, match=r"(?i)is a (folder|directory)") as caught:
        read_cohort(tmp_path)
    assert caught.value.where == str(tmp_path / name)


def test_a_patient_in_two_files(tmp_path):
    write_raw(tmp_path)
    split(tmp_path / "ct_train.json", {"NCP": {"1": {"1010": ORDER}}})
    split(tmp_path / "ct_val.json", {"NCP": {"1": {"1011": ORDER}}})
    cohort = read_cohort(tmp_path)
    with pytest.raises(UsageError, match="patient 1 is on two sides"):
        split_by_patient(cohort, 0.2, 0)
    assert json.loads((tmp_path / "ct_train.json").read_text())  # nothing was changed
