"""Scans that trained the weights calibrate, and judge only where there are no others."""

import csv
import shutil
from dataclasses import replace

import numpy as np
import pytest

from darnet_trt.calibration.scans.apart import without_test_side
from darnet_trt.calibration.scans.choosing import choose_scans
from darnet_trt.calibration.scans.patients import find_scans
from darnet_trt.calibration.scans.sample import SEEN_JUDGES, hashed
from darnet_trt.evaluation.seen import TrainingScans, identity, patient_id_of
from darnet_trt.phantom import CohortPlan, write_cohort
from darnet_trt.scan import Preprocessing, find_studies, load_study, read_volume
from darnet_trt.scan.cohorts import PAPER_CLASSES, read_cohort
from tests.scan.written_scans import VOLUME_FILES, packed, stored, write_classic

SPEC = Preprocessing(size=(8, 16, 16))
WAYS = ("a.nrrd", "a.nii", "dicom", "zip", "a.nii.gz", "upside down")


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory):
    """Return 16 scans of 13 patients; never written to."""
    out = tmp_path_factory.mktemp("phantoms") / "cohort"
    plan = CohortPlan(scans=16, seed=5, format="nifti", matrix=48, slices=(30, 30))
    write_cohort(plan, out, processes=1)
    return read_cohort(out)


def load(path):
    (study,) = find_studies(path)
    return study, *load_study(study, SPEC, identify=True)


def trained_on(cohort, entries):
    found = []
    for entry in entries:
        study, choice, loaded = load(entry.scan)
        patient_id = patient_id_of(study, choice)
        found.append(identity(cohort, entry.patient, patient_id, loaded.hashes))
    return TrainingScans.of(found)


@pytest.fixture(scope="module")
def half(phantoms):
    """Return the entries of every other patient, as if they had trained a network."""
    patients = sorted({entry.patient for entry in phantoms.entries})[::2]
    return [entry for entry in phantoms.entries if entry.patient in patients]


@pytest.fixture(scope="module")
def trained(phantoms, half):
    return trained_on(phantoms, half)


def choose(path, trained, count=32, log=None, split=None):
    log = [] if log is None else log
    return choose_scans(path, SPEC, count, 0, log.append, trained, split=split)


def patients_of(cohort, hashes):
    """Return whose scans these inputs were made from."""
    made = {hashed(load(entry.scan)[2].array): entry.patient for entry in cohort.entries}
    return {made[one] for one in hashes}


def write_table(folder, rows):
    with (folder / "cohort.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerows([("scan", "patient", "label"), *rows])


def copy_as(way, scan, to):
    """Write a scan in another format, at another place; return it."""
    volume = stored(
        read_volume(find_studies(scan)[0].series[0]),
        *(((0, 1, 2), (True, False, True)) if way == "upside down" else ()),
    )
    to.mkdir()
    if way in VOLUME_FILES:
        return VOLUME_FILES[way](volume, to / way)
    folder = write_classic(volume, to / "slices")
    return packed(folder, to / "a.zip") if way == "zip" else folder


def test_only_patients_that_did_not_train_judge(phantoms, half, trained):
    chosen, held_out = choose(phantoms.table, trained, count=7, log=(log := []))
    seen = {entry.patient for entry in half}
    everyone = {entry.patient for entry in phantoms.entries}
    assert patients_of(phantoms, held_out.hashes) == everyone - seen
    assert patients_of(phantoms, chosen.hashes) == seen
    assert held_out.seen == 0
    assert any(f"{len(everyone - seen)} scans judge" in line for line in log)
    assert not any("name them otherwise" in line for line in log)


def test_unseen_scans_calibrate_where_seen_ones_do_not_suffice(phantoms, half):
    one = trained_on(phantoms, half[:1])
    chosen, held_out = choose(phantoms.table, one, count=4)
    calibrating = patients_of(phantoms, chosen.hashes)
    assert half[0].patient in calibrating
    assert len(calibrating) == chosen.count == 4
    assert not patients_of(phantoms, held_out.hashes) & calibrating
    assert len(held_out.inputs) == len({e.patient for e in phantoms.entries}) - 4
    assert held_out.seen == 0


def test_enough_seen_scans_calibrate_alone(phantoms):
    many = trained_on(phantoms, phantoms.entries[:11])
    chosen, held_out = choose(phantoms.table, many, count=32)
    seen = {entry.patient for entry in phantoms.entries[:11]}
    assert len(seen) >= 8
    assert patients_of(phantoms, chosen.hashes) == seen
    assert len(held_out.inputs) == len({e.patient for e in phantoms.entries}) - len(seen)


def test_the_seen_scans_that_calibrate_are_of_all_classes(phantoms, half, trained, tmp_path):
    classes = {entry.label for entry in half}
    assert len(classes) > 1
    rows = []
    for number, entry in enumerate(phantoms.entries):
        shutil.copy(entry.scan, tmp_path / f"{number}.nii.gz")
        rows.append((f"{number}.nii.gz", f"Q{entry.patient}", entry.label))
    write_table(tmp_path, rows)
    for seed in range(3):
        count = len(classes)
        chosen, held_out = choose_scans(tmp_path, SPEC, count, seed, [].append, trained)
        assert held_out.seen == 0
        assert all(f"1 {label}" in chosen.source for label in classes)


def test_copies_in_other_formats_under_other_names_are_seen(phantoms, half, trained, tmp_path):
    rows = []
    for number, entry in enumerate(phantoms.entries):
        copied = copy_as(WAYS[number % len(WAYS)], entry.scan, tmp_path / f"x{number:02}")
        rows.append((copied.relative_to(tmp_path), f"Q{entry.patient[1:]}", entry.label))
    write_table(tmp_path, rows)
    _, held_out = choose(tmp_path, trained, count=7)
    judging = patients_of(read_cohort(tmp_path), held_out.hashes)
    seen = {entry.patient for entry in half}
    assert judging == {f"Q{e.patient[1:]}" for e in phantoms.entries if e.patient not in seen}
    (tmp_path / "cohort.csv").unlink()
    _, held_out = choose(tmp_path, trained, count=7)
    assert held_out.labels is None
    assert held_out.seen == 0
    assert len(held_out.inputs) >= 3
    made = {hashed(load(tmp_path / row[0])[2].array): row[1] for row in rows}
    assert {made[hashed(array)] for array in held_out.inputs} <= judging


def test_one_seen_scan_makes_all_scans_of_its_patient_seen(phantoms, tmp_path):
    first, second, *others = phantoms.entries[:4]
    trained = trained_on(phantoms, [second])
    rows = []
    for name, entry in (("new", first), ("new", second), ("b", others[0]), ("c", others[1])):
        shutil.copy(entry.scan, tmp_path / f"{len(rows)}.nii.gz")
        rows.append((f"{len(rows)}.nii.gz", name, entry.label))
    write_table(tmp_path, rows)
    chosen, held_out = choose(tmp_path, trained, count=1)
    assert patients_of(read_cohort(tmp_path), held_out.hashes) == {"b", "c"}
    assert patients_of(read_cohort(tmp_path), chosen.hashes) == {"new"}


def test_a_copy_within_the_cohort_is_of_one_patient(phantoms, tmp_path):
    entries = phantoms.entries[:3]
    rows = []
    for number, entry in enumerate((*entries, entries[0])):
        shutil.copy(entry.scan, tmp_path / f"{number}.nii.gz")
        rows.append((f"{number}.nii.gz", f"p{number}", entry.label))
    shutil.copy(phantoms.entries[5].scan, tmp_path / "9.nii.gz")
    write_table(tmp_path, [*rows, ("9.nii.gz", "p3", entries[0].label)])
    chosen, held_out = choose(tmp_path, None, log=(log := []))
    assert chosen.count + len(held_out.inputs) <= 4
    chosen, held_out = choose(tmp_path, TrainingScans(b"", frozenset(), ()), log=log)
    assert chosen.count + len(held_out.inputs) == 3
    assert any("is the same scan as" in line for line in log)


def test_where_all_trained_all_still_judge_with_a_note(phantoms):
    trained = trained_on(phantoms, phantoms.entries)
    chosen, held_out = choose(phantoms.table, trained, count=4, log=(log := []))
    patients = len({entry.patient for entry in phantoms.entries})
    assert (chosen.count, held_out.seen) == (4, patients - 4)
    assert held_out.seen == len(held_out.inputs) < SEEN_JUDGES
    assert any("every scan is of a patient that trained" in line for line in log)


def test_only_as_many_seen_scans_are_read_as_calibrate(phantoms, half, trained, tmp_path):
    shutil.copytree(phantoms.table.parent, tmp_path / "c")
    for entry in half:  # cannot be read: each one that is tried is left out
        (tmp_path / "c" / entry.scan.relative_to(phantoms.table.parent)).write_bytes(b"no scan")
    choose(tmp_path / "c", trained, log=(log := []))
    tried = sum(line.startswith("left out") for line in log)
    assert tried == len(half)
    chosen, _ = choose(phantoms.table, trained, count=2, log=(log := []))
    assert chosen.count == 2
    assert " 9 preprocessed" in log[0], "7 unseen patients and 2 that calibrate"


def test_a_shared_name_alone_is_told(phantoms, half, tmp_path):
    plain = phantoms.__class__(phantoms.table, phantoms.entries, None)
    trained = trained_on(plain, half)
    names = sorted({entry.patient for entry in half})
    rows = []
    for number, entry in enumerate(e for e in phantoms.entries if e not in half):
        shutil.copy(entry.scan, tmp_path / f"{number}.nii.gz")
        rows.append((f"{number}.nii.gz", [*names, *"abcdef"][number], entry.label))
    write_table(tmp_path, rows)
    _, held_out = choose(tmp_path, trained, log=(log := []))
    if held_out.seen == 0:
        assert len(held_out.inputs) == max(0, len(rows) - len(names))
    assert any("name them otherwise" in line for line in log)


def test_without_hashes_nobody_knows(phantoms):
    _, held_out = choose(phantoms.table, None, log=(log := []))
    assert held_out.seen is None
    assert any("nobody knows" in line for line in log)


def test_labels_stay_with_their_scans(phantoms, trained):
    _, held_out = choose(phantoms.table, trained)
    labels = {hashed(load(e.scan)[2].array): PAPER_CLASSES.index(e.label) for e in phantoms.entries}
    assert held_out.labels == tuple(labels[one] for one in held_out.hashes)
    assert all(np.isfinite(array).all() for array in held_out.inputs)


def test_the_test_side_of_the_cohort_neither_calibrates_nor_judges(phantoms, trained, tmp_path):
    patients = sorted({entry.patient for entry in phantoms.entries})
    apart = set(patients[::3])
    shutil.copytree(phantoms.table.parent, tmp_path / "c")
    with (tmp_path / "c" / "cohort.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(("scan", "patient", "label", "split"))
        for entry in phantoms.entries:
            side = "Test" if entry.patient in apart else "train"
            table.writerow((phantoms.name(entry), entry.patient, entry.label, side))
    for known in (trained, None):
        chosen, held_out = choose(tmp_path / "c", known, count=3, log=(log := []))
        used = patients_of(phantoms, (*chosen.hashes, *held_out.hashes))
        assert not used & apart
        assert used == set(patients) - apart or known
        scans = sum(entry.patient in apart for entry in phantoms.entries)
        assert f"{scans} of 16 scans, of {len(apart)} patients, are on the test side" in log[0]


def test_the_test_side_of_the_run_neither_calibrates_nor_judges(phantoms, half, trained):
    patients = {entry.patient for entry in phantoms.entries}
    seen = {entry.patient for entry in half}
    apart = set(sorted(patients - seen)[:2])
    split = dict.fromkeys(seen, "train") | dict.fromkeys(apart, "test")
    chosen, held_out = choose(phantoms.table, trained, split=split, log=(log := []))
    assert not patients_of(phantoms, (*chosen.hashes, *held_out.hashes)) & apart
    assert ", of 2 patients, are on the test side" in log[0]


def test_patients_of_another_cohort_are_not_those_of_the_runs_test_side(phantoms, half, trained):
    """Phantoms of every seed are called P0001 and so on."""
    patients = {entry.patient for entry in phantoms.entries}
    seen = {entry.patient for entry in half}
    split = dict.fromkeys(seen, "train") | dict.fromkeys(patients - seen, "test")
    pool = find_scans(phantoms.table, PAPER_CLASSES)
    assert pool.cohort is not None
    other = replace(pool, cohort=replace(pool.cohort, seed=99))
    for given, kept in ((pool, seen), (other, patients)):
        left = without_test_side(given, phantoms.table, trained, split, [].append)
        assert {scan.patient for scan in left.scans} == kept


def test_a_folder_without_a_table_has_patients_by_patient_id(tmp_path):
    plan = CohortPlan(scans=4, seed=3, format="dicom", matrix=48, slices=(30, 30))
    folder = write_cohort(plan, tmp_path / "cohort", processes=1).parent
    (folder / "cohort.csv").unlink()
    found = find_scans(folder, PAPER_CLASSES)
    first, second, *_ = dict.fromkeys(scan.patient for scan in found.scans)
    trained = TrainingScans.of([identity(None, "", first, ())])
    split = {first: "train", second: "test"}
    left = without_test_side(found, folder, trained, split, [].append)
    assert second not in {scan.patient for scan in left.scans}
    assert len(left.scans) < len(found.scans)
