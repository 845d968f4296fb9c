"""The report of a calibration holds everything that was found."""

from xml.etree import ElementTree

import numpy as np

from darnet_trt.bundle.manifest import LayerEffect, Quantization
from darnet_trt.calibration.decisions.decide import decide
from darnet_trt.calibration.report import chart, markdown

SVG = "{http://www.w3.org/2000/svg}"
EFFECTS = (
    LayerEffect(layer="stem.0", alone=0.25, left_out=0.125),
    LayerEffect(layer="stages.0.0.conv1", alone=0.0625, left_out=-0.03125),
)


FOUND = Quantization(
    scans=3,
    source="3 phantoms",
    digest="0",
    random=False,
    method="mse",
    errors={"mse": 0.011, "minmax": 0.034},
    layers=("stages.0.0.conv1",),
    spared=("stem.0",),
    effects=EFFECTS,
    block_effects=(LayerEffect(layer="stages.2.0", alone=0.375, left_out=0.5),),
    trials={0: ("2 of 120 scans changed class", "and more"), 1: ()},
)


def decided(scans, *, worse=False):
    labels = np.arange(scans) % 3
    reference = np.log(np.full((scans, 3), 0.1) + 0.7 * np.eye(3)[labels]).astype(np.float32)
    return decide(reference, -reference if worse else reference, list(labels), "other phantoms")


def test_everything_that_was_found_is_in_the_report():
    text = markdown(FOUND, decided(150))
    headline = text.splitlines()[0]
    assert "int8 approved with 1 layer" in headline
    for facts in (
        "other phantoms",
        "0 of 150 |",
        "| 100.00 % |",
        "98.5 % confidence | at most 2.8 % |",
        "| AUC of the positive class | 1 → 1; 95 % interval of the difference -0.0713 to +0.0713 |",
        "| accuracy | 1 → 1; 95 % interval of the difference -0.025 to +0.025 |",
        "| stages.2.0 | 0.38 | 0.5 |",
        "1 of 2 convolutions, ranges by mse",
        "3 phantoms.",
        "| minmax | 0.034 |",
        "float: stem.0.",
        "| 0 | 2 of 120 scans changed class; and more |\n| 1 | kept |",
        "| stages.0.0.conv1 | 0.062 | -0.031 |",
    ):
        assert facts in text


def test_a_failure_comes_first_and_its_reasons_are_listed():
    failed = decided(120, worse=True)
    text = markdown(FOUND, failed)
    assert "not approved: no set of layers" in text.splitlines()[0]
    assert failed.failures
    for failure in failed.failures:
        assert f"- {failure}\n" in text


def test_too_few_scans_come_first_and_the_reasons_are_listed():
    few = decided(6)
    text = markdown(FOUND, few)
    headline = text.splitlines()[0]
    assert "not approved: 6 scans judged, 138 needed" in headline
    for sentence in (*few.reserves, *few.notes):
        assert f"- {sentence}\n" in text


def test_scans_of_one_class_come_first():
    logits = np.tile(np.float32([0, 0, 3]), (150, 1))
    headline = markdown(FOUND, decide(logits, logits, None, "alike")).splitlines()[0]
    assert "not approved: float32 gives all 150 scans the same class" in headline


def test_int8_in_all_layers_is_approved():
    headline = markdown(FOUND.model_copy(update={"spared": ()}), decided(150)).splitlines()[0]
    assert "int8 approved in all layers" in headline


def test_a_bar_for_each_number_and_negative_ones_to_the_left():
    root = ElementTree.fromstring(chart(EFFECTS))
    texts = [element.text for element in root.iter(f"{SVG}text")]
    assert [t for t in texts if t in {"stem.0", "stages.0.0.conv1"}] == [e.layer for e in EFFECTS]
    assert [t for t in texts if t in {"0.25", "0.12", "0.062", "-0.031"}] == [
        "0.25",
        "0.12",
        "0.062",
        "-0.031",
    ]
    zero = float(root.find(f"{SVG}line").get("x1"))
    bars = [r for r in root.iter(f"{SVG}rect") if r.get("height") == "9"]
    assert [float(bar.get("x")) == zero for bar in bars] == [True, True, True, False]
    negative = bars[-1]
    assert float(negative.get("x")) + float(negative.get("width")) == zero


def test_effects_of_nothing_at_all_still_make_a_chart():
    still = chart([LayerEffect(layer="stem.0", alone=0.0, left_out=0.0)])
    ElementTree.fromstring(still)


def test_the_report_says_what_the_time_limit_left_out():
    assert "time limit" not in markdown(FOUND, decided(150))
    cut = FOUND.model_copy(update={"effects": EFFECTS[:1]})
    assert "1 block and 1 layer of 2" in markdown(cut, decided(150))
