"""The report of a calibration: nothing is lost on the way to a person."""

from xml.etree import ElementTree

from darnet_trt.calibration.report import chart, markdown
from darnet_trt.runtime.manifest import LayerEffect, Quantization

SVG = "{http://www.w3.org/2000/svg}"
EFFECTS = (
    LayerEffect(layer="stem.0", alone=0.25, left_out=0.125),
    LayerEffect(layer="stages.0.0.conv1", alone=0.0625, left_out=-0.03125),
)


def test_everything_that_was_found_is_told():
    text = markdown(
        Quantization(
            scans=3,
            source="3 phantoms",
            digest="0",
            random=False,
            method="mse",
            errors={"mse": 0.011, "minmax": 0.034},
            layers=("stages.0.0.conv1",),
            spared=("stem.0",),
            effects=EFFECTS,
            trials={0: ("3 of 6 scans changed class", "too far"), 1: ()},
        )
    )
    for words in (
        "1 of 2 convolutions in int8, ranges by mse, from 3 phantoms.",
        "| minmax | 0.034 |",
        "Left in higher precision: stem.0.",
        "| 0 | 3 of 6 scans changed class; too far |\n| 1 | kept |",
        "| stages.0.0.conv1 | 0.062 | -0.031 |",
    ):
        assert words in text


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
