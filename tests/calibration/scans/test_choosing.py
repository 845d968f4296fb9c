"""Which scans calibrate and which judge, on phantoms with and without labels."""

import csv
import resource
import shutil
import tempfile
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from darnet_trt.calibration.scans import sample
from darnet_trt.calibration.scans.choosing import announce, choose_scans, random_scans
from darnet_trt.calibration.scans.sample import hashed
from darnet_trt.errors import OutputError, UsageError
from darnet_trt.phantom import CohortPlan, write_cohort
from darnet_trt.scan import Preprocessing, find_studies, load_study
from darnet_trt.scan.cohorts import PAPER_CLASSES, read_cohort
from tests.full_disk import files_up_to
from tests.scan import deaths

SPEC = Preprocessing(size=(8, 16, 16))


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory):
    """Return 18 scans, some of them second visits; never written to."""
    out = tmp_path_factory.mktemp("phantoms") / "cohort"
    plan = CohortPlan(scans=18, seed=3, format="nifti", matrix=48, slices=(30, 30))
    write_cohort(plan, out, processes=1)
    return out


@pytest.fixture
def cohort(phantoms, tmp_path):
    """Return a copy of the phantoms, to be spoiled."""
    return shutil.copytree(phantoms, tmp_path / "cohort")


@pytest.fixture
def log():
    return []


def choose(path, count=32, seed=0, log=None):
    return choose_scans(path, SPEC, count, seed, [].append if log is None else log.append, None)


def counted(covid, pneumonia, normal):
    return f"{covid} covid-19, {pneumonia} common-pneumonia, {normal} normal"


def rows(cohort):
    with (cohort / "cohort.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def keep(cohort, kept):
    with (cohort / "cohort.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, ["scan", "patient", "label"], extrasaction="ignore")
        table.writeheader()
        table.writerows(kept)


def entry_of(cohort, array):
    """Return the table's row whose scan this is."""
    for entry in read_cohort(cohort).entries:
        if np.array_equal(load_study(find_studies(entry.scan)[0], SPEC)[1].array, array):
            return entry
    raise AssertionError("an input of no scan")


def test_no_patient_is_on_both_sides_and_labels_come_from_the_table(phantoms):
    chosen, held_out = choose(phantoms)
    assert chosen.hashes == tuple(map(hashed, chosen.inputs))
    assert held_out.hashes == tuple(map(hashed, held_out.inputs))
    calibrating = [entry_of(phantoms, volume) for volume in chosen.inputs]
    judging = [entry_of(phantoms, volume) for volume in held_out.inputs]
    patients = [entry.patient for entry in (*calibrating, *judging)]
    assert len(set(patients)) == len(patients) == len({row["patient"] for row in rows(phantoms)})
    assert [PAPER_CLASSES[label] for label in held_out.labels] == [entry.label for entry in judging]
    assert abs(len(calibrating) - len(judging)) <= 1
    counts = tuple(sum(entry.label == label for entry in calibrating) for label in PAPER_CLASSES)
    assert counted(*counts) in chosen.source
    assert chosen.count == len(calibrating)
    assert not chosen.random


def test_each_class_calibrates_equally_often_and_the_source_says_so(phantoms):
    chosen, held_out = choose(phantoms, count=3)
    assert chosen.source == (
        "3 synthetic phantoms (darnet-trt phantom, seed 3); not real patients: "
        "1 covid-19, 1 common-pneumonia, 1 normal"
    )
    assert held_out.source.startswith(f"{len(held_out.inputs)} synthetic phantoms")
    assert len(held_out.inputs) > 3
    assert set(held_out.labels[:3]) == {0, 1, 2}  # a few of the first are of all classes


def test_the_seed_decides_and_not_the_tables_order(cohort):
    first, again, other = (choose(cohort, 3, seed)[0].digest for seed in (0, 0, 1))
    assert first == again != other
    keep(cohort, sorted(rows(cohort), key=lambda row: (row["label"], row["scan"])))
    assert choose(cohort, 3)[0].digest == first


def test_all_that_do_not_calibrate_judge_one_scan_a_patient(phantoms):
    chosen, held_out = choose(phantoms, count=2)
    patients = {row["patient"] for row in rows(phantoms)}
    assert (chosen.count, len(held_out.inputs)) == (2, len(patients) - 2)
    assert len(patients) < len(rows(phantoms))


@contextmanager
def open_files(more):
    """Let the process open so many files more, until it asks for a higher limit."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    there = len(list(Path("/dev/fd").iterdir()))
    resource.setrlimit(resource.RLIMIT_NOFILE, (there + more, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_every_scan_may_stay_open(phantoms):
    with open_files(8):
        chosen, held_out = choose(phantoms)
    assert chosen.count + len(held_out.inputs) > 8


def test_all_random_inputs_may_stay_open():
    with open_files(8):
        chosen, _ = random_scans(SPEC, 20, seed=0)
    assert chosen.count == 20


def test_too_many_open_files_are_an_error_that_names_the_limit():
    with open_files(4), pytest.raises(OutputError, match="ulimit -n"):
        [sample.on_disk(np.zeros((1, *SPEC.size), np.float32)) for _ in range(8)]


def test_fewer_scans_than_asked_for_are_halved_and_logged(phantoms, log):
    chosen, held_out = choose(phantoms, count=32, log=log)
    numbers = (f"{chosen.count} ", "32", f"{len(held_out.inputs)} ")
    assert all(number in log[-1] for number in numbers)


def test_a_folder_without_a_table_has_no_labels(cohort):
    (cohort / "cohort.csv").unlink()
    chosen, held_out = choose(cohort, count=4)
    assert held_out.labels is None
    assert (chosen.count, len(held_out.inputs)) == (4, 14)
    assert chosen.source == "4 scans of cohort, classes not known"


def test_visits_of_one_dicom_patient_stay_together(tmp_path):
    plan = CohortPlan(scans=8, seed=3, format="dicom", matrix=48, slices=(30, 30))
    cohort = write_cohort(plan, tmp_path / "cohort", processes=1).parent
    patients = {row["patient"] for row in rows(cohort)}
    assert len(patients) < 8
    (cohort / "cohort.csv").unlink()
    chosen, held_out = choose(cohort, log=(log := []))
    assert chosen.count + len(held_out.inputs) == len(patients)
    assert any(f"8 scans are of {len(patients)} patients" in line for line in log)


def test_one_patient_id_for_everybody_is_told(tmp_path, log):
    plan = CohortPlan(scans=3, seed=3, format="dicom", matrix=48, slices=(30, 30))
    cohort = write_cohort(plan, tmp_path / "cohort", processes=1).parent
    (cohort / "cohort.csv").unlink()
    for file in cohort.rglob("*.dcm"):
        header = dcmread(file)
        header.PatientID = "ANONYMOUS"
        header.save_as(file)
    with pytest.raises(UsageError, match=r"only one patient.*cohort\.csv"):
        choose(cohort, log=log)
    assert any("3 scans are of 1 patient," in line and "cohort.csv" in line for line in log)


def test_a_scan_that_cannot_be_used_is_replaced_by_one_of_its_class(cohort, log):
    covid = [row for row in rows(cohort) if row["label"] == "covid-19"]
    for row in covid[:2]:
        (cohort / row["scan"]).write_bytes(b"no scan")
    (cohort / covid[2]["scan"]).unlink()
    usable = {row["patient"] for row in covid[3:]}
    chosen, held_out = choose(cohort, count=3, log=log)
    assert counted(1, 1, 1) in chosen.source
    assert held_out.labels.count(0) == len(usable) - 1
    left_out = [line for line in log if line.startswith("left out of calibration: ")]
    assert len(left_out) == 3
    assert any("3 scans could not be used" in line for line in log)
    assert all("\n" not in line for line in log)


def test_a_copy_is_not_on_both_sides(cohort, log):
    first = rows(cohort)[0]
    shutil.copy(cohort / first["scan"], cohort / "copy.nii.gz")
    keep(cohort, [*rows(cohort), {**first, "scan": "copy.nii.gz", "patient": "another"}])
    chosen, held_out = choose(cohort, log=log)
    inputs = {volume.tobytes() for volume in (*chosen.inputs, *held_out.inputs)}
    assert len(inputs) == chosen.count + len(held_out.inputs)
    assert any("is the same scan as" in line for line in log)


def test_an_absent_class_is_logged(cohort, log):
    keep(cohort, [row for row in rows(cohort) if row["label"] != "normal"])
    chosen, held_out = choose(cohort, count=4, log=log)
    assert counted(2, 2, 0) in chosen.source
    assert set(held_out.labels) == {0, 1}
    assert any("no normal scan" in line for line in log)


@pytest.mark.parametrize("labels", [("covid-19",), ("covid-19", "normal")])
def test_two_patients_are_enough(cohort, labels):
    first = [next(r for r in rows(cohort) if r["label"] == label) for label in labels]
    second = next(
        r for r in rows(cohort) if r["label"] == labels[-1] and r["patient"] != first[0]["patient"]
    )
    keep(cohort, [*first, second][:2])
    chosen, held_out = choose(cohort)
    assert (chosen.count, len(held_out.inputs)) == (1, 1)


def test_one_patient_cannot_judge_itself(cohort):
    keep(cohort, rows(cohort)[:1])
    with pytest.raises(UsageError, match="only one patient has a usable scan"):
        choose(cohort)
    (cohort / "cohort.csv").unlink()
    scan = next(cohort.rglob("*.nii.gz"))
    with pytest.raises(UsageError, match=r"only one patient has a usable scan.*two patients"):
        choose(scan)


def test_no_usable_scan_is_an_error_with_the_first_reason(cohort):
    for row in rows(cohort):
        (cohort / row["scan"]).write_bytes(b"no scan")
    with pytest.raises(UsageError, match=rf"cohort: none of {len(rows(cohort))} scans can be used"):
        choose(cohort)
    (cohort / "cohort.csv").unlink()
    with pytest.raises(UsageError, match=r"scans can be used.* inspect"):
        choose(cohort)


def test_the_space_for_temporary_files_is_logged_first(phantoms, log):
    choose(phantoms, count=3, log=log)
    patients = len({row["patient"] for row in rows(phantoms)})
    facts = (f" {patients} ", "up to 1 MB", tempfile.gettempdir())
    assert all(fact in log[0] for fact in facts)
    assert "TMPDIR" not in log[0]


def test_a_disk_that_is_too_small_is_named(log):
    announce(10**12, SPEC, log.append)
    assert "MB are free" in log[0]
    assert "TMPDIR" in log[0]


def test_inputs_are_kept_in_unnamed_files(phantoms, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    chosen, held_out = choose(phantoms, count=3)
    assert all(isinstance(volume, np.memmap) for volume in (*chosen.inputs, *held_out.inputs))
    assert not list(tmp_path.iterdir())
    volume = chosen.inputs[0]
    assert (volume.shape, volume.dtype) == ((1, *SPEC.size), np.float32)


def test_a_full_disk_is_an_error_that_names_the_folder(phantoms):
    where = rf"^{tempfile.gettempdir()}: a scan .*TMPDIR"
    with files_up_to(1000), pytest.raises(OutputError, match=where):
        choose(phantoms, count=3)


def test_random_inputs_are_marked_and_repeat_with_the_seed():
    (chosen, held_out), (again, _), (other, _) = (random_scans(SPEC, 3, s) for s in (5, 5, 6))
    assert chosen.random
    assert chosen.digest == again.digest != other.digest
    assert chosen.source == "3 random inputs instead of scans, seed 5"
    assert (chosen.count, held_out.labels) == (3, None)
    volumes = [*chosen.inputs, *held_out.inputs]
    assert len({volume.tobytes() for volume in volumes}) == len(volumes) > 3
    assert all(volume.shape == (1, *SPEC.size) for volume in volumes)


@pytest.mark.parametrize("way", [deaths.segv, deaths.ask_for_too_much, deaths.divide])
def test_a_scan_that_ends_its_reading_is_left_out(cohort, log, monkeypatch, way):
    place = read_cohort(cohort).entries[0].scan
    monkeypatch.setattr(sample, "load_study", partial(deaths.study_or, way.__name__, place))
    chosen, held_out = choose(cohort, log=log)
    entries = read_cohort(cohort).entries
    others = {entry.patient for entry in entries[1:]}
    assert len(chosen.hashes) + len(held_out.hashes) == len(others)
    (line,) = (line for line in log if line.startswith("left out of calibration"))
    assert str(place) in line
