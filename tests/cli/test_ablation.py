"""`darnet-trt ablation` as a user sees it, killed in the middle."""

import re
import signal
import subprocess
import time

import pytest

from darnet_trt.phantom import CohortPlan, write_cohort
from tests.cli.command import COMMAND, darnet_trt


def cohort_of(scans, folder):
    plan = CohortPlan(scans=scans, seed=0, format="nifti", matrix=48, slices=(30, 30))
    write_cohort(plan, folder / "cohort", processes=1)
    return folder / "cohort"


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    return cohort_of(4, tmp_path_factory.mktemp("ablation"))


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--folds", "40"], "40 folds"),
        (["--folds", "1"], "--folds"),
        (["--folds", "nowhere.csv"], "nowhere.csv"),
        (["--test", "1.5"], "1.5"),
        (["--classes", "one"], "--classes"),
        (["--classes", ""], "--classes"),
    ],
)
def test_what_cannot_work_is_refused_in_one_line(command, cohort, tmp_path, words, says):
    done = command("ablation", cohort, "-o", tmp_path / "out", *words)
    assert done.returncode == 2
    assert says in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--learning-rate", 0), "--learning-rate: 0 is not above 0"),
        (("--batch", 4), "a batch of 4 is more than the training side of fold 0 has (3 scans)"),
        (("--batch", 2, "--accumulate", 3), "--batch: 2 scans do not divide into 3 equal parts"),
        (("--batch", 2, "--precision", "fp16", "--device", "cpu"), "--precision"),
    ],
)
def test_a_recipe_that_cannot_be_is_refused_before_a_scan_is_read(command, tmp_path, words, says):
    """None of the scans is there."""
    rows = [f"{label}{n},{label}{n},{label}" for label in ("ncp", "cp", "normal") for n in (0, 1)]
    (tmp_path / "cohort.csv").write_text("\n".join(["scan,patient,label", *rows]))
    done = command("ablation", tmp_path, "-o", tmp_path / "out", "--folds", 2, *words)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert says in done.stderr
    assert not (tmp_path / "out").exists()


def test_no_ablation_among_the_files_of_a_cohort(command, cohort):
    before = sorted(cohort.iterdir())
    done = command("ablation", cohort, "-o", cohort)
    assert done.returncode == 2
    assert sorted(cohort.iterdir()) == before


@pytest.mark.slow
def test_a_killed_ablation_gives_the_same_predictions(tmp_path):
    cohort = cohort_of(12, tmp_path)
    words = ("--folds", "2", "--epochs", "1", "--threads", "1")
    whole = darnet_trt("ablation", cohort, "-o", tmp_path / "whole", *words)
    assert whole.returncode == 0, whole.stderr
    assert re.search(r"training 8/8 .* 0 s left", whole.stderr)
    for seconds in (6, 12):
        running = subprocess.Popen(
            [COMMAND, "ablation", str(cohort), "-o", str(tmp_path / "killed"), *words],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(seconds)
        running.send_signal(signal.SIGKILL)
        running.wait()
    done = darnet_trt("ablation", cohort, "-o", tmp_path / "killed", *words)
    assert done.returncode == 0, done.stderr
    for name in ("predictions.csv", "tables.md", "tables.csv", "ablation.json"):
        one, other = ((tmp_path / out / name).read_bytes() for out in ("whole", "killed"))
        assert one == other, name
