"""`darnet-trt explain`, with networks that nobody trained."""

import csv

import numpy as np
import pytest
import torch
from PIL import Image

from darnet_trt.evaluation.seen import TrainingScans, identity
from darnet_trt.phantom import CohortPlan, read_regions, write_cohort
from darnet_trt.scan import load_study
from darnet_trt.scan.cohorts import read_cohort, study_of
from darnet_trt.scan.preprocessing import NEW
from darnet_trt.training.ablation.explanation.regions import on_input
from darnet_trt.training.ablation.paper import VARIANTS
from darnet_trt.training.checkpoint import Checkpoint, save_checkpoint
from darnet_trt.training.model import DARNet, Network

SIZE = (9, 33, 33)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    out = tmp_path_factory.mktemp("explained") / "cohort"
    plan = CohortPlan(scans=7, seed=1, matrix=48, slices=(30, 32), format="nifti", lesions=True)
    write_cohort(plan, out, processes=1)
    return out


@pytest.fixture(scope="module")
def ablated(cohort, tmp_path_factory):
    """The four networks of a fold; the first patient trained them."""
    out = tmp_path_factory.mktemp("explained") / "ablated"
    table = read_cohort(cohort)
    trained = TrainingScans.of([identity(table, table.entries[0].patient, "", ())])
    for variant in VARIANTS:
        torch.manual_seed(0)
        network = Network(attention=variant, width=4, input_size=SIZE)
        spec = NEW.model_copy(update={"size": SIZE})
        run = out / "runs" / f"{variant}-fold0-seed0"
        weights = DARNet(network).state_dict()
        made = Checkpoint(network, spec, "nothing", {}, weights, training_scans=trained)
        save_checkpoint(made, run)
    return out


def test_draws_the_four_networks_and_scores_them_on_the_lesions(command, ablated, cohort, tmp_path):
    done = command("explain", ablated, cohort, "-o", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "out" / "maps.png") as page:
        assert page.width > 5 * 224
    assert list((tmp_path / "out").glob("gates-*.png"))
    table = read_cohort(cohort)
    ill = {
        table.name(e) for e in table.entries
        if e.label != "normal" and e.patient != table.entries[0].patient
    }  # fmt: skip
    with (tmp_path / "out" / "lesions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["scan"] for row in rows} >= ill
    assert {row["attention"] for row in rows} == set(VARIANTS)
    for row in rows:
        assert 0 < float(row["lesions_of_lungs"]) < 1
        assert (row["gates_stage_1"] == "") is (row["attention"] in ("none", "channel"))
    assert "hottest cell" in done.stdout


def test_one_run_and_a_scan_by_name(command, ablated, cohort, tmp_path):
    table = read_cohort(cohort)
    name = table.name(table.entries[-1])
    run = ablated / "runs" / "none-fold0-seed0"
    done = command("explain", run, cohort, "-o", tmp_path / "out", "--scan", name)
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "out" / "maps.png") as page:
        assert page.width < 3 * 240
    assert not list((tmp_path / "out").glob("gates-*.png")), "it has no depth attention"


def test_a_cohort_of_ones_own_may_hold_a_folder_called_lesions(command, ablated, cohort, tmp_path):
    table = read_cohort(cohort)
    (tmp_path / "own" / "lesions").mkdir(parents=True)
    entry = next(e for e in table.entries if e.label == "covid-19")
    line = f"{entry.scan},nobody,{entry.label}"
    (tmp_path / "own" / "cohort.csv").write_text(f"scan,patient,label\n{line}\n")
    run = ablated / "runs" / "none-fold0-seed0"
    done = command("explain", run, tmp_path / "own", "-o", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "maps.png").exists()
    assert not (tmp_path / "out" / "lesions.csv").exists()


def test_a_scan_that_trained_a_network_under_another_name_is_left_out(command, cohort, tmp_path):
    table = read_cohort(cohort)
    copy, other, *_ = (e for e in table.entries if e.label == "covid-19")
    spec = NEW.model_copy(update={"size": SIZE})
    slices = load_study(study_of(copy), spec, identify=True)[1].hashes
    trained = TrainingScans.of([identity(table, "somebody", "", slices)])
    network = Network(attention="none", width=4, input_size=SIZE)
    weights = DARNet(network).state_dict()
    made = Checkpoint(network, spec, "nothing", {}, weights, training_scans=trained)
    save_checkpoint(made, tmp_path / "run")
    names = ("--scan", table.name(copy), "--scan", table.name(other))
    done = command("explain", tmp_path / "run", cohort, "-o", tmp_path / "out", *names)
    assert done.returncode == 1, done.stderr
    (line,) = (line for line in done.stderr.splitlines() if line.startswith("left out"))
    assert table.name(copy) in line


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--fold", "7"], "none-fold7-seed0"),
        (["--scan", "nowhere"], "nowhere"),
        (["--scan", "FIRST"], "not seen"),
    ],
)
def test_what_is_not_there_is_said_in_one_line(command, ablated, cohort, tmp_path, words, says):
    table = read_cohort(cohort)
    words = [table.name(table.entries[0]) if w == "FIRST" else w for w in words]
    done = command("explain", ablated, cohort, "-o", tmp_path / "out", *words)
    assert done.returncode == 2
    assert says in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_the_regions_lie_on_the_input_as_the_scan_does(cohort):
    """Lungs are dark, and what surrounds them is not."""
    entry = read_cohort(cohort).entries[0]
    spec = NEW.model_copy(update={"size": (25, 40, 40)})
    _, loaded = load_study(study_of(entry), spec)
    regions = on_input(read_regions(cohort, entry.scan), spec, loaded)
    assert regions.lungs.shape == loaded.array.shape[1:]
    lungs = regions.lungs > 0.9
    healthy = loaded.array[0][lungs & (regions.lesions == 0)]
    assert np.median(healthy) < 0.45
    rim = (regions.lungs > 0) & (regions.lungs < 0.1)
    assert np.median(loaded.array[0][rim]) > np.median(healthy) + 0.3
    assert regions.lungs[0].sum() < regions.lungs[12].sum()
