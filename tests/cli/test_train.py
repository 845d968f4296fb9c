"""`darnet-trt train` as a user sees it."""

import csv
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from fnmatch import fnmatch

import pytest

from darnet_trt.evaluation.seen import identity, patient_id_of
from darnet_trt.machine.files import sole_writer
from darnet_trt.phantom import CohortPlan, write_cohort
from darnet_trt.scan import load_study
from darnet_trt.scan.cohorts import PAPER_CLASSES, read_cohort
from darnet_trt.scan.discovery import find_study
from darnet_trt.training.checkpoint import load_checkpoint
from tests.full_disk import files_up_to

QUICK = ("--epochs", "1", "--threads", "1")
HALF = ("--resolution", "half")


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    out = tmp_path_factory.mktemp("train") / "cohort"
    write_cohort(
        CohortPlan(scans=15, seed=0, format="nifti", matrix=48, slices=(30, 30)), out, processes=1
    )
    return out


def test_trains(cohort, tmp_path, command):
    done = command("train", cohort, "-o", tmp_path / "run", "--json", *QUICK, *HALF)
    assert done.returncode == 0, done.stderr
    metrics = json.loads(done.stdout)
    assert metrics["trained_on"].endswith("(darnet-trt phantom, seed 0); not real patients")
    assert 0 <= metrics["held_out"]["accuracy"] <= 1
    assert "epoch 1/1" in done.stderr
    files = {p.name for p in (tmp_path / "run").iterdir()}
    assert files == {
        "checkpoint.pt",
        "held-out.csv",
        "history.csv",
        "inputs",
        "metrics.json",
        "split.csv",
    }
    checkpoint = load_checkpoint(tmp_path / "run")
    assert checkpoint.phantoms_only
    assert metrics["temperature"] == checkpoint.temperature > 0
    assert {"log_loss", "calibrated_log_loss"} <= set(metrics["held_out"])
    assert checkpoint.familiarity.threshold > 0
    assert checkpoint.preprocessing.resolution == "half"
    assert 5 < checkpoint.coarsest_pixel_mm < 12, "a chest in 48 pixels"
    assert_only_the_training_side_is_recorded(checkpoint, cohort, tmp_path / "run")
    again = command("train", cohort, "-o", tmp_path / "run", *QUICK, *HALF)
    assert again.returncode == 2
    assert again.stderr.splitlines()[-1].startswith(f"darnet-trt: {tmp_path / 'run'}: ")


def assert_only_the_training_side_is_recorded(checkpoint, cohort, run):
    with (run / "split.csv").open(newline="") as file:
        sides = {row["scan"]: row["side"] for row in csv.DictReader(file)}
    assert len(checkpoint.training_scans.scans) == [*sides.values()].count("train")
    table = read_cohort(cohort)
    for entry in table.entries:
        study = find_study(entry.scan)
        choice, loaded = load_study(study, checkpoint.preprocessing, identify=True)
        who = identity(table, entry.patient, patient_id_of(study, choice), loaded.hashes)
        trained = sides[str(entry.scan.relative_to(cohort))] == "train"
        assert checkpoint.training_scans.had(who) is trained
        assert checkpoint.training_scans.had(replace(who, patient="renamed")) is trained


def test_ends_with_a_table_of_the_held_out_scans(cohort, tmp_path, command):
    with (cohort / "cohort.csv").open(newline="") as rows, (tmp_path / "my.csv").open("w") as file:
        lines = [
            [row["patient"], cohort / row["scan"], row["label"]] for row in csv.DictReader(rows)
        ]
        csv.writer(file).writerows([["patient", "scan", "label"], *lines])
    done = command("train", tmp_path / "my.csv", "-o", tmp_path / "run", "-q", *QUICK)
    assert (done.returncode, done.stderr) == (0, "")
    held_out = json.loads((tmp_path / "run" / "metrics.json").read_text())["held_out"]
    rows = [line.split() for line in done.stdout.splitlines()]
    for label in PAPER_CLASSES:
        assert [label, *(str(held_out[f"{n}_{label}"]) for n in ("scans", "correct"))] in rows
    assert f"{held_out['accuracy']:.3f}" in done.stdout
    assert f"{held_out['auc']:.3f}" in done.stdout
    assert done.stdout.rstrip().endswith(str(tmp_path / "run"))
    with (tmp_path / "run" / "split.csv").open(newline="") as file:
        assert {row["scan"] for row in csv.DictReader(file)} == {str(line[1]) for line in lines}


def test_two_at_once_into_one_folder(cohort, tmp_path, command):
    with sole_writer(tmp_path / "run"):
        done = command("train", cohort, "-o", tmp_path / "run", "-q", *QUICK)
    assert done.returncode == 2
    assert done.stderr.startswith(f"darnet-trt: {tmp_path / 'run'}: another darnet-trt")
    assert done.stderr.count("\n") == 1


def test_a_broken_scan_is_left_out_and_named(cohort, tmp_path, command):
    shutil.copytree(cohort, tmp_path / "cohort")
    broken = next((tmp_path / "cohort").glob("P*/*.nii.gz"))
    broken.write_bytes(broken.read_bytes()[:2000])
    done = command("train", tmp_path / "cohort", "-o", tmp_path / "run", *QUICK)
    assert done.returncode == 1, done.stderr
    assert str(broken) in done.stderr
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert [row["scan"] for row in metrics["unusable_scans"]] == [str(broken)]
    assert f"{broken.parent.name}/" in (tmp_path / "run" / "split.csv").read_text()


def test_class_without_a_usable_scan(cohort, tmp_path, command):
    table = (cohort / "cohort.csv").read_text().splitlines()
    rows = [
        line if "normal" not in line else f"gone{i},g{i},normal" for i, line in enumerate(table)
    ]
    shutil.copytree(cohort, tmp_path / "cohort")
    (tmp_path / "cohort" / "cohort.csv").write_text("\n".join(rows))
    done = command("train", tmp_path / "cohort", "-o", tmp_path / "run", *QUICK)
    assert done.returncode == 2
    assert "label normal" in done.stderr
    assert not (tmp_path / "run" / "checkpoint.pt").exists()


def test_a_share_that_cannot_be_held_out(cohort, tmp_path, command):
    done = command("train", cohort, "-o", tmp_path / "run", "--held-out", "1.5")
    assert done.returncode == 2
    assert done.stderr.startswith("darnet-trt: --held-out: ")
    assert "1.5" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_no_run_among_the_files_of_a_cohort(cohort, command):
    before = sorted(cohort.iterdir())
    done = command("train", cohort, "-o", cohort)
    assert done.returncode == 2
    assert done.stderr.startswith(f"darnet-trt: {cohort}: is a cohort")
    assert sorted(cohort.iterdir()) == before


@pytest.mark.parametrize(("room", "file"), [(20_000, "inputs/*.npz"), (500_000, "state.pt")])
def test_a_disk_without_room(cohort, tmp_path, command, room, file):
    with files_up_to(room):
        done = command("train", cohort, "-o", tmp_path / "run", *QUICK)
    assert done.returncode == 2
    last = done.stderr.splitlines()[-1]
    assert fnmatch(last, f"darnet-trt: {tmp_path}/run/{file}: * (File too large); *")
    assert [path for path in tmp_path.rglob("*") if path.name.startswith(".")] == []


def test_no_cohort_is_reported_before_torch_is_imported(tmp_path, command):
    program = (
        "import sys; from darnet_trt.cli.main import main\n"
        "try:\n    main()\nfinally:\n    assert 'torch' not in sys.modules\n"
    )
    words = ["train", tmp_path, "-o", tmp_path / "run"]
    done = subprocess.run(
        [sys.executable, "-c", program, *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith(f"darnet-trt: {tmp_path / 'cohort.csv'}: ")
    assert done.stderr.count("\n") == 1


def test_run_that_cannot_be_written(cohort, command):
    done = command("train", cohort, "-o", "/proc/no/run", *QUICK)
    assert done.returncode == 2
    assert done.stderr.startswith("darnet-trt: /proc/no/run: ")
    assert done.stderr.count("\n") == 1
