"""The measures agree with scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import f1_score, recall_score, roc_auc_score

from darnet_trt.evaluation.metrics import evaluate, softmax
from darnet_trt.scan.cohorts import PAPER_CLASSES


def test_measures_match_scikit_learn():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 200)
    logits = (rng.normal(size=(200, 3)) + 1.2 * np.eye(3)[labels]).astype(np.float32)
    result = evaluate(logits, labels, PAPER_CLASSES)
    predicted = logits.argmax(1)
    assert result["scans"] == 200
    assert (
        sum(result[f"correct_{c}"] for c in ("covid-19", "common-pneumonia", "normal"))
        == (predicted == labels).sum()
    )
    assert result["accuracy"] == pytest.approx((predicted == labels).mean())
    assert result["sensitivity"] == pytest.approx(recall_score(labels == 0, predicted == 0))
    assert result["specificity"] == pytest.approx(recall_score(labels != 0, predicted != 0))
    assert result["f1"] == pytest.approx(f1_score(labels == 0, predicted == 0))
    area = roc_auc_score(labels == 0, softmax(logits)[:, 0])
    assert result["auc"] == pytest.approx(area)


def test_with_one_side_only_there_is_no_auc():
    result = evaluate(np.eye(3, dtype=np.float32)[[1, 2]], np.array([1, 2]), PAPER_CLASSES)
    assert result["accuracy"] == 1
    assert "auc" not in result


def test_without_scans_there_are_no_measures():
    assert evaluate(np.zeros((0, 3), np.float32), np.zeros(0, np.int64), PAPER_CLASSES) == {}
