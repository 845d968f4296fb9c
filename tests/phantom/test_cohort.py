"""A cohort on disk: whole or absent, the same by seed, readable, and silent about labels."""

import csv
import hashlib
import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pydicom
import pytest

from darnet_trt.errors import OutputError, UsageError
from darnet_trt.phantom import CohortPlan, cohort, synthesize, synthesize_scan, write_cohort
from darnet_trt.phantom.plan import members
from darnet_trt.scan import Preprocessing, choose, find_studies, load_input, preprocess
from darnet_trt.scan.cohorts import PAPER_CLASSES

TINY = {"matrix": 48, "slices": (30, 34)}
SPEC = Preprocessing(size=(16, 32, 32))


def rows(folder):
    with (folder / "cohort.csv").open() as file:
        return list(csv.DictReader(file))


def digest(folder):
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@pytest.fixture(scope="module")
def dicom_cohort(tmp_path_factory):
    out = tmp_path_factory.mktemp("dicom") / "cohort"
    write_cohort(CohortPlan(scans=8, seed=3, **TINY), out, processes=1)
    return out


def test_table_names_every_scan(dicom_cohort):
    table = rows(dicom_cohort)
    assert len(table) == 8
    assert {row["label"] for row in table} == set(PAPER_CLASSES)
    assert all((dicom_cohort / row["scan"]).is_dir() for row in table)
    assert not list(dicom_cohort.parent.glob(".*")), "nothing temporary is left"


def test_smaller_cohort_is_the_beginning_of_a_larger_one():
    few = list(members(CohortPlan(scans=20, seed=1)))
    many = list(members(CohortPlan(scans=200, seed=1)))
    assert many[:20] == few
    patients = {m.patient for m in many}
    assert len(patients) < 200, "some have two scans"
    for patient in patients:
        assert len({m.label for m in many if m.patient == patient}) == 1
    for label in PAPER_CLASSES:
        assert sum(m.label == label for m in many) > 50


def test_same_seed_gives_the_same_bytes(dicom_cohort, tmp_path):
    write_cohort(CohortPlan(scans=8, seed=3, **TINY), tmp_path / "again", processes=2)
    assert digest(dicom_cohort) == digest(tmp_path / "again")


def test_other_seed_gives_other_uids(dicom_cohort, tmp_path):
    write_cohort(CohortPlan(scans=1, seed=4, **TINY), tmp_path / "other", processes=1)

    def uids(folder):
        files = folder.rglob("*.dcm")
        return {pydicom.dcmread(p, specific_tags=["SOPInstanceUID"]).SOPInstanceUID for p in files}

    assert not uids(dicom_cohort) & uids(tmp_path / "other")


@pytest.mark.parametrize(
    ("kind", "atol"),
    [("dicom", 1e-5), ("nifti", 1e-5), ("slices", 0.5 / 255 + 1e-4)],  # 8 bits: half a grey level
)
def test_every_format_holds_the_phantom(tmp_path, kind, atol):
    plan = CohortPlan(scans=8, seed=3, format=kind, **TINY)
    write_cohort(plan, tmp_path / "cohort", processes=1)
    for member in members(plan):
        volume = synthesize(member.kind, (3, member.number), visit=member.visit, **TINY)
        (study,) = find_studies(tmp_path / "cohort" / member.scan)
        loaded = load_input(choose(study).series, SPEC)
        np.testing.assert_allclose(loaded.array, preprocess(SPEC, volume), atol=atol)


def test_orientations_and_positions_vary():
    taken = [
        synthesize_scan("normal", seed, matrix=32, slices=(30, 30)).acquisition
        for seed in range(40)
    ]
    assert len({a.flips for a in taken}) > 4
    assert {a.position for a in taken} >= {"HFS", "FFS"}


def test_only_the_table_tells_the_labels(dicom_cohort):
    words = (*PAPER_CLASSES, "covid", "COVID", "neumonia", "ground glass", "onsolid")
    for path in dicom_cohort.rglob("*"):
        assert not any(w.lower() in str(path.relative_to(dicom_cohort)) for w in words)
        if path.is_file() and path.name not in ("cohort.csv", "cohort.json"):
            content = path.read_bytes()
            assert not any(w.encode() in content for w in words), path


def test_headers_are_those_of_a_ct_and_say_synthetic(dicom_cohort):
    path = sorted(dicom_cohort.rglob("*.dcm"))[0]
    ds = pydicom.dcmread(path)
    assert ds.SOPClassUID == pydicom.uid.CTImageStorage
    assert ds.BodyPartExamined == "CHEST"
    assert ds.RescaleIntercept == -1024
    assert "Synthetic" in ds.ImageComments
    assert json.loads((dicom_cohort / "cohort.json").read_text())["synthetic"] is True
    series = [pydicom.dcmread(p) for p in sorted(path.parent.glob("*.dcm"))]
    places = np.array([s.ImagePositionPatient for s in series], float)
    steps = np.array([np.linalg.norm(b - a) for a, b in pairwise(places)])
    np.testing.assert_allclose(steps, float(ds.SliceThickness), rtol=1e-4)


@pytest.mark.parametrize(("seed", "kept"), [(3, 2), (4, 0)])
def test_an_interrupted_cohort_is_continued_by_the_same_plan(tmp_path, monkeypatch, seed, kept):
    real, written = cohort._write_scan, []

    def stopped(plan, folder, member):
        if len(written) == 2:
            written.append("interruption")
            raise KeyboardInterrupt
        written.append(member)
        real(plan, folder, member)

    out = tmp_path / "cohort"
    monkeypatch.setattr(cohort, "_write_scan", stopped)
    with pytest.raises(KeyboardInterrupt):
        write_cohort(CohortPlan(scans=4, seed=3, **TINY), out, processes=1)
    assert not out.exists()
    plan = CohortPlan(scans=4, seed=seed, **TINY)
    write_cohort(plan, out, processes=1)
    assert len(written) == 3 + 4 - kept
    monkeypatch.undo()
    write_cohort(plan, tmp_path / "at-once", processes=1)
    assert digest(out) == digest(tmp_path / "at-once")


def test_never_overwrites(tmp_path):
    plan = CohortPlan(scans=1, **TINY)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("keep")
    with pytest.raises(UsageError, match="not empty"):
        write_cohort(plan, tmp_path / "full")
    with pytest.raises(UsageError, match="is a file"):
        write_cohort(plan, tmp_path / "full" / "mine.txt")
    assert (tmp_path / "full" / "mine.txt").read_text() == "keep"
    (tmp_path / "empty").mkdir()
    assert write_cohort(plan, tmp_path / "empty", processes=1).is_file()


def test_the_current_folder_is_refused_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="current folder or a mount point"):
        write_cohort(CohortPlan(scans=1, **TINY), Path())
    assert list(tmp_path.iterdir()) == []


def test_a_link_to_an_empty_folder(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to("disk")
    write_cohort(CohortPlan(scans=1, **TINY), tmp_path / "link", processes=1)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "disk" / "cohort.csv").is_file()


def test_no_permission_or_space_is_one_line(tmp_path, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cohort, "write_dicom", full)
    with pytest.raises(OutputError, match="No space left on device"):
        write_cohort(CohortPlan(scans=1, **TINY), tmp_path / "c", processes=1)
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize(
    "change",
    [
        {"scans": 0},
        {"seed": -1},
        {"matrix": 5},
        {"slices": (50, 40)},
        {"slices": (20, 40)},
        {"format": "jpeg"},
    ],
)
def test_impossible_plans_are_refused(change):
    with pytest.raises(UsageError):
        CohortPlan(**change)
