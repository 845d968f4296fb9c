"""Pictures of few and of many classes, whatever their names, and of one class only."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import confusion_matrix, roc_curve

from darnet_trt.evaluation import pictures
from darnet_trt.evaluation.measured import measured
from darnet_trt.evaluation.pictures import (
    confusion,
    confusion_counts,
    curve,
    reliability_diagram,
    roc,
    short_names,
    shortcut_note,
)

pytest.importorskip("matplotlib")
SEVEN = tuple(f"a class with a long name and $mathematics^{c}" for c in "abcdefg")


def size(png):
    return Image.open(BytesIO(png)).size


@pytest.mark.parametrize("classes", [("viral", "other"), ("肺炎", "a", "$"), SEVEN], ids=len)
def test_pictures_can_be_opened(classes):
    rng = np.random.default_rng(0)
    labels = np.arange(28) % len(classes)
    logits = rng.normal(size=(28, len(classes))).astype(np.float32)
    patients = [str(n) for n in range(28)]
    found = measured(logits, labels, patients, classes, temperature=2, draws=20)
    assert size(roc(logits, labels, classes, found)) == (900, 900)
    assert size(confusion(logits, labels, classes)) == (900, 900)
    assert size(reliability_diagram(logits, labels, found, 2)) == (900, 900)


@pytest.mark.parametrize("count", [2, 3, 4])
def test_equal_curves_are_all_seen(count):
    classes = [f"class {number}" for number in range(count)]
    labels = np.arange(8 * count) % count
    logits = 9 * np.eye(count, dtype=np.float32)[labels]
    found = measured(logits, labels, [str(n) for n in range(len(labels))], classes, draws=20)
    page = np.asarray(Image.open(BytesIO(roc(logits, labels, classes, found))).convert("RGB"))
    page = page[: page.shape[0] // 2].reshape(-1, 3).astype(int)  # above the legend
    for colour in pictures.COLOURS[:count]:
        wanted = [int(colour[at : at + 2], 16) for at in (1, 3, 5)]
        assert (np.abs(page - wanted).max(1) < 9).sum() > 500


def test_the_pictures_say_what_gave_the_training_cohort_away(monkeypatch):
    monkeypatch.setattr(pictures, "png", lambda figure: figure)
    labels, logits = np.arange(8) % 2, np.eye(2, dtype=np.float32)[np.arange(8) % 2]
    classes = ("viral", "other")
    found = measured(logits, labels, list("abcdefgh"), classes, draws=20)
    for note in ("", shortcut_note(("matrix", "masked-bodies"))):
        drawn = (
            roc(logits, labels, classes, found, note),
            confusion(logits, labels, classes, note),
            reliability_diagram(logits, labels, found, note=note),
        )
        for figure in drawn:
            assert figure.get_supxlabel().replace("\n", " ") == note
    assert "without the lungs: masked-bodies, matrix" in note


def test_one_class_has_no_curve():
    logits, labels = np.zeros((4, 2), np.float32), np.ones(4, np.int64)
    found = measured(logits, labels, list("abcd"), ("viral", "other"), draws=20)
    assert roc(logits, labels, ("viral", "other"), found) is None


def test_the_curve_is_scikit_learns():
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 9, 60).astype(np.float32)  # ties
    positive = rng.random(60) < 0.4
    x, y, _ = roc_curve(positive, scores, drop_intermediate=False)
    found = curve(scores, positive)
    np.testing.assert_allclose(found[0], x)
    np.testing.assert_allclose(found[1], y)


def test_the_counts_are_scikit_learns():
    rng = np.random.default_rng(0)
    labels, logits = rng.integers(0, 3, 50), rng.normal(size=(50, 4)).astype(np.float32)
    expected = confusion_matrix(labels, logits.argmax(1), labels=range(4))
    np.testing.assert_array_equal(confusion_counts(logits, labels, 4), expected)


def test_names_that_are_cut_still_differ():
    long = ["a" * 20 + middle + "z" * 20 for middle in "xy"]
    assert short_names(long) == [f"{n} {'a' * 12}…{'z' * 11}" for n in (1, 2)]
    assert short_names(["covid-19", "$a"]) == ["covid-19", r"\$a"]
    escaped = [r"\u65b0\u578b\u30b3\u30ed\u30ca", r"\u65b0\u578b\u30a4\u30f3\u30d5"]
    assert short_names(escaped) == [r"\u65b0\u578b…\u30ca", r"\u65b0\u578b…\u30d5"]
