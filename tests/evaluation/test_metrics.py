"""The measures agree with scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import (
    accuracy_score,
    f1_score,
    log_loss,
    precision_score,
    recall_score,
    roc_auc_score,
)

from darnet_trt.evaluation import metrics
from darnet_trt.evaluation.metrics import evaluate, reliability, softmax
from darnet_trt.scan.cohorts import PAPER_CLASSES

TWO = ("viral", "other")
SEVEN = tuple("abcdefg")


def outputs(classes, scans, seed, ties=False):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, len(classes), scans)
    logits = rng.normal(size=(scans, len(classes))) + 1.2 * np.eye(len(classes))[labels]
    return (logits.round() if ties else logits).astype(np.float32), labels


def error_of_bins(probabilities, labels):
    bins = reliability(probabilities, labels)
    return sum(b.scans * abs(b.accuracy - b.confidence) for b in bins) / len(labels)


def check_against_scikit_learn(logits, labels, classes):
    """Compare every measure that both define."""
    result = evaluate(logits, labels, classes)
    predicted, probabilities = logits.argmax(1), softmax(logits)
    everywhere = list(range(len(classes)))
    expected = {
        "scans": len(labels),
        "accuracy": accuracy_score(labels, predicted),
        "log_loss": log_loss(labels, probabilities, labels=everywhere),
        "overconfidence": probabilities.max(1).mean() - (labels == predicted).mean(),
    }
    present = sorted(set(labels.tolist()))
    several = len(present) > 1
    for name, score in (("precision", precision_score), ("recall", recall_score), ("f1", f1_score)):
        each = score(labels, predicted, labels=present, average=None, zero_division=0)
        expected |= {f"{name}_{classes[c]}": each[i] for i, c in enumerate(present)}
        expected[f"macro_{name}"] = each.mean()
    for c in present if several else ():
        # equal probabilities differ in the last digit
        scores = probabilities[:, c].round(12)
        expected[f"auc_{classes[c]}"] = roc_auc_score(labels == c, scores)
    if several:
        expected["macro_auc"] = np.mean([expected[f"auc_{classes[c]}"] for c in present])
    for index, name in enumerate(classes):
        expected[f"scans_{name}"] = (labels == index).sum()
        expected[f"correct_{name}"] = ((labels == index) & (predicted == index)).sum()
    if several and 0 in present:
        expected["auc"] = expected[f"auc_{classes[0]}"]
        expected["sensitivity"] = recall_score(labels == 0, predicted == 0)
        expected["specificity"] = recall_score(labels != 0, predicted != 0)
        expected["f1"] = f1_score(labels == 0, predicted == 0)
    assert result.pop("calibration_error") == pytest.approx(error_of_bins(probabilities, labels))
    assert result == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("classes", [TWO, PAPER_CLASSES, SEVEN], ids=len)
@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("scans", [12, 200])
def test_measures_match_scikit_learn(classes, ties, scans):
    for seed in range(3):
        check_against_scikit_learn(*outputs(classes, scans, seed, ties), classes)


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_only(label):
    logits, _ = outputs(PAPER_CLASSES, 20, 0)
    labels = np.full(20, label)
    check_against_scikit_learn(logits, labels, PAPER_CLASSES)
    assert "auc" not in evaluate(logits, labels, PAPER_CLASSES)


def test_a_class_without_scans():
    logits, labels = outputs(SEVEN, 60, 0)
    check_against_scikit_learn(logits, np.where(labels == 0, 3, labels), SEVEN)
    check_against_scikit_learn(logits, np.where(labels == 5, 3, labels), SEVEN)


def test_equal_outputs():
    _, labels = outputs(PAPER_CLASSES, 30, 0)
    logits = np.zeros((30, 3), np.float32)
    check_against_scikit_learn(logits, labels, PAPER_CLASSES)
    assert evaluate(logits, labels, PAPER_CLASSES)["auc"] == 0.5


def test_one_scan():
    result = evaluate(np.array([[2, 1, 0]], np.float32), np.array([0]), PAPER_CLASSES)
    assert (result["accuracy"], result["macro_recall"]) == (1, 1)


def test_saturated_probabilities_keep_their_order_and_a_finite_loss():
    # in float64 both probabilities of the first class round to 1
    logits = np.array([[90, 0], [80, 0], [-800, 0]], np.float32)
    result = evaluate(logits, np.array([0, 1, 1]), TWO)
    assert result["auc"] == 1
    assert result["log_loss"] == pytest.approx(80 / 3)


def test_without_scans_there_are_no_measures():
    assert evaluate(np.zeros((0, 3), np.float32), np.zeros(0, np.int64), PAPER_CLASSES) == {}


def test_the_calibration_error_is_the_gap_of_confidence_and_accuracy():
    # ten scans at 0.9, of which seven are right; two at 0.6, both right
    probabilities = np.array([[0.9, 0.1]] * 10 + [[0.4, 0.6]] * 2)
    labels = np.array([0] * 7 + [1] * 3 + [1] * 2)
    found = evaluate(np.log(probabilities).astype(np.float32), labels, TWO)["calibration_error"]
    assert found == pytest.approx((10 * 0.2 + 2 * 0.4) / 12)
    bins = list(reliability(probabilities, labels))
    assert [(b.scans, b.confidence, b.accuracy) for b in bins] == [
        (2, pytest.approx(0.6), 1),
        (10, pytest.approx(0.9), pytest.approx(0.7)),
    ]


def test_a_calibrated_network_has_a_small_calibration_error():
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.ones(3), 50_000)
    labels = (rng.random((50_000, 1)) > probabilities.cumsum(1)).sum(1)
    logits = np.log(probabilities).astype(np.float32)
    assert evaluate(logits, labels, PAPER_CLASSES)["calibration_error"] < 0.01


def test_each_class_is_ranked_once(monkeypatch):
    """The positive class has two names in the result, and its area is the slowest measure."""
    of, area = [], metrics.area
    monkeypatch.setattr(metrics, "area", lambda *given: of.append(given) or area(*given))
    found = evaluate(*outputs(SEVEN, 70, 0), SEVEN)
    assert len(of) == 7
    assert found["auc"] == found["auc_a"]
