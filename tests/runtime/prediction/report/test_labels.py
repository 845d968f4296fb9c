"""Results against the labels of a cohort."""

import re

import numpy as np

from darnet_trt.evaluation.metrics import evaluate, softmax
from darnet_trt.runtime.prediction.report.labels import Labelled
from darnet_trt.scan.cohorts import PAPER_CLASSES, read_cohort
from tests.runtime.prediction.report.results import refused, result


def cohort(folder):
    lines = ("scan,patient,label", "P00000/1,P0,covid-19", "P00001/1,P1,normal", "b,P2,normal")
    (folder / "cohort.csv").write_text("\n".join(lines))
    return read_cohort(folder)


def test_a_label_belongs_to_its_scan_alone(tmp_path):
    labelled = Labelled(cohort(tmp_path))
    assert labelled.add(result(0)) == "covid-19"
    assert labelled.add(result(0, scan="P00000/1/study")) == "covid-19"
    assert labelled.add(result(0, scan=str(tmp_path / "b"))) == "normal"
    assert labelled.add(result(0, scan="1")) is None
    assert labelled.add(result(0, scan="other/P00000/1")) is None


def test_a_class_against_the_rest_needs_both(tmp_path):
    labelled = Labelled(cohort(tmp_path))
    labelled.add(result(1))
    assert "not measured: no usable scan is of the class" in labelled.section()
    labelled.add(result(0))
    assert "not measured" not in labelled.section()


def test_what_was_not_classified_counts_as_wrong(tmp_path):
    labelled = Labelled(cohort(tmp_path))
    for each in (result(0), result(1), refused(2, scan="b"), result(9)):
        labelled.add(each)
    assert (labelled.right, labelled.total) == (1, 3)
    section = labelled.section()
    assert "0.333" in section
    assert "area under the ROC curve" in section
    assert "refused" in section


def test_the_area_is_that_of_evaluate_where_probabilities_are_saturated(tmp_path):
    rng = np.random.default_rng(1)
    labels = np.arange(40) % 3
    logits = (rng.normal(size=(40, 3)) * 60 + 20 * np.eye(3)[labels]).astype(np.float32)
    rows = [f"{n},P{n},{PAPER_CLASSES[label]}" for n, label in enumerate(labels)]
    (tmp_path / "cohort.csv").write_text("\n".join(["scan,patient,label", *rows]))
    labelled = Labelled(read_cohort(tmp_path))
    probabilities = softmax(logits / np.float32(0.2))
    assert (probabilities == 1).sum() > 2, "they give no order"
    for number, (of_scan, own) in enumerate(zip(logits.tolist(), probabilities, strict=True)):
        labelled.add(
            result(
                scan=str(number),
                predicted=PAPER_CLASSES[int(own.argmax())],
                probabilities=dict(zip(PAPER_CLASSES, own.tolist(), strict=True)),
                logits=dict(zip(PAPER_CLASSES, of_scan, strict=True)),
            )
        )
    auc = evaluate(logits, labels, PAPER_CLASSES)["auc"]
    assert f"against the rest {auc:.3f} (" in labelled.section()


def test_a_result_of_other_classes_is_wrong_and_has_no_part_in_the_area(tmp_path):
    labelled = Labelled(cohort(tmp_path))
    other = {"probabilities": {"viral": 0.9, "normal": 0.1}, "predicted": "viral"}
    for each in (result(0), result(1), result(2, scan="b", **other)):
        labelled.add(each)
    assert (labelled.right, labelled.total) == (1, 3)
    assert "viral" in labelled.section()


def test_a_class_may_have_the_name_of_a_status(tmp_path):
    (tmp_path / "cohort.csv").write_text("scan,patient,label\na,P0,refused\nb,P1,ok\n")
    labelled = Labelled(read_cohort(tmp_path, ()))
    labelled.add(result(0, scan="a", predicted="refused", probabilities={"refused": 1, "ok": 0}))
    labelled.add(refused(1, scan="b"))
    labelled.add(refused(2, scan="a"))
    assert (labelled.right, labelled.total) == (1, 3)
    words = re.sub("<[^>]*>", " ", labelled.section()).split("(columns).")[1].split()
    assert words == ["label", "refused", "ok", "refused", *("refused", "1", "0", "1"),
                     *("ok", "0", "0", "1")]  # fmt: skip
