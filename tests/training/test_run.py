"""A run: from weights, with more epochs, on given sides, with inputs that runs share."""

import csv
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from darnet_trt.errors import UsageError
from darnet_trt.phantom import CohortPlan, write_cohort
from darnet_trt.scan.cohorts import Entry, Sides, read_cohort
from darnet_trt.training import run as run_module
from darnet_trt.training.checkpoint import load_checkpoint
from darnet_trt.training.fitting import state
from darnet_trt.training.fitting.processes import Processes
from darnet_trt.training.fitting.records import sides_of_patients
from darnet_trt.training.presets import Preset
from darnet_trt.training.recipe import Recipe
from darnet_trt.training.run import train

PRESET = Preset(width=4, input_size=(8, 16, 16), epochs=1)
RECIPE = Recipe(epochs=2, batch=2)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "cohort"
    plan = CohortPlan(scans=9, seed=0, format="nifti", matrix=48, slices=(30, 30))
    write_cohort(plan, out, processes=1)
    return read_cohort(out)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    return tmp_path_factory.mktemp("inputs")


@pytest.fixture(scope="module")
def first(cohort, inputs, tmp_path_factory):
    """A finished run."""
    run = tmp_path_factory.mktemp("first") / "run"
    train(cohort, run, PRESET, RECIPE, inputs=inputs, held_out=0.34, shortcuts=lambda: ("matrix",))
    return run


def metrics(run):
    return json.loads((run / "metrics.json").read_text())


def rows(file):
    return list(csv.DictReader(file.read_text().splitlines()))


def test_the_run_says_how_it_was_trained(first, inputs):
    assert Recipe.model_validate(metrics(first)["recipe"]) == RECIPE
    assert load_checkpoint(first).shortcuts == ("matrix",)
    assert not (first / "inputs").exists()
    assert any(inputs.iterdir())


def test_held_out_scans_have_their_scores_in_a_table(first):
    scores = rows(first / "held-out.csv")
    split = {row["scan"]: row for row in rows(first / "split.csv")}
    assert {row["scan"] for row in scores} == {
        scan for scan, row in split.items() if row["side"] == "held-out"
    }
    for row in scores:
        chance = np.array([float(v) for k, v in row.items() if k.startswith("probability_")])
        logits = np.array([float(v) for k, v in row.items() if k.startswith("logit_")])
        assert chance.sum() == pytest.approx(1, abs=1e-4)
        assert chance.argmax() == logits.argmax()
        assert row["label"] == split[row["scan"]]["label"]
    right = sum(row["label"] == row["predicted"] for row in scores)
    assert right / len(scores) == pytest.approx(metrics(first)["held_out"]["accuracy"])


def test_sides_are_kept_to(cohort, inputs, tmp_path):
    entries = cohort.entries
    sides = Sides(entries[:5], entries[5:7], entries[7:])
    train(cohort, tmp_path, PRESET, RECIPE, sides=sides, inputs=inputs)
    found = {row["scan"]: row["side"] for row in rows(tmp_path / "split.csv")}
    for side, name in ((sides.train, "train"), (sides.held_out, "held-out"), (sides.test, "test")):
        assert {found[cohort.name(entry)] for entry in side} == {name}
    assert len(load_checkpoint(tmp_path).training_scans.scans) == 5
    of_patients = sides_of_patients(tmp_path)
    assert of_patients == {e.patient: found[cohort.name(e)] for e in entries}
    assert sides_of_patients(tmp_path / "checkpoint.pt") == of_patients
    for damaged in ("scan,patient\na,b\n", "", "scan,patient,label,side\na,b,normal,te", "a,b\n"):
        (tmp_path / "split.csv").write_text(damaged)
        with pytest.raises(UsageError, match=r"split\.csv: does not say"):
            sides_of_patients(tmp_path)
    (tmp_path / "split.csv").unlink()
    assert sides_of_patients(tmp_path) is None


def test_a_cohort_that_holds_nobody_out_is_trained_on_whole(cohort, inputs, tmp_path):
    whole = replace(cohort, entries=tuple(replace(e, side="train") for e in cohort.entries))
    told = []
    train(whole, tmp_path / "run", PRESET, RECIPE, inputs=inputs, tell=told.append)
    assert {row["side"] for row in rows(tmp_path / "run" / "split.csv")} == {"train"}
    assert told == ["the cohort names the sides and holds no patient out, so nothing is measured"]
    sides = Sides(tuple(e for e in cohort.entries if e.label != "normal"), cohort.entries)
    with pytest.raises(UsageError, match="all scans of the class normal are on the side held-out"):
        train(cohort, tmp_path / "more", PRESET, RECIPE, inputs=inputs, sides=sides)


def test_more_epochs_for_a_finished_run(cohort, inputs, tmp_path):
    options = {"inputs": inputs, "held_out": 0.34}
    train(cohort, tmp_path, PRESET, RECIPE, **options)
    before = (tmp_path / "history.csv").read_text()
    with pytest.raises(UsageError, match="finished run"):
        train(cohort, tmp_path, PRESET, RECIPE, **options)
    more = RECIPE.model_copy(update={"epochs": 4})
    with pytest.raises(UsageError, match="batch 2, not 3"):
        train(cohort, tmp_path, PRESET, more.model_copy(update={"batch": 3}), **options)
    with pytest.raises(UsageError, match="extent lungs, not scan"):
        train(cohort, tmp_path, PRESET, more, extent="scan", **options)

    class Interruption(BaseException):
        pass

    def stop(epoch):
        if epoch.epoch == 3:
            raise Interruption

    with pytest.raises(Interruption):
        train(cohort, tmp_path, PRESET, more, report=stop, **options)
    seen = []
    train(cohort, tmp_path, PRESET, more, report=seen.append, **options)
    assert [epoch.epoch for epoch in seen] == [1, 2, 3, 4]
    assert (tmp_path / "history.csv").read_text().startswith(before)
    assert [epoch.learning_rate for epoch in seen[2:]] == pytest.approx([1e-3, 0.5e-3])
    assert metrics(tmp_path)["recipe"]["epochs"] == 4


@pytest.mark.parametrize("killed", ["save_checkpoint", "remove_state", "assess"])
def test_more_epochs_for_a_run_that_was_killed_at_its_end(
    cohort, inputs, tmp_path, monkeypatch, killed
):
    class Killed(BaseException):
        pass

    def kill(*arguments):
        raise Killed

    options = {"inputs": inputs, "held_out": 0.34}
    few = RECIPE.model_copy(update={"best": True})
    more = few.model_copy(update={"epochs": 3})
    with monkeypatch.context() as patched:
        patched.setattr(run_module, killed, kill)
        with pytest.raises(Killed):
            train(cohort, tmp_path / "killed", PRESET, few, **options)
    other = more.model_copy(update={"batch": 3})
    with pytest.raises(UsageError, match="batch 2, not 3"):
        train(cohort, tmp_path / "killed", PRESET, other, **options)
    seen = []
    went_on = train(cohort, tmp_path / "killed", PRESET, more, report=seen.append, **options)
    assert [epoch.epoch for epoch in seen] == [1, 2, 3]
    train(cohort, tmp_path / "whole", PRESET, few, **options)
    whole = train(cohort, tmp_path / "whole", PRESET, more, **options)
    for name, value in whole.state_dict.items():
        assert torch.equal(went_on.state_dict[name], value)
    assert not list((tmp_path / "killed").glob("state*"))


@pytest.mark.parametrize(
    ("change", "held_out", "said"),
    [
        ({"batch": 3}, 0.34, "batch 2, not 3"),
        ({}, 0.34, "finished run"),
        ({"epochs": 3, "batch": 9}, 0.34, r"a batch of 9 is more than the training side has \("),
        ({"epochs": 3, "patience": 1}, 0, "--patience: goes by the held-out scans"),
        ({"epochs": 3, "best": True}, 0, "--best: goes by the held-out scans"),
        ({"epochs": 3, "accumulate": 4}, 0.34, "do not divide into 4"),
        ({"epochs": 3, "precision": "fp16"}, 0.34, "--precision"),
    ],
)
def test_what_cannot_work_is_refused_before_a_scan_is_read(
    cohort, first, tmp_path, change, held_out, said
):
    run = shutil.copytree(first, tmp_path / "run")
    if said == "batch 2, not 3":  # an interrupted run in place of the finished one
        (run / "checkpoint.pt").unlink()
        configuration = metrics(run)["configuration"]
        content = dict.fromkeys(state._KEYS) | {"configuration": configuration, "history": []}
        torch.save(content | {"before": 0}, run / "state.pt")
    before = sorted(run.iterdir())
    recipe = RECIPE.model_copy(update=change)
    with pytest.raises(UsageError, match=said):
        train(
            cohort, run, PRESET, recipe, held_out=held_out, shortcuts=pytest.fail,
            reading=pytest.fail,
        )  # fmt: skip
    assert sorted(run.iterdir()) == before


def test_only_the_first_process_runs_the_trained_network_over_the_scans(
    cohort, inputs, tmp_path, monkeypatch
):
    told = []

    class First(Processes):
        def from_leader(self, make):
            told.append(make())
            return told[-1]

    class Second(Processes):
        leads = False

        def from_leader(self, make):
            return told.pop(0)

    options = {"inputs": inputs, "held_out": 0.34}
    first = train(cohort, tmp_path / "run", PRESET, RECIPE, group=First(), **options)
    assert len(told) == 2, "the scans, and what the held-out ones say"
    monkeypatch.setattr(run_module, "assess", None)
    second = train(cohort, tmp_path / "other", PRESET, RECIPE, group=Second(), **options)
    assert second.temperature == first.temperature
    assert not (tmp_path / "other").exists()


def test_fine_tuning_starts_from_the_weights(cohort, inputs, first, tmp_path):
    start = load_checkpoint(first)
    slow = RECIPE.model_copy(update={"epochs": 1, "learning_rate": 1e-9})
    slow = slow.model_copy(update={"frozen_normalization": True})
    options = {"inputs": inputs, "held_out": 0.34, "start": start}
    tuned = train(cohort, tmp_path / "tuned", PRESET, slow, **options)
    for name, value in start.state_dict.items():
        torch.testing.assert_close(tuned.state_dict[name], value, atol=1e-6, rtol=0)
    assert tuned.shortcuts == ("matrix",)
    assert start.trained_on in tuned.trained_on.split("before that on ")[1]
    assert start.training_scans.patients <= tuned.training_scans.patients
    assert len(tuned.training_scans.scans) == 2 * len(start.training_scans.scans)
    headless = train(cohort, tmp_path / "head", PRESET, slow, new_head=True, **options)
    for name, value in start.state_dict.items():
        same = torch.allclose(headless.state_dict[name], value, atol=1e-6)
        assert same is (name != "classifier.weight") or name == "classifier.bias"


def test_held_out_scans_that_trained_the_weights_before_are_told(cohort, inputs, first, tmp_path):
    split = {row["scan"]: row["side"] for row in rows(first / "split.csv")}
    known = next(e.patient for e in cohort.entries if split[cohort.name(e)] == "train")
    sides = Sides.of(cohort.entries, frozenset([known]))
    told, count = [], len(sides.held_out)
    options = {"inputs": inputs, "start": load_checkpoint(first), "known": told.append}
    train(cohort, tmp_path / "known", PRESET, RECIPE, sides=sides, **options)
    assert [line.split(" scan")[0] for line in told] == [f"{count} of {count} held-out"]
    told.clear()
    train(cohort, tmp_path / "same", PRESET, RECIPE, held_out=0.34, **options)
    assert told == []


def test_held_out_copies_of_training_scans_are_told(cohort, inputs, tmp_path):
    entry = cohort.entries[0]
    copy = tmp_path / "copy.nii.gz"
    shutil.copy(entry.scan, copy)
    sides = Sides(cohort.entries, (Entry(copy, "somebody", entry.label),))
    told = []
    train(cohort, tmp_path / "run", PRESET, RECIPE, sides=sides, inputs=inputs, known=told.append)
    assert [line.split(" under")[0] for line in told] == [
        "1 of 1 held-out scan is among the training scans"
    ]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"attention": "depth"}, "attention both, not depth"),
        ({"extent": "scan"}, "extent"),
        ({"preset": Preset(width=8, input_size=(8, 16, 16), epochs=1)}, "width 4, not 8"),
        (
            {"classes": ("normal", "covid-19", "common-pneumonia")},
            "classes covid-19/common-pneumonia/normal, not normal/.*--new-head",
        ),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused(cohort, first, tmp_path, change, named):
    change = dict(change)
    preset, classes = change.pop("preset", PRESET), change.pop("classes", None)
    labelled = read_cohort(cohort.table, classes)
    with pytest.raises(UsageError, match=named) as caught:
        train(labelled, tmp_path / "run", preset, RECIPE, start=load_checkpoint(first), **change)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()
