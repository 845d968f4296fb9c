"""The synthetic classes can be learned, but not from a trivial statistic."""

import csv
import json

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from darnet_trt.evaluation.evidence import grown
from darnet_trt.evaluation.texture import texture
from darnet_trt.phantom import CohortPlan, synthesize, write_cohort
from darnet_trt.phantom.classes import plan_classes
from darnet_trt.phantom.plan import members
from darnet_trt.scan import choose, find_studies, read_volume
from darnet_trt.scan.cohorts import PAPER_CLASSES, read_cohort
from darnet_trt.scan.preprocessing import preprocess
from darnet_trt.training.checkpoint import load_checkpoint
from darnet_trt.training.presets import PRESETS
from darnet_trt.training.recipe import Recipe
from darnet_trt.training.run import train
from tests.short import SHORT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(7200)]

# The short form is enough to see that the network learns, not how well.
EPOCHS = 10 if SHORT else PRESETS["small"].epochs
LEAST_ACCURACY, LEAST_AUC = (0.6, 0.8) if SHORT else (0.85, 0.9)

# NIfTI in small matrices, quick to write and to read; typical kinds, quick to learn.
PLAN = CohortPlan(
    scans=240 if SHORT else 480,
    seed=0,
    format="nifti",
    matrix=64,
    slices=(30, 40),
    kinds=plan_classes(",".join(f"{name}={name}" for name in PAPER_CLASSES)),
)


@pytest.fixture(scope="session")
def cohort(tmp_path_factory):
    out = tmp_path_factory.mktemp("learns") / "cohort"
    write_cohort(PLAN, out)
    return read_cohort(out)


def trivial_statistics(scan):
    volume = read_volume(choose(find_studies(scan)[0]).series)
    hu = volume.hu.astype(np.float32)
    ranges = [(-2000, -950), (-950, -700), (-700, -400), (-400, -100), (-100, 20), (20, 100)]
    return [
        hu.mean(),
        hu.std(),
        *np.percentile(hu, [1, 5, 10, 25, 50, 75, 90, 95, 99]),
        *[np.mean((hu >= low) & (hu < high)) for low, high in ranges],
        np.mean(hu < -500),
        hu.shape[0],
        *volume.spacing_mm,
        *volume.extent_mm,
    ]


def test_no_trivial_statistic_separates_the_classes(cohort):
    x = np.array([trivial_statistics(e.scan) for e in cohort.entries])
    y = np.array([PAPER_CLASSES.index(e.label) for e in cohort.entries])
    patients = [e.patient for e in cohort.entries]
    best = 0.0
    for strength in (0.1, 1.0, 10.0):
        regression = make_pipeline(
            StandardScaler(), LogisticRegression(C=strength, max_iter=10_000)
        )
        predicted = cross_val_predict(regression, x, y, groups=patients, cv=GroupKFold(5))
        best = max(best, float((predicted == y).mean()))
    print(f"logistic regression on trivial statistics: {best:.3f}")
    assert best < 0.6


@pytest.fixture(scope="session")
def run(cohort, tmp_path_factory):
    """The small preset, trained."""
    size = PRESETS["small"]
    folder = tmp_path_factory.mktemp("learns") / "run"
    train(cohort, folder, size, Recipe(epochs=EPOCHS))
    return folder


def flagged(run, scans):
    """Return for each scan whether it lies farther than scans like the training scans."""
    checkpoint = load_checkpoint(run)
    volumes = (preprocess(checkpoint.preprocessing, scan) for scan in scans)
    with torch.inference_mode():
        model = checkpoint.model()
        found = [(model(torch.from_numpy(v)[None])[2][0], texture(v)) for v in volumes]
    features, textures = map(np.array, zip(*found, strict=True))
    return checkpoint.familiarity.distance(features, textures) > checkpoint.familiarity.threshold


def test_few_new_phantoms_are_unlike_those_that_trained_it(run):
    size = {"matrix": PLAN.matrix, "slices": PLAN.slices}
    new = (synthesize(PAPER_CLASSES[i % 3], (PLAN.seed + 1, i), **size) for i in range(240))
    share = flagged(run, new).mean()
    print(f"flagged: {share:.1%} of 240 new phantoms")
    assert share <= 0.05


@pytest.mark.data
def test_every_patient_is_unlike_the_phantoms_that_trained_it(run, data_dir):
    folders = ("chest-4mm-64px", "chest-8mm/sharp", "chest-8mm/soft")
    assert flagged(run, [volume_of(data_dir / folder) for folder in folders]).all()


def volume_of(folder):
    return read_volume(choose(find_studies(folder)[0]).series)


def split(run):
    return list(csv.DictReader((run / "split.csv").read_text().splitlines()))


def test_small_network_learns_them(run):
    checkpoint = load_checkpoint(run)
    print(f"held-out patients: {checkpoint.validation}")
    assert checkpoint.validation["accuracy"] > LEAST_ACCURACY
    assert checkpoint.validation["auc"] > LEAST_AUC
    assert checkpoint.trained_on.endswith("not real patients")
    assert json.loads((run / "metrics.json").read_text())["held_out"] == checkpoint.validation
    sides = [
        {row["patient"] for row in split(run) if row["side"] == side}
        for side in ("train", "held-out")
    ]
    assert len(split(run)) == PLAN.scans
    assert not sides[0] & sides[1]
    assert len((run / "history.csv").read_text().splitlines()) == EPOCHS + 1
    assert not (run / "state.pt").exists()


def test_its_map_lies_on_the_lesions_more_than_elsewhere(run):
    """On average only: each cell of the map sees most of the chest."""
    checkpoint = load_checkpoint(run)
    model, spec = checkpoint.model(), checkpoint.preprocessing
    held_out = {row["scan"] for row in split(run) if row["side"] == "held-out"}
    lifts: dict[str, list[float]] = {"covid-19": [], "common-pneumonia": []}
    for member in members(PLAN):
        if member.scan not in held_out or member.label == "normal":
            continue
        # The same person, ill and well: where the inputs differ is the lesion.
        ill, well = (
            preprocess(
                spec,
                synthesize(
                    kind,
                    (PLAN.seed, member.number),
                    visit=member.visit,
                    matrix=PLAN.matrix,
                    slices=PLAN.slices,
                ),
            )
            for kind in (member.kind, "normal")
        )
        with torch.inference_mode():
            logits, cam, _ = model(torch.from_numpy(ill)[None])
        predicted = int(logits.argmax())
        if PAPER_CLASSES[predicted] != member.label:
            continue
        lesion = np.abs(ill - well)[0] > 0.04  # 60 HU
        if not lesion.any():  # smaller than the input's voxels
            continue
        evidence = grown(cam[0, predicted].numpy(), lesion.shape).clip(0)
        lifts[member.label].append(evidence[lesion].mean() / evidence.mean())
    for label, values in lifts.items():
        print(f"{label}: evidence at the lesion {np.mean(values):.1f} times the average")
        assert np.mean(values) > 1.3
