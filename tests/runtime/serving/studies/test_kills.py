"""A process that is killed at any moment: what it acknowledged counts in exactly one result."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from darnet_trt.runtime.serving.studies.fates import sop_uid_of
from tests.runtime.prediction.pipeline.studies import write_study
from tests.runtime.serving.studies.process import STEPS
from tests.runtime.serving.studies.service import check_promise, damaged_slice, running
from tests.runtime.serving.studies.test_studies import evidence_of

ROOT = Path(__file__).parents[4]


def start(*words: object) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.runtime.serving.studies.process", *map(str, words)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def send(process: subprocess.Popen[str], files: Sequence[Path]) -> list[Path]:
    """Send files one by one; return those that were acknowledged before the process ended."""
    assert process.stdin is not None
    assert process.stdout is not None
    taken = []
    for file in files:
        try:
            process.stdin.write(f"{file}\n")
            process.stdin.flush()
        except BrokenPipeError:
            break
        if process.stdout.readline() != f"{file}\n":
            break
        taken.append(file)
    return taken


def end(process: subprocess.Popen[str]) -> int:
    assert process.stdin is not None
    process.stdin.close()
    code = process.wait(120)
    assert process.stdout is not None
    process.stdout.close()
    return code


def check(bundle: Path, state: Path, files: Sequence[Path], used: Sequence[Path]) -> None:
    """Let the rest be done, and compare with what was acknowledged."""
    uids = {file: sop_uid_of(file) for file in files}
    with running(bundle, state, objects=("sr", "refusal")) as made:
        made.wait_all()
        check_promise(made)
        every = [one for s, _ in made.store.studies() for one in made.studies.instances(s)]
        listed = sorted(one.sop_uid for one in every)
        assert listed == sorted({uids[file] for file in files})
        assert {one.sop_uid for one in every if one.fate == "used"} == {uids[f] for f in used}
        for study, _ in made.store.studies():
            own = {o.sop_uid for o in made.studies.instances(study) if o.fate == "used"}
            if report := made.studies.object(study, "sr"):
                assert evidence_of(report) == own
            else:
                assert not own


SOON = ("before the ledger",)


@pytest.mark.parametrize(
    "step", [pytest.param(s, marks=() if s in SOON else pytest.mark.slow) for s in STEPS]
)
def test_a_kill_at_each_step_of_a_commit(tiny, phantom_series, tmp_path, step):
    """The study's first file cannot be read; the others give a result under another key."""
    files = sorted(write_study(phantom_series, tmp_path / "scan", 1).iterdir())
    state = tmp_path / "state"
    lost = damaged_slice(state, "2.25.1", "2.25.1.666")
    if step == "before the old one is dropped":
        assert end(start(tiny, state)) == 0
    killed = start(tiny, state, step)
    assert send(killed, files) == files
    assert end(killed) == -9
    check(tiny, state, [lost, *files], files)


def kill_at_random(
    bundle: Path, scan: Path, folder: Path, *, kills: int, studies: int, seed: int
) -> None:
    chance = random.Random(seed)
    scans = [write_study(scan, folder / f"scan{n}", n + 1) for n in range(studies)]
    files = [file for one in scans for file in one.iterdir()]
    chance.shuffle(files)
    files += chance.sample(files, len(files) // 10)
    left, taken, state = list(files), [], folder / "state"
    for _ in range(kills):
        process = start(bundle, state)
        part = left[: chance.randrange(len(files) // kills + 2)]
        taken += send(process, part)
        left = left[len(part) :]
        time.sleep(chance.uniform(0, 1.5))
        process.kill()
        end(process)
    last = start(bundle, state)
    taken += send(last, left)
    assert end(last) == 0
    assert sorted(taken) == sorted(files)
    check(bundle, state, files, files)


@pytest.mark.slow
def test_kills_at_random_moments(tiny, phantom_series, tmp_path):
    kill_at_random(tiny, phantom_series, tmp_path, kills=3, studies=2, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 5))
def test_many_kills_at_random_moments(tiny, phantom_series, tmp_path, seed):
    kill_at_random(tiny, phantom_series, tmp_path, kills=12, studies=8, seed=seed)
