"""Inputs are made once, and scans that cannot be used are named."""

import shutil
import subprocess
import sys
from functools import partial

import numpy as np
import pytest

from darnet_trt.errors import OutputError
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


@pytest.mark.parametrize("place", range(0, 10, 3))
def test_a_damaged_input_is_made_again(phantom_cohort, tmp_path, place):
    entries = read_cohort(phantom_cohort).entries[:1]
    (made,), _ = prepare(entries, SPEC, tmp_path / "inputs")
    whole, before, hashes = made.file.read_bytes(), made.load(), made.hashes
    damaged = bytearray(whole)
    damaged[len(damaged) * place // 10] ^= 0xFF
    for content in (damaged, whole[: len(whole) * place // 10]):
        made.file.write_bytes(content)
        assert prepare(entries, SPEC, tmp_path / "inputs") == ((made,), ())
        np.testing.assert_array_equal(made.load(), before)
        assert made.hashes == hashes


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


def test_a_process_that_makes_inputs_does_not_load_torch():
    code = "import darnet_trt.training.inputs, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
