"""`build --calibration` as a user sees it: int8 becomes the default on unseen patients only."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from darnet_trt.bundle.reading import open_bundle
from darnet_trt.calibration.decisions.margins import MARGINS
from darnet_trt.evaluation.seen import TrainingScans, identity
from darnet_trt.export.gates.default_engine import choose_default
from darnet_trt.phantom import CohortPlan, write_cohort
from darnet_trt.phantom.synthesis import synthesize
from darnet_trt.scan import Volume, find_studies, load_study
from darnet_trt.scan.cohorts import read_cohort
from darnet_trt.training.checkpoint import load_checkpoint, save_checkpoint
from darnet_trt.training.presets import Preset
from darnet_trt.training.recipe import Recipe
from darnet_trt.training.run import train
from tests.export.networks import TINY, trained_like
from tests.scan.written_scans import stored, write_nifti

SEEN = 8


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def own_cache(cache, monkeypatch):
    """Let the tests share what was run of a network and its scans: two have the same."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    out = tmp_path_factory.mktemp("unseen") / "cohort"
    plan = CohortPlan(scans=12, seed=0, format="nifti", matrix=48, slices=(30, 30))
    write_cohort(plan, out, processes=1)
    return out


@pytest.fixture(scope="module")
def trained(cohort, tmp_path_factory):
    """Return a run that really trained, for an epoch, on all scans of the cohort."""
    run = tmp_path_factory.mktemp("trained") / "run"
    preset = Preset(TINY.width, TINY.input_size, epochs=1)
    train(read_cohort(cohort), run, preset, Recipe(epochs=1), held_out=0)
    return run


def int8_of(command, run, calibration, out):
    """Build for ONNX Runtime; return the manifest, the int8 engine and what was printed."""
    result = command(
        "build", run, "-o", out, "--target", "onnxruntime", "--calibration", calibration,
        "--method", "minmax", "--seconds", 0, "--scans", next(calibration.rglob("*.nii*")),
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    manifest = open_bundle(out).manifest
    made = [*manifest.artifacts, *manifest.rejected]
    return manifest, next(a for a in made if a.precision == "int8"), result


def test_the_scans_that_trained_are_a_reserve(command, cohort, trained, tmp_path):
    manifest, int8, result = int8_of(command, trained, cohort, tmp_path / "b")
    judges = int8.decisions
    assert judges.seen == judges.scans > 0
    (reserve,) = (text for text in judges.reserves if "trained the weights" in text)
    assert f"{judges.seen} of {judges.scans} " in reserve
    assert manifest.default == "onnxruntime-fp32"
    assert reserve in result.stdout
    assert "all of them trained the weights" in command("bundle", "show", tmp_path / "b").stdout
    kept = int8.model_copy(
        update={
            "latency_ms": 1.0,
            "parity": int8.parity.model_copy(update={"passed": True}),
            "decisions": judges.model_copy(update={"failures": ()}),
        }
    )
    float32 = next(a for a in manifest.artifacts if a.precision == "fp32")
    slower = [float32.model_copy(update={"latency_ms": 2.0}), kept]
    assert choose_default(slower)[0] == "onnxruntime-fp32"
    assert choose_default(slower, int8_asked_for=True)[0] == "onnxruntime-int8"


def dense(body: Volume, lungs_hu: float, seed: int):
    """Return the chest with lungs of another density, and with noise of its own."""
    hu = body.hu.astype(np.float32)
    hu += np.where((hu < -600) & (hu > -960), lungs_hu, 0)
    hu += np.random.default_rng(seed).normal(0, 15, hu.shape)
    return replace(body, hu=hu.round().clip(-1024, 3000).astype(np.int16))


def load(scan: Path, spec):
    (study,) = find_studies(scan)
    return load_study(study, spec, identify=True)[1]


@pytest.fixture
def enough(tmp_path):
    """Return a run, and a cohort with enough unseen patients and with copies of seen ones.

    Even numbers have aerated lungs, odd ones dense lungs: the network calls these COVID-19.
    """
    unseen = MARGINS.scans_needed(0) + 2
    checkpoint = trained_like(TINY)
    window = {"window_center_hu": -650.0, "window_width_hu": 100.0}
    spec = checkpoint.preprocessing.model_copy(update=window)
    folder = tmp_path / "scans"
    folder.mkdir()
    body = synthesize("normal", 0, matrix=48, slices=(30, 30))
    scans = [
        write_nifti(stored(dense(body, i % 2 * 250, i)), folder / f"{i}.nii")
        for i in range(SEEN + unseen)
    ]
    first = [load(scan, spec) for scan in scans[:SEEN]]
    tell_apart(checkpoint, [one.array for one in first])
    who = [identity(None, "", f"ID{i}", one.hashes) for i, one in enumerate(first)]
    changed = {"preprocessing": spec, "training_scans": TrainingScans.of(who)}
    save_checkpoint(replace(checkpoint, **changed), tmp_path / "run")
    with (folder / "cohort.csv").open("w", newline="") as file:
        labels = ["normal", "covid-19"]
        rows = [(f"{i}.nii", f"other name {i}", labels[i % 2]) for i in range(len(scans))]
        csv.writer(file).writerows([("scan", "patient", "label"), *rows])
    return tmp_path / "run", folder, unseen


def tell_apart(checkpoint, arrays):
    """Let the last layer give even inputs to the third class and odd ones to the first."""
    weight, bias = (checkpoint.state_dict[f"classifier.{name}"] for name in ("weight", "bias"))
    with torch.no_grad():
        logits = checkpoint.model()(torch.from_numpy(np.stack(arrays)))[0]
    even, odd = logits[::2].mean(0), logits[1::2].mean(0)
    factors = 200 * (odd - even)
    row = torch.tensordot(factors, weight, 1)
    offset = factors @ (bias - (even + odd) / 2)
    weight.copy_(torch.stack([row, 0 * row, -row]))
    bias.copy_(torch.tensor([offset, -50.0, -offset]))


def test_enough_unseen_scans_ship_int8_without_a_reserve(command, enough, tmp_path):
    run, scans, unseen = enough
    manifest, int8, result = int8_of(command, run, scans, tmp_path / "b")
    judges = int8.decisions
    assert (judges.seen, judges.scans) == (0, unseen)
    assert judges.accuracy.reference == 1
    assert judges.reserves == ()
    assert judges.passed
    assert f"{unseen} scans judge" in result.stderr
    assert "none of them trained the weights" in result.stdout
    (float32,) = (a for a in manifest.artifacts if a.precision == "fp32")
    if int8.latency_ms * 1.05 <= float32.latency_ms:
        assert manifest.default == int8.name
    else:  # only its speed speaks against it
        assert manifest.default == float32.name
        assert all("times as fast" in note for note in int8.notes)


def test_a_checkpoint_without_hashes_leaves_a_reserve(command, cohort, trained, tmp_path):
    old = replace(load_checkpoint(trained), training_scans=None)
    save_checkpoint(old, tmp_path / "old")
    manifest, int8, result = int8_of(command, tmp_path / "old", cohort, tmp_path / "b")
    assert int8.decisions.seen is None
    assert "nobody knows" in int8.decisions.reserves[0]
    assert manifest.default == "onnxruntime-fp32"
    assert "nobody knows" in result.stderr
