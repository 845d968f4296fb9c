"""Measures with their intervals, also where every scan is right, and of few patients."""

import numpy as np
import pytest

from darnet_trt.evaluation.intervals import share_at_most
from darnet_trt.evaluation.measured import Measured, as_json, measured
from darnet_trt.evaluation.metrics import evaluate
from darnet_trt.scan.cohorts import PAPER_CLASSES

TWO = ("viral", "other")
DRAWS = 60


def of(scans, classes, apart, seed=0):
    """Two scans a patient, as many patients of each class."""
    rng = np.random.default_rng(seed)
    labels = np.arange(scans) % len(classes)
    logits = rng.normal(size=(scans, len(classes))) + apart * np.eye(len(classes))[labels]
    patients = [f"{n // (2 * len(classes))}-{label}" for n, label in enumerate(labels)]
    return logits.astype(np.float32), labels, patients


@pytest.mark.parametrize("classes", [TWO, PAPER_CLASSES, tuple("abcdefg")], ids=len)
def test_every_measure_lies_in_its_interval(classes):
    found = measured(*of(84, classes, 1.5), classes, temperature=1.5, draws=DRAWS)
    logits, labels, _ = of(84, classes, 1.5)
    plain = evaluate(logits, labels, classes)
    soft = evaluate(logits / 1.5, labels, classes)
    for name, one in found.items():
        calibrated = name.startswith("calibrated_")
        assert one.value == pytest.approx((soft if calibrated else plain)[name[11 * calibrated :]])
        if "calibration_error" not in name:  # its interval leaves its bias out
            assert one.low <= one.value <= one.high
    assert {"auc", "macro_f1", "calibrated_log_loss", f"recall_{classes[1]}"} <= found.keys()
    assert not any(name.startswith(("scans", "correct")) for name in found)


def test_without_an_error_the_interval_is_that_of_so_many_patients():
    logits, labels, patients = of(60, PAPER_CLASSES, 30)
    found = measured(logits, labels, patients, PAPER_CLASSES, draws=DRAWS)
    assert (found["accuracy"].value, found["accuracy"].high) == (1, 1)
    assert found["accuracy"].low == pytest.approx(1 - share_at_most(0, 30))
    assert found["sensitivity"].low == pytest.approx(1 - share_at_most(0, 10))
    assert found["auc"].low < found["specificity"].low < found["accuracy"].low
    wrong = measured(logits, (labels + 1) % 3, patients, PAPER_CLASSES, draws=DRAWS)
    assert (wrong["accuracy"].low, wrong["accuracy"].value) == (0, 0)
    assert wrong["accuracy"].high == pytest.approx(share_at_most(0, 30))


NAMES = ("accuracy", "specificity", "macro", "auc", "f1", "sensitivity", "recall", "Macro", "scans")


def test_classes_that_are_named_as_measures_have_their_own_intervals():
    labels = np.repeat(np.arange(len(NAMES)), range(2, 2 + len(NAMES)))
    logits = 30 * np.eye(len(NAMES), dtype=np.float32)[labels]
    patients = [str(n) for n in range(len(labels))]
    named = measured(logits, labels, patients, NAMES, draws=DRAWS)
    letters = tuple("abcdefghi")
    plain = measured(logits, labels, patients, letters, draws=DRAWS)
    for name, letter in zip(NAMES, letters, strict=True):
        for measure in ("precision", "recall", "f1", "auc"):
            assert named[f"{measure}_{name}"] == plain[f"{measure}_{letter}"]
    for measure in ("accuracy", "specificity", "sensitivity", "auc", "f1", "macro_f1", "macro_auc"):
        assert named[measure] == plain[measure]


def test_one_patient_has_measures_without_intervals():
    logits, labels, _ = of(12, PAPER_CLASSES, 1)
    found = measured(logits, labels, ["P1"] * 12, PAPER_CLASSES, draws=DRAWS)
    assert found["accuracy"].low is None
    assert str(found["accuracy"]) == f"{found['accuracy'].value:.3f}"
    right = measured(*of(12, PAPER_CLASSES, 30)[:2], ["P1"] * 12, PAPER_CLASSES, draws=DRAWS)
    assert all(one.low is one.high is None for one in right.values())


def test_one_class_only():
    logits, _, patients = of(12, TWO, 1)
    for label in (0, 1):
        found = measured(logits, np.full(12, label), patients, TWO, draws=DRAWS)
        assert "auc" not in found
        assert found["accuracy"].low <= found["accuracy"].value <= found["accuracy"].high


def test_equal_outputs():
    _, labels, patients = of(30, PAPER_CLASSES, 1)
    found = measured(np.zeros((30, 3), np.float32), labels, patients, PAPER_CLASSES, draws=DRAWS)
    assert (found["auc"].value, found["auc"].low, found["auc"].high) == (0.5, 0.5, 0.5)
    assert found["sensitivity"].value == 1
    assert found["sensitivity"].low < 1


def test_a_temperature_leaves_the_measures_of_the_classes_alone():
    plain = measured(*of(60, PAPER_CLASSES, 2), PAPER_CLASSES, draws=DRAWS)
    found = measured(*of(60, PAPER_CLASSES, 2), PAPER_CLASSES, temperature=2, draws=DRAWS)
    assert {k: v for k, v in found.items() if not k.startswith("calibrated_")} == plain


def test_written_as_json():
    assert as_json({"auc": Measured(0.5, None, None)}) == {
        "auc": {"value": 0.5, "low": None, "high": None}
    }
