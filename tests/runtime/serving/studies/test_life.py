"""Engines that fail and are replaced, disks that fill, stops, and what is removed or sent."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from pydicom import dcmread

from darnet_trt.bundle.reading import open_bundle
from darnet_trt.errors import BusyError, OutputError, UsageError
from darnet_trt.runtime.engines.loading import Engine, load_engine
from darnet_trt.runtime.prediction.results.folder import ResultFolder
from darnet_trt.runtime.serving.settings import Settings
from darnet_trt.runtime.serving.studies import keeping, records
from darnet_trt.runtime.serving.studies.evidence import KeptEvidence
from darnet_trt.scan.cohorts import read_cohort
from tests.runtime.prediction.pipeline.studies import write_study
from tests.runtime.serving.studies.service import (
    Running,
    check_promise,
    damaged_slice,
    make,
    running,
)
from tests.tiny_bundle import change_manifest, write_bundle


class Runner:
    """A real runner that can be stopped, and can fail."""

    def __init__(self, runner: Any) -> None:
        self._runner = runner
        self.go = threading.Event()
        self.go.set()
        self.failing = 0
        self.calls = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._runner, name)

    def infer(self, batch: np.ndarray) -> Any:
        assert self.go.wait(60)
        self.calls += 1
        if self.failing:
            self.failing -= 1
            raise RuntimeError("the device is lost")
        return self._runner.infer(batch)


def engine_of(bundle: Path) -> tuple[Engine, Runner]:
    loaded = load_engine(open_bundle(bundle))
    runner = Runner(loaded.runner)
    return replace(loaded, runner=runner), runner


def runner_of(made: Running) -> Runner:
    runner = made.studies._served[1].runner
    assert isinstance(runner, Runner)
    return runner


def scan(phantom_series: Path, folder: Path, number: int, **more: Any) -> list[Path]:
    return sorted(write_study(phantom_series, folder / f"scan{number}", number, **more).iterdir())


def sent(made: Any, *scans: list[Path]) -> list[str]:
    return [made.send(*files)[0].study for files in scans]


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Iterator[Running]:
    """A service for the tests that need no other settings."""
    folder = tmp_path_factory.mktemp("service")
    bundle = write_bundle(folder / "bundle")
    with running(bundle, folder / "state", engine=engine_of(bundle)[0]) as service:
        yield service
        check_promise(service)


def test_after_an_engine_that_failed_it_is_asked_again_and_nothing_is_lost(
    made, phantom_series, tmp_path
):
    runner_of(made).failing = 2
    studies, told = [], []
    made.studies.watch(told.append)
    for number in range(3):
        studies += sent(made, scan(phantom_series, tmp_path, number))
    views = [made.wait(study) for study in studies]
    assert [view.results[0].status for view in views] == ["ok"] * 3
    assert [view.error for view in views] == [""] * 3
    assert made.studies.trouble == ""
    assert not runner_of(made).failing
    assert any("the device is lost" in view.error for view in told)


def test_another_engine_takes_over_and_no_study_is_lost(made, phantom_series, tmp_path):
    other = write_bundle(tmp_path / "other")
    change_manifest(other, created="2026-01-01T00:00:00Z")
    slow, scans = runner_of(made), [scan(phantom_series, tmp_path, 10 + n) for n in range(5)]
    slow.go.clear()
    first = sent(made, *scans[:3])
    for study in first:
        made.studies.whole(study)
    made.wait(first[0], lambda view: view.state == "running")
    following = open_bundle(other), engine_of(other)[0]
    swapping = threading.Thread(target=made.studies.swap, args=following)
    swapping.start()
    second = sent(made, *scans[3:])
    time.sleep(0.3)
    assert swapping.is_alive()  # what the old one has begun is not given up
    slow.go.set()
    swapping.join(60)
    calls = slow.calls
    views = [made.wait(study) for study in (*first, *second)]
    assert slow.calls == calls
    assert [view.results[0].status for view in views] == ["ok"] * 5
    bundles = [view.results[0].bundle_sha256 for view in views]
    assert bundles[0] == open_bundle(made.settings.bundle).sha256
    assert bundles[-1] == open_bundle(other).sha256


def test_an_old_result_that_could_not_be_dropped_does_not_stay(
    tiny, phantom_series, tmp_path, monkeypatch
):
    files, state = scan(phantom_series, tmp_path, 21), tmp_path / "state"
    damaged_slice(state, dcmread(files[0]).StudyInstanceUID, "1.2.3")
    real, tries = ResultFolder.drop, []

    def drop(self: ResultFolder, keys: Any) -> None:
        tries.append(keys)
        if len(tries) < 2:
            raise OutputError("cannot be written (No space left on device)")
        real(self, keys)

    monkeypatch.setattr(ResultFolder, "drop", drop)
    with running(tiny, state) as made:
        ((study, _),) = made.store.studies()
        (old,) = made.wait(study).results
        assert old.status == "failed"
        made.send(*files)
        made.wait(study, lambda view: view.state == "done" and view.used == len(files))
        assert len(tries) > 1
        check_promise(made)


def test_a_disk_that_fills_costs_no_result(made, phantom_series, tmp_path, monkeypatch):
    real, tries = KeptEvidence.write, []

    def write(self: KeptEvidence, study: str, evidence: Any) -> None:
        tries.append(study)
        if len(tries) < 2:
            raise OutputError("cannot be written (No space left on device)")
        real(self, study, evidence)

    monkeypatch.setattr(KeptEvidence, "write", write)
    (study,) = sent(made, scan(phantom_series, tmp_path, 20))
    view = made.wait(study, lambda v: v.error != "")
    assert "No space" in view.error
    view = made.wait(study)
    assert (view.results[0].status, view.error) == ("ok", "")
    assert len(tries) == 2


def test_a_stop_waits_for_what_is_due_and_leaves_the_rest(tiny, phantom_series, tmp_path):
    scans = [scan(phantom_series, tmp_path, n) for n in range(2)]
    with running(tiny, tmp_path / "state", quiet_s=500, shortest_quiet_s=500) as made:
        whole, more = sent(made, *scans)
        made.studies.whole(whole)
        start = time.monotonic()
        made.studies.drain(start + 100)
        assert time.monotonic() - start < 90
        assert [made.studies.view(s).state for s in (whole, more)] == ["done", "receiving"]
    with running(tiny, tmp_path / "state") as made:
        made.studies.drain(time.monotonic() + 100)
        assert made.studies.view(more).results[0].status == "ok"
        check_promise(made)


def test_what_did_not_start_is_closed_and_may_be_opened_again(tiny, tmp_path):
    settings = Settings(tiny, tmp_path / "state", memory=1000, least_free=0)
    for _ in range(2):
        made = make(settings)
        with pytest.raises(UsageError):
            made.studies.start()
        made.studies.close()
    assert not list((tmp_path / "state").rglob("*.jsonl"))


def test_a_state_folder_has_one_service(made):
    with pytest.raises(UsageError):
        make(made.settings)


def test_what_is_old_is_removed_with_all_that_was_made_of_it(
    tiny, phantom_series, tmp_path, monkeypatch
):
    monkeypatch.setattr(keeping, "TIDY_S", 0.2)
    monkeypatch.setattr(records, "LEAST_DEAD", 0)
    with running(tiny, tmp_path / "state", keep_s=2.0) as made:
        (study,) = sent(made, scan(phantom_series, tmp_path, 1))
        made.wait(study)
        end = time.monotonic() + 100
        while made.studies.view(study) is not None and time.monotonic() < end:
            time.sleep(0.1)
        assert made.studies.view(study) is None
        assert not list(made.store.studies())
        assert made.studies.figures().done == 0
        results = tmp_path / "state" / "results" / "results.jsonl"
        while results.stat().st_size and time.monotonic() < end:
            time.sleep(0.1)
        assert results.stat().st_size == 0
        (study,) = sent(made, scan(phantom_series, tmp_path, 1))  # it may come again
        assert made.wait(study).results[0].replaces is None
    left = [file for file in (tmp_path / "state").rglob("*") if study in file.name]
    assert {file.parent.name for file in left} <= {"studies", "ledgers", "evidence"}


def test_a_study_whose_ledger_is_damaged_is_not_removed_before_its_time(
    tiny, phantom_series, tmp_path, monkeypatch
):
    monkeypatch.setattr(keeping, "TIDY_S", 0.2)
    with running(tiny, tmp_path / "state", keep_s=3600.0) as made:
        (study,) = sent(made, scan(phantom_series, tmp_path, 1))
        made.wait(study)
        ledger = tmp_path / "state" / "ledgers" / f"{study}.json"
        ledger.write_bytes(b"")
        end = time.monotonic() + 100
        while not ledger.stat().st_size and time.monotonic() < end:
            time.sleep(0.1)
        assert made.wait(study).results[0].status == "ok"
        check_promise(made)


def test_what_a_killed_process_left_half_written_is_removed(tiny, tmp_path):
    state, study = tmp_path / "state", "0" * 32
    left = [
        state / "evidence" / f".{study}.npz.1999999",
        state / "ledgers" / f".{study}.json.1999999",
    ]
    for file in left:
        file.parent.mkdir(parents=True)
        file.write_bytes(b"half")
    with running(tiny, state):
        assert not any(file.exists() for file in left)


def test_evidence_that_is_damaged_is_none(tmp_path):
    for content in (b"", b"PK\3\4 and no archive", b"\x93NUMPY"):
        (tmp_path / "study.npz").write_bytes(content)
        assert KeptEvidence(tmp_path).read("study") is None


def test_over_the_bound_none_is_begun_until_one_is_done(tiny, phantom_series, tmp_path):
    engine, runner = engine_of(tiny)
    scans = [scan(phantom_series, tmp_path, n) for n in range(3)]
    with running(tiny, tmp_path / "state", engine=engine, studies=2) as made:
        runner.go.clear()
        first, _ = sent(made, *scans[:2])
        with pytest.raises(BusyError) as busy:
            made.send(scans[2][0])
        assert busy.value.retry_after_s > 0
        assert [study for study, _ in made.store.studies()] == sorted({first, _})
        made.send(*scans[0])  # of what was begun more is taken
        runner.go.set()
        made.wait_all()
        (third,) = sent(made, scans[2])
        made.wait(third)
        check_promise(made)


def test_threads_and_files_are_as_many_after_many_studies(made, phantom_series, tmp_path):
    def counts() -> tuple[int, int]:
        time.sleep(0.3)
        gc.collect()
        return threading.active_count(), psutil.Process().num_fds()

    scans = [scan(phantom_series, tmp_path, 30 + n) for n in range(11)]
    for each in scans[:4]:  # together they need all processes that may run
        sent(made, each)
    made.wait_all()
    before, known = counts(), made.studies.figures().done
    for each in scans[4:]:
        sent(made, each)
    made.wait_all()
    assert made.studies.figures().done == known + 7
    assert {view.state for view in made.studies.list(100)} == {"done"}
    first = made.studies.list(5)
    assert made.studies.list(5, first[-1].id)[0].id == made.studies.list(6)[-1].id
    threads, files = counts()
    assert threads <= before[0]
    assert files <= before[1]


@pytest.mark.slow
def test_a_study_that_breaks_the_engine_each_time_holds_up_no_other(tiny, phantom_cohort, tmp_path):
    bad, good = (entry.scan for entry in read_cohort(phantom_cohort).entries)
    engine, runner = engine_of(tiny)
    real, hated = runner.infer, []

    def infer(batch: np.ndarray) -> Any:
        mean = float(batch.mean())
        if hated and mean == hated[0]:
            raise RuntimeError("the device is lost")
        return real(batch)

    def first(batch: np.ndarray) -> Any:
        hated.append(float(batch.mean()))
        return infer(batch)

    runner.infer = first  # type: ignore[method-assign]
    with running(tiny, tmp_path / "state", engine=engine) as made:
        (broken,) = sent(made, scan(bad, tmp_path, 1))
        made.wait(broken, lambda view: view.error != "")
        runner.infer = infer  # type: ignore[method-assign]
        studies = sent(made, *(scan(good, tmp_path, 2 + n) for n in range(4)))
        assert [made.wait(study).results[0].status for study in studies] == ["ok"] * 4
        view = made.studies.view(broken)
        assert view.state != "done"
        assert "the device is lost" in view.error
        hated.clear()
        assert made.wait(broken).results[0].status == "ok"
        check_promise(made)
