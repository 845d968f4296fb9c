"""Whatever process is killed, whenever: each study has one result, and nothing stays behind."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
from collections import Counter
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from darnet_trt.bundle.reading import open_bundle
from darnet_trt.runtime.prediction.pipeline import finding, loading
from darnet_trt.runtime.prediction.predict import predict
from darnet_trt.scan.isolated import MODULE
from tests.runtime.prediction.pipeline import studies
from tests.runtime.prediction.pipeline.studies import write_study
from tests.scan import deaths


@pytest.fixture(scope="module")
def archive(phantom_series, tmp_path_factory) -> Path:
    """Six studies."""
    root = tmp_path_factory.mktemp("archive")
    for number in range(6):
        write_study(phantom_series, root / f"study-{number}", number)
    return root


def children() -> list[psutil.Process]:
    found = []
    for process in psutil.Process().children():
        with suppress(psutil.NoSuchProcess):  # it has been killed
            found += [process] if MODULE in process.cmdline() else []
    return found


def test_children_that_are_killed_at_any_moment_cost_at_most_their_scan(tiny, archive):
    done = threading.Event()
    chance = random.Random(5)

    def kill() -> None:
        for _ in range(4):  # fewer than there are studies, however slow the machine is
            if done.wait(chance.uniform(0.05, 0.5)):
                return
            for child in children()[:1]:
                with suppress(psutil.NoSuchProcess):
                    child.kill()

    killing = threading.Thread(target=kill, daemon=True)
    killing.start()
    found = list(predict(open_bundle(tiny), archive))
    done.set()
    killing.join(30)
    assert Counter(r.key for r in found) == {f"study:2.25.{n}": 1 for n in range(6)}
    assert {r.code for r in found} <= {"", "reading-killed"}
    assert any(r.status == "ok" for r in found)


@pytest.mark.parametrize("step", ["examine", "gather"])
def test_a_child_killed_once_while_it_looks_at_a_folder_costs_nothing(
    tiny, archive, tmp_path, monkeypatch, step
):
    monkeypatch.setattr(finding, step, getattr(studies, f"{step}_or_die"))
    root = tmp_path / "archive"
    for name in ("study-1", "study-2"):
        (root / name).mkdir(parents=True)
        for file in (archive / name).iterdir():
            (root / name / file.name).hardlink_to(file)
    (root / "study-1" / "once").write_text("text")
    found = list(predict(open_bundle(tiny), root))
    assert [r.status for r in found if r.study_uid] == ["ok", "ok"]


def test_a_file_that_ends_each_child_is_a_failed_result_and_its_folder_is_read(
    tiny, archive, tmp_path, monkeypatch
):
    monkeypatch.setattr(finding, "examine", studies.examine_or_die)
    root = tmp_path / "archive"
    root.mkdir()
    for file in (archive / "study-1").iterdir():
        (root / file.name).hardlink_to(file)
    (root / "poison").write_text("text")
    found = {r.scan: r for r in predict(open_bundle(tiny), root)}
    assert found.pop("poison").code == "reading-crashed"
    assert [(r.status, r.series.slices) for r in found.values()] == [
        ("ok", len(list((archive / "study-1").iterdir())))
    ]


def test_a_folder_whose_gathering_ends_each_child_is_a_failed_result(
    tiny, archive, tmp_path, monkeypatch
):
    monkeypatch.setattr(finding, "gather", studies.gather_or_die)
    for name, target in (("poison", "study-1"), ("well", "study-2")):
        (tmp_path / "archive" / name).mkdir(parents=True)
        for file in (archive / target).iterdir():
            (tmp_path / "archive" / name / file.name).hardlink_to(file)
    found = {r.scan: r.code for r in predict(open_bundle(tiny), tmp_path / "archive")}
    assert found == {"poison": "reading-crashed", "well": ""}


def test_what_needs_more_than_its_share_runs_alone_with_all(tiny, archive, monkeypatch):
    monkeypatch.setattr(loading, "load", deaths.use_a_gigabyte_first)
    found = list(predict(open_bundle(tiny), archive, workers=2, memory=1_800_000_000))
    assert [r.status for r in found] == ["ok"] * 6


def test_leaving_early_ends_every_child_at_once(tiny, archive):
    results = predict(open_bundle(tiny), archive)
    next(results)
    results.close()
    assert not children()


SCRIPT = """
import sys
from darnet_trt import open_bundle, predict
for number, result in enumerate(predict(open_bundle(sys.argv[1]), sys.argv[2])):
    print(result.key, flush=True)
    if number == 1:
        sys.stdin.read()
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_the_end_of_the_parent_leaves_no_process_and_no_file(tiny, archive, tmp_path, number):
    (tmp_path / "script.py").write_text(SCRIPT)
    (tmp_path / "tmp").mkdir()
    shared = set(Path("/dev/shm").iterdir())
    pipe = subprocess.PIPE
    parent = subprocess.Popen(
        [sys.executable, tmp_path / "script.py", tiny, archive],
        stdin=pipe,
        stdout=pipe,
        stderr=pipe,
        env={**os.environ, "TMPDIR": str(tmp_path / "tmp")},
    )
    assert parent.stdout is not None
    parent.stdout.readline()
    parent.stdout.readline()
    known = psutil.Process(parent.pid).children()
    assert known
    parent.send_signal(number)
    parent.communicate(timeout=60)
    _, left = psutil.wait_procs(known, timeout=60)
    assert not left
    assert not list((tmp_path / "tmp").iterdir())
    assert set(Path("/dev/shm").iterdir()) <= shared
