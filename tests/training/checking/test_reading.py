"""What is read of scans shows each way in which they can give the class away."""

import os
import shutil
import time

import numpy as np
import pytest
from PIL import Image

from benchmarks.cpu.training.cohort_check import LEAKS
from darnet_trt.phantom import CohortPlan, write_cohort
from darnet_trt.scan.cohorts import Entry, read_cohort
from darnet_trt.training.checking.reading import VIEW, read_cohort_facts, read_facts


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """One scan as PNG."""
    out = tmp_path_factory.mktemp("check") / "cohort"
    write_cohort(CohortPlan(1, 4, "slices", 64, (40, 40)), out, processes=1)
    return read_cohort(out).entries[0].scan


def changed(pictures, folder, change, suffix="png"):
    stack = np.stack([np.asarray(Image.open(file)) for file in sorted(pictures.iterdir())])
    folder.mkdir()
    for number, one in enumerate(change(stack)):
        Image.fromarray(one).save(folder / f"{number:04d}.{suffix}")
    return folder


def facts_of(scan, **fields):
    return read_facts(Entry(scan, "p", "normal", **fields))[0]


def test_each_change_is_seen_and_no_other(pictures, tmp_path):
    plain = facts_of(pictures)
    found = {
        name: facts_of(changed(pictures, tmp_path / name, change, suffix))
        for name, (_, change, suffix) in LEAKS.items()
    }
    assert (plain.error, plain.file_type, plain.order, plain.cut) == (
        "",
        ".png",
        "",
        (False, False),
    )
    assert (plain.slices, plain.matrix, plain.masked) == (40, (64, 64), False)
    assert found["lungs alone on black"].masked
    assert found["middle half of the slices"].cut == (True, True)
    assert found["matrix"].matrix == (96, 96)
    assert found["slice count"].slices == 130
    assert found["grey window"].air_hu < plain.air_hu - 60
    assert found["file type"].file_type == ".jpg"
    assert found["reversed slices"].order == "reversed"
    assert found["unordered slices"].order == "unordered"
    for name in ("matrix", "slice count", "file type"):
        kept = found[name]
        assert (kept.order, kept.cut, kept.masked) == ("", (False, False), False)


def test_formats_are_seen_alike(tmp_path):
    seen = {}
    for kind in ("dicom", "nifti", "slices"):
        write_cohort(CohortPlan(1, 4, kind, 64, (40, 40)), tmp_path / kind, processes=1)
        seen[kind] = read_facts(*read_cohort(tmp_path / kind).entries)
    assert [facts.file_type for facts, _ in seen.values()] == ["dicom", ".nii.gz", ".png"]
    first, first_view = seen["dicom"]
    for facts, view in seen.values():
        assert view.shape == VIEW
        np.testing.assert_allclose(view, first_view, atol=0.01)
        assert facts.air_hu == pytest.approx(first.air_hu, abs=8)
        assert not facts.error
    assert set(first.hashes) & set(seen["nifti"][0].hashes)


def test_halves_that_changed_places_are_unordered(pictures, tmp_path):
    swapped = changed(pictures, tmp_path / "swapped", lambda s: np.concatenate([s[20:], s[:20]]))
    assert facts_of(swapped).order == "unordered"


def test_the_order_that_the_cohort_gives_counts(pictures, tmp_path):
    folder = changed(pictures, tmp_path / "reversed", lambda stack: stack[::-1])
    names = tuple(f"{number:04d}.png" for number in range(40))[::-1]
    facts = facts_of(folder, slices=names)
    assert (facts.order, facts.error) == ("", "")


def test_what_cannot_be_read_is_told_and_costs_nothing_else(pictures, tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    few = changed(pictures, tmp_path / "few", lambda stack: stack[:6])
    broken = shutil.copytree(pictures, tmp_path / "broken")
    (broken / "0020.png").write_bytes(b"broken")
    nowhere = tmp_path / "nowhere\0"
    scans = (tmp_path / "notes.txt", few, broken, nowhere, pictures)
    entries = [Entry(scan, "p", "normal") for scan in scans]
    found = [one.facts for one in read_cohort_facts(entries)]
    assert all(one.error and "\n" not in one.error for one in found[:4])
    assert (found[1].slices, found[1].code) == (6, "too-few-slices")
    assert found[2].file_type == ".png"
    assert not found[4].error


def test_a_second_look_comes_from_the_cache(pictures, cache):
    entry = Entry(pictures, "p", "normal")
    (first,) = read_cohort_facts([entry])
    (file,) = (cache / "darnet-trt" / "cohort-check").iterdir()
    inode = file.stat().st_ino
    os.utime(file, times=(0, time.time() - 80 * 86_400))
    (second,) = read_cohort_facts([entry])
    assert file.stat().st_ino == inode
    assert file.stat().st_mtime > time.time() - 86_400, "it is kept for another while"
    assert first.facts == second.facts
    assert np.array_equal(first.view, second.view)
    whole = file.read_bytes()
    for damaged in (b"damaged", whole[:60] + b"\xff" * 40 + whole[100:]):
        file.write_bytes(damaged)
        (again,) = read_cohort_facts([entry])
        assert again.facts == first.facts


def test_a_scan_that_could_not_be_read_is_read_again(pictures, tmp_path):
    """Though its files have the names, sizes and times of before."""
    scan = shutil.copytree(pictures, tmp_path / "scan")
    file = scan / "0020.png"
    whole, times = file.read_bytes(), (file.stat().st_atime_ns, file.stat().st_mtime_ns)
    for content, usable in ((b"x" * len(whole), False), (whole, True)):
        file.write_bytes(content)
        os.utime(file, ns=times)
        (seen,) = read_cohort_facts([Entry(scan, "p", "normal")])
        assert (seen.view is not None) is usable


def test_without_a_cache_it_works_too(pictures, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null")
    (seen,) = read_cohort_facts([Entry(pictures, "p", "normal")])
    assert not seen.facts.error
