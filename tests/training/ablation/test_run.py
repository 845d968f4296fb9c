"""An ablation of tiny networks, from scans to tables."""

import csv
import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest

from darnet_trt.errors import UsageError
from darnet_trt.evaluation.metrics import evaluate
from darnet_trt.phantom import CohortPlan, write_cohort
from darnet_trt.scan.cohorts import PAPER_CLASSES, Entry, Folds, make_folds, read_cohort
from darnet_trt.training.ablation.paper import PARAMETERS_M, TABLE_3, VARIANTS
from darnet_trt.training.ablation.run import ablate
from darnet_trt.training.ablation.scored import read_scored
from darnet_trt.training.ablation.settings import Settings
from darnet_trt.training.checkpoint import load_checkpoint
from darnet_trt.training.presets import PRESETS, Preset
from darnet_trt.training.recipe import Recipe

TINY = Preset(width=4, input_size=(8, 16, 16), epochs=1)
DRAWS = 20


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    out = tmp_path_factory.mktemp("ablation") / "cohort"
    plan = CohortPlan(scans=12, seed=0, format="nifti", matrix=48, slices=(30, 30))
    write_cohort(plan, out, processes=1)
    return read_cohort(out)


@pytest.fixture(scope="module")
def settings(cohort):
    folds = make_folds(cohort, 2, 0.25)
    recipe = Recipe(epochs=1, batch=2, loading=0)
    return Settings(cohort, folds, TINY, recipe)


@pytest.fixture(scope="module")
def finished(settings, tmp_path_factory):
    out = tmp_path_factory.mktemp("ablated")
    return out, ablate(settings, out, draws=DRAWS, shortcuts=lambda: ("masked-bodies",))


def rows_of(out):
    with (out / "predictions.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_network_answers_for_each_scan_that_it_did_not_see(finished, settings):
    out, _ = finished
    rows = rows_of(out)
    for training in settings.trainings:
        sides = settings.folds.sides(settings.cohort, training.fold)
        of = (training.attention, str(training.fold), str(training.seed))
        mine = [r for r in rows if (r["attention"], r["fold"], r["seed"]) == of]
        for side, entries in (("test", sides.test), ("held-out", sides.held_out)):
            names = {settings.cohort.name(entry) for entry in entries}
            assert {r["scan"] for r in mine if r["side"] == side} == names
        assert load_checkpoint(out / "runs" / training.name).network.attention == training.attention


def test_the_means_are_those_of_the_predictions(finished):
    out, report = finished
    scored = read_scored(out / "predictions.csv", PAPER_CLASSES)
    content = json.loads((out / "ablation.json").read_text())
    assert list(content["sides"]) == ["test", "held-out"]
    for side, of_side in content["sides"].items():
        for variant in VARIANTS:
            accuracy = [
                evaluate(s.logits, s.labels, PAPER_CLASSES)["accuracy"]
                for s in scored
                if (s.side, s.training.attention) == (side, variant)
            ]
            found = of_side["scores"][variant]["accuracy"]
            assert found["mean"] == pytest.approx(np.mean(accuracy))
            assert found["over_folds"] == pytest.approx(np.std(accuracy, ddof=1))
            shown = f"{np.mean(accuracy):.4f} ± {np.std(accuracy, ddof=1):.4f}"
            assert shown in (out / "tables.md").read_text()
    assert [t.title[:7] for t in report.tables if t.title.startswith("Table")] == [
        *("Table 2", "Table 3") * 2
    ]


def test_the_papers_numbers_stand_beside_ours_and_are_said_not_to_compare(finished):
    out, _ = finished
    page = (out / "tables.md").read_text()
    for of_variant in TABLE_3.values():
        for mean, std in of_variant.values():
            assert f"{mean:.4f} ± {std:.4f}" in page
    assert "cannot be compared" in page
    with (out / "tables.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    paper = {r["attention"]: r["mean"] for r in rows if r["measure"] == "parameters"}
    assert {v: int(n) / 1e6 for v, n in paper.items()} == PARAMETERS_M


def test_the_papers_parameters(cohort):
    from darnet_trt.training.ablation.report import parameters_of

    settings = Settings(cohort, make_folds(cohort, 2), PRESETS["paper"], Recipe())
    counts = {variant: parameters_of(settings, variant) for variant in VARIANTS}
    assert counts == {
        "none": 33_148_995, "channel": 33_238_075, "depth": 35_148_083, "both": 35_237_163
    }  # fmt: skip
    assert {v: round(n / 1e6, 2) for v, n in counts.items()} == PARAMETERS_M


class Stop(BaseException):
    """What ends a process."""


def test_an_interrupted_ablation_gives_the_same_predictions(finished, settings, tmp_path):
    """Interrupted inside a training, between training and scoring, and before the tables."""
    out, _ = finished

    options = {"draws": DRAWS, "shortcuts": lambda: ("masked-bodies",)}

    def stop(at):
        if at.done == 5:
            raise Stop

    with pytest.raises(Stop):
        ablate(settings, tmp_path, report=stop, **options)
    first = tmp_path / "runs" / settings.trainings[0].name
    (first / "predictions.csv").unlink()
    (first / "state.pt").write_bytes(b"")
    trained = []
    ablate(settings, tmp_path, report=lambda at: trained.append(at.done), **options)
    assert min(trained) == 5, "finished trainings stay"
    assert rows_of(tmp_path) == rows_of(out)
    assert not list(tmp_path.glob("runs/*/state*"))
    assert (tmp_path / "tables.md").read_bytes() == (out / "tables.md").read_bytes()


def test_copies_on_both_sides_are_told_once_and_stand_above_the_tables(
    finished, settings, tmp_path
):
    """A scan of the first fold, and one of the test cohort, lie in the second fold too."""
    out, _ = finished
    cohort = settings.cohort
    sides = settings.folds.sides(cohort, 0)
    others = len(settings.folds.sides(cohort, 1).held_out)
    copies = []
    for number, entry in enumerate((sides.held_out[0], sides.test[0])):
        scan = shutil.copy(entry.scan, tmp_path / f"{number}.nii.gz")
        copies.append(Entry(scan, f"copy{number}", entry.label))
    cohort = replace(cohort, entries=(*cohort.entries, *copies))
    first, second = settings.folds.folds
    folds = Folds(settings.folds.test, (first, second | {"copy0", "copy1"}))
    shutil.copytree(out / "inputs", tmp_path / "out" / "inputs")
    told = []
    report = ablate(
        replace(settings, cohort=cohort, folds=folds), tmp_path / "out", draws=DRAWS,
        tell=told.append,
    )  # fmt: skip
    assert [re.split(" (?:is|are) among", line)[0] for line in told] == [
        f"fold 0: 1 of {len(sides.test)} test scans",
        f"fold 0: 1 of {len(sides.held_out)} held-out scans",
        f"fold 1: 1 of {others + 2} held-out scans",
    ]
    assert set(told) <= set(report.about)
    page = (tmp_path / "out" / "tables.md").read_text()
    assert all(line in page for line in told)


def test_another_ablation_does_not_go_on_in_its_folder(finished, settings):
    out, _ = finished
    before = (out / "tables.md").read_bytes()
    batch = settings.recipe.model_copy(update={"epochs": 2, "batch": 3})
    for change, said in (
        ({"recipe": batch}, "an ablation with batch 2, not 3, and epochs 1, not 2; "),
        ({"extent": "scan"}, "an ablation with extent lungs, not scan; "),
        ({"folds": make_folds(settings.cohort, 2, 0.25, seed=3)}, "an ablation with other folds; "),
    ):
        with pytest.raises(UsageError, match=said):
            ablate(replace(settings, **change), out, draws=DRAWS, shortcuts=pytest.fail)
    assert (out / "tables.md").read_bytes() == before


def test_seeds_may_become_more_and_not_fewer(finished, settings, tmp_path):
    """Else the tables of two seeds would be written anew with one."""
    out, _ = finished
    shutil.copytree(out / "runs", tmp_path / "runs")
    two = replace(settings, seeds=2)
    settings.write_plan(tmp_path)
    two.refuse_another(tmp_path)
    two.write_plan(tmp_path)
    with pytest.raises(UsageError, match="seeds 2, not 1"):
        ablate(settings, tmp_path, draws=DRAWS, shortcuts=pytest.fail)
    for damaged in (b"", b"[]", b"{}"):
        (tmp_path / "plan.json").write_bytes(damaged)
        with pytest.raises(UsageError, match=r"plan\.json is missing or damaged"):
            ablate(settings, tmp_path, draws=DRAWS, shortcuts=pytest.fail)


def test_what_was_never_trained_blocks_nothing(finished, settings, tmp_path):
    """A scan that cannot be read leaves a fold too small for a batch."""
    out, _ = finished
    shutil.copytree(out / "inputs", tmp_path / "inputs")
    sides = settings.folds.sides(settings.cohort, 0)
    first = sides.train[0]
    entries = tuple(
        replace(entry, scan=tmp_path / "absent") if entry == first else entry
        for entry in settings.cohort.entries
    )
    recipe = settings.recipe.model_copy(update={"batch": len(sides.train)})
    folds = replace(settings.folds, folds=(settings.folds.folds[0],) * 2)
    broken = Settings(replace(settings.cohort, entries=entries), folds, TINY, recipe)
    with pytest.raises(UsageError, match="the training side of fold 0 has"):
        ablate(broken, tmp_path, draws=DRAWS)
    assert [path.name for path in tmp_path.iterdir()] == ["inputs"]
    settings.write_plan(tmp_path)  # killed before the first training kept anything
    broken.refuse_another(tmp_path)


def test_shortcuts_stand_above_the_tables_and_in_the_checkpoints(finished, settings):
    out, report = finished
    assert "masked-bodies" in report.about[-1]
    assert "masked-bodies" in (out / "tables.md").read_text()
    for training in settings.trainings:
        assert load_checkpoint(out / "runs" / training.name).shortcuts == ("masked-bodies",)
