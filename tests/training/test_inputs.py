"""Inputs are made once, and scans that cannot be used are named."""

import shutil
import subprocess
import sys
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from darnet_trt.errors import OutputError, TrainingError
from darnet_trt.phantom import CohortPlan, write_cohort
from darnet_trt.scan import Preprocessing, find_studies
from darnet_trt.scan.cohorts import Entry, read_cohort
from darnet_trt.training import inputs
from darnet_trt.training.inputs import prepare
from tests.full_disk import files_up_to
from tests.scan import deaths

SPEC = Preprocessing(size=(8, 16, 16))


def test_inputs_are_kept_and_found_again(phantom_cohort, tmp_path):
    entries = read_cohort(phantom_cohort).entries
    done = []
    examples, failures = prepare(entries, SPEC, tmp_path / "inputs", done=done.append)
    assert sum(done) == 2
    assert not failures
    assert [e.entry for e in examples] == list(entries)
    # 64 pixels of the scan become 16 of the input
    assert [e.pixel_mm for e in examples] == [
        pytest.approx(4 * max(find_studies(e.scan)[0].series[0].spacing_mm[1:])) for e in entries
    ]
    array = examples[0].load()
    assert array.dtype == np.float32
    assert array.shape == (1, 8, 16, 16)
    assert array.min() >= 0
    assert array.max() <= 1
    stamps = {e.file: e.file.stat().st_mtime_ns for e in examples}
    again, _ = prepare(entries, SPEC, tmp_path / "inputs")
    assert again == examples
    assert {e.file: e.file.stat().st_mtime_ns for e in again} == stamps
    other, _ = prepare(entries, Preprocessing(size=(8, 16, 18)), tmp_path / "inputs")
    assert not {e.file for e in other} & {e.file for e in examples}


def test_an_input_of_an_older_version_is_made_again(phantom_cohort, tmp_path):
    entries = read_cohort(phantom_cohort).entries
    made, _ = prepare(entries, SPEC, tmp_path / "inputs")
    assert all(len(e.hashes) > 2 for e in made)
    assert not made[0].hashes & made[1].hashes
    before = made[0].load(), made[0].hashes, made[0].patient_id
    assert before[2] == find_studies(entries[0].scan)[0].patient_id != ""
    np.savez(made[0].file, volume=np.zeros((1, *SPEC.size), np.float16), pixel_mm=1.0)
    made[1].file.write_bytes(b"broken")
    again, failures = prepare(entries, SPEC, tmp_path / "inputs")
    assert not failures
    np.testing.assert_array_equal(again[0].load(), before[0])
    assert (again[0].hashes, again[0].patient_id) == before[1:]
    assert again[1].load().any()


def damaged(whole):
    """Yield contents with bytes changed, or cut off, at several places."""
    for place in range(0, 10, 3):
        content = bytearray(whole)
        content[len(content) * place // 10] ^= 0xFF
        yield content
        yield whole[: len(whole) * place // 10]


def test_a_damaged_input_is_made_again(phantom_cohort, tmp_path, monkeypatch):
    entries = read_cohort(phantom_cohort).entries[:1]
    (made,), _ = prepare(entries, SPEC, tmp_path / "inputs")
    whole, before, hashes = made.file.read_bytes(), made.load(), made.hashes
    monkeypatch.setattr(inputs, "read_each", here)  # without a new process each time
    for content in damaged(whole):
        made.file.write_bytes(content)
        assert prepare(entries, SPEC, tmp_path / "inputs") == ((made,), ())
        np.testing.assert_array_equal(made.load(), before)
        assert made.hashes == hashes
        made.file.write_bytes(content)  # after the start
        np.testing.assert_array_equal(made.load(), before)


def here(function, scans, processes):
    return (function(*arguments) for _, arguments in scans)


def test_a_changed_byte_is_never_used(phantom_cohort, tmp_path, monkeypatch):
    (made,), _ = prepare(read_cohort(phantom_cohort).entries[:1], SPEC, tmp_path / "inputs")
    whole, before = made.file.read_bytes(), made.load()
    again = []

    def copied(entry, spec, file):
        again.append(entry)
        file.write_bytes(whole)

    monkeypatch.setattr(inputs, "_prepare_one", copied)
    monkeypatch.setattr(inputs, "read_each", here)
    for place in range(0, len(whole), 29):
        content = bytearray(whole)
        content[place] ^= 0xFF
        made.file.write_bytes(content)
        np.testing.assert_array_equal(made.load(), before)
    assert len(again) > before.nbytes / 2 / 29, "the values are float16 in the file"


def test_a_damaged_input_of_a_scan_that_has_changed_is_not_replaced(phantom_series, tmp_path):
    scan = shutil.copytree(phantom_series, tmp_path / "scan")
    (made,), _ = prepare((Entry(scan, "1", "normal"),), SPEC, tmp_path / "inputs")
    made.file.write_bytes(b"")
    next(scan.iterdir()).touch()
    with pytest.raises(TrainingError, match="changed") as caught:
        made.load()
    assert str(scan) in str(caught.value)


def test_unusable_scans_are_reported_and_left_out(phantom_cohort, tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    good = read_cohort(phantom_cohort).entries[0]
    bad = (
        Entry(tmp_path / "notes.txt", "8", "normal"),
        Entry(tmp_path / "nowhere", "9", "normal"),
    )
    examples, failures = prepare((bad[0], good, bad[1]), SPEC, tmp_path / "inputs")
    assert [e.entry for e in examples] == [good]
    assert [f.entry for f in failures] == list(bad)
    assert all("\n" not in f.reason and f.reason for f in failures)
    assert "notes.txt" in failures[0].reason


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A scan as a folder of pictures, numbered from 0."""
    out = tmp_path_factory.mktemp("pictures") / "cohort"
    write_cohort(CohortPlan(scans=1, seed=5, format="slices", matrix=64, slices=(30, 30)), out)
    return read_cohort(out).entries[0].scan


def in_disorder(pictures, folder):
    """Copy a scan as CC-CCII has some: 20 to 29 come first, then 3 and 4 again, then 0 to 19."""
    names = sorted(path.name for path in pictures.iterdir())
    folder.mkdir(parents=True)
    for number, index in enumerate([*range(20, 30), 3, 4, *range(20)]):
        shutil.copy(pictures / names[index], folder / f"{number:04d}.png")


def test_slices_are_read_in_the_order_of_the_cohort(pictures, tmp_path):
    in_disorder(pictures, tmp_path / "NCP" / "7" / "1")
    columns = "cls,pid,scan_id,is_seg,is_repeat,repeat_ids,re_order\n"
    (tmp_path / "CT_cleaned_v2.csv").write_text(f"{columns}NCP,7,1,0,1,10-11,12-31+0-11\n")
    right = read_cohort(tmp_path).entries[0]
    reverse = replace(right, slices=right.slices[::-1])
    as_numbered = replace(right, slices=())
    every = (Entry(pictures, "7", "covid-19"), right, reverse, as_numbered)
    examples, failures = prepare(every, SPEC, tmp_path / "inputs")
    assert len({e.file for e in examples}) + len(failures) == 4, "each order is an input of its own"
    whole, put_right, reversed_one, *_ = (e.load() for e in examples)
    np.testing.assert_array_equal(put_right, whole)
    np.testing.assert_array_equal(reversed_one, whole)  # the pixels tell where the head is
    assert examples[0].hashes == examples[1].hashes
    for disordered in examples[3:]:
        assert not np.array_equal(disordered.load(), whole)


def test_a_slice_that_the_cohort_names_must_be_whole(pictures, tmp_path):
    names = tuple(sorted(path.name for path in pictures.iterdir()))
    shutil.copytree(pictures, tmp_path / "cut")
    cut = tmp_path / "cut" / names[15]
    cut.write_bytes(cut.read_bytes()[:20])
    entries = [
        Entry(pictures, "7", "normal", (*names, "0099.png")),
        Entry(pictures, "7", "normal", names[:5]),
        Entry(tmp_path / "cut", "7", "normal", names),
        Entry(tmp_path / "nowhere", "7", "normal", names),
    ]
    _, failures = prepare(tuple(entries), SPEC, tmp_path / "inputs")
    assert [f.entry for f in failures] == entries
    facts = ("0099.png", "5", names[15], names[-1])
    for failure, fact in zip(failures, facts, strict=True):
        assert fact in failure.reason
        assert "\n" not in failure.reason


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("way", [deaths.segv, deaths.ask_for_too_much, deaths.divide])
def test_a_scan_that_ends_its_process_is_left_out(
    phantom_series, tmp_path, monkeypatch, way, processes
):
    monkeypatch.setattr(inputs, "_prepare_one", partial(deaths.prepare_or, way.__name__))
    monkeypatch.setattr(inputs, "MIN_SCANS_A_PROCESS", 1)
    monkeypatch.setattr(inputs, "usable_cpus", lambda: processes)
    for name in "abcd":
        shutil.copytree(phantom_series, tmp_path / "scans" / name)
    entries = tuple(Entry(tmp_path / "scans" / name, name, "normal") for name in "abcd")
    examples, failures = prepare(entries, SPEC, tmp_path / "inputs")
    assert [e.entry.patient for e in examples] == ["a", "c", "d"]
    assert [f.entry.patient for f in failures] == ["b"]
    assert failures[0].reason
    assert len(list((tmp_path / "inputs").iterdir())) == 3


def test_a_full_disk_ends_the_preparation(phantom_series, tmp_path):
    with files_up_to(1000), pytest.raises(OutputError, match="cannot be written"):
        prepare((Entry(phantom_series, "1", "normal"),), SPEC, tmp_path / "inputs")
    assert not list((tmp_path / "inputs").iterdir())


@pytest.mark.parametrize("module", ["training.inputs", "training.checking.reading"])
def test_a_process_that_reads_scans_does_not_load_torch(module):
    code = f"import darnet_trt.{module}, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
