"""Phantoms in the folders of CC-CCII, as downloaded and cleaned."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

from darnet_trt.phantom import CohortPlan, plan_classes, read_regions, synthesize_scan, write_cohort
from darnet_trt.phantom.plan import members
from darnet_trt.scan import choose, find_studies, read_volume
from darnet_trt.scan.cohorts import read_cohort

TINY = {"matrix": 32, "slices": (30, 32), "seed": 3}


def rows(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def scan_of(member):
    return synthesize_scan(
        member.kind,
        (3, member.number),
        visit=member.visit,
        matrix=TINY["matrix"],
        slices=TINY["slices"],
    )


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    plan = CohortPlan(scans=6, format="cc-ccii", lesions=True, **TINY)
    out = tmp_path_factory.mktemp("raw") / "cohort"
    assert write_cohort(plan, out, processes=1) == out / "phantoms.csv"
    return plan, out


@pytest.fixture(scope="module")
def cleaned(tmp_path_factory):
    kinds = plan_classes("tuberculosis=small-nodules,covid-19,normal")
    plan = CohortPlan(scans=20, format="cc-ccii-cleaned", kinds=kinds, **TINY)
    out = tmp_path_factory.mktemp("cleaned") / "cohort"
    write_cohort(plan, out, processes=1)
    return plan, out


def test_the_download_has_its_folders_and_tables(raw):
    plan, out = raw
    assert not (out / "cohort.csv").exists()
    found = rows(out / "unzip_filenames.csv")
    assert len(found) == plan.scans
    for row, member in zip(found, members(plan), strict=True):
        folder = out / row["label"] / row["patient_id"] / row["scan_id"]
        assert folder == out / member.scan
        assert len(list(folder.glob("*.png"))) == int(row["n_slice"])
    assert {row["label"] for row in found} == {"NCP", "CP", "Normal"}
    patients = rows(out / "metadata.csv")
    assert {row["patient_id"] for row in patients} == {
        row["patient_id"] for row in found if row["label"] == "NCP"
    }
    assert all(row["Sex(Male1/Female2)"] in "12" for row in patients)


def test_the_slices_with_lesions_are_listed(raw):
    plan, out = raw
    listed = {row["imgpath"] for row in rows(out / "lesions_slices.csv")}
    assert all((out / path).is_file() for path in listed)
    for member in members(plan):
        regions = scan_of(member).regions[::-1]
        here = {path for path in listed if path.startswith(f"{member.scan}/")}
        shown = {f"{member.scan}/{i:04d}.png" for i in np.flatnonzero((regions == 2).any((1, 2)))}
        assert here == (shown if member.label != "normal" else set())


def test_lesions_lie_on_the_grid_of_the_scan_that_is_read(raw):
    plan, out = raw
    for member in list(members(plan))[:3]:
        (study,) = find_studies(out / member.scan)
        volume = read_volume(choose(study).series)
        regions = read_regions(out, out / member.scan)
        assert regions.shape == volume.hu.shape
        assert np.array_equal(regions, scan_of(member).regions)


def test_the_cleaned_forms_split_puts_every_scan_right(cleaned):
    plan, out = cleaned
    splits = [json.loads((out / f"ct_{of}.json").read_text()) for of in ("train", "val", "test")]
    patients = [patient for split in splits for of_class in split.values() for patient in of_class]
    assert len(patients) == len(set(patients)), "each is in one of the splits"
    table = {row["scan_id"]: row for row in rows(out / "CT_cleaned_v2.csv")}
    used = 0
    for member in members(plan):
        folder, patient, name = member.scan.split("/")
        row = table[name]
        assert (row["cls"], row["pid"]) == (folder, patient)
        files = [split.get(folder, {}).get(patient, {}).get(name) for split in splits]
        files = [names for names in files if names]
        if row["repeat_ids"] == "discard":
            assert not files
            continue
        (names,) = files
        used += 1
        scan = scan_of(member)
        pictures = np.stack([np.asarray(Image.open(out / member.scan / n)) for n in names])
        grey = np.clip((scan.volume.hu[::-1].astype(np.float32) + 1350) * 255 / 1500, 0, 255)
        if row["is_seg"] == "1":
            grey *= scan.regions[::-1] > 0
        assert np.array_equal(pictures, np.rint(grey))
    assert used == 19
    assert {row["cls"] for row in table.values()} == {"tuberculosis", "NCP", "Normal"}


def test_both_forms_are_read_as_cohorts(raw, cleaned):
    for plan, out in (raw, cleaned):
        cohort = read_cohort(out)
        assert cohort.classes == plan.classes
        assert cohort.seed == plan.seed
        found = {e.scan: (e.patient, e.label) for e in cohort.entries}
        useless = {
            out / row["cls"] / row["pid"] / row["scan_id"]
            for row in (rows(out / "CT_cleaned_v2.csv") if plan is cleaned[0] else ())
            if row["repeat_ids"] == "discard"
        }
        expected = {out / m.scan: (m.patient, m.label) for m in members(plan)}
        assert found == {scan: of for scan, of in expected.items() if scan not in useless}
    assert {e.side for e in cohort.entries} >= {"train", "test"}
