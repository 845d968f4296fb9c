"""The synthetic classes can be learned, but not from a trivial statistic."""

import csv
import json

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from darnet_trt.scan import choose, find_studies, read_volume
from darnet_trt.scan.phantom import CohortPlan, write_cohort
from darnet_trt.training.checkpoint import load_checkpoint
from darnet_trt.training.classes import CLASSES
from darnet_trt.training.cohort import read_cohort
from darnet_trt.training.fit import Schedule
from darnet_trt.training.presets import preset
from darnet_trt.training.run import train

# NIfTI in small matrices: the same phantoms as everywhere, quick to write and to read.
PLAN = CohortPlan(scans=480, seed=0, format="nifti", matrix=64, slices=(30, 40))


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


def test_no_trivial_statistic_tells_the_classes(cohort):
    x = np.array([trivial_statistics(e.scan) for e in cohort.entries])
    y = np.array([CLASSES.index(e.label) for e in cohort.entries])
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


def test_small_network_learns_them(cohort, tmp_path):
    size = preset("small")
    run = tmp_path / "run"
    checkpoint = train(cohort.table, run, size, Schedule(epochs=size.epochs))
    print(f"held-out patients: {checkpoint.validation}")
    assert checkpoint.validation["accuracy"] > 0.85
    assert checkpoint.validation["covid_auc"] > 0.9
    assert checkpoint.trained_on.endswith("not real patients")

    stored = load_checkpoint(run)
    assert stored.validation == checkpoint.validation
    assert json.loads((run / "metrics.json").read_text())["held_out"] == checkpoint.validation
    split = list(csv.DictReader((run / "split.csv").read_text().splitlines()))
    sides = [
        {row["patient"] for row in split if row["side"] == side} for side in ("train", "held-out")
    ]
    assert len(split) == PLAN.scans
    assert not sides[0] & sides[1]
    assert len((run / "history.csv").read_text().splitlines()) == size.epochs + 1
    assert not (run / "state.pt").exists()
