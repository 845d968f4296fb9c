import itertools

import pytest

from darnet_trt.runtime.bench.report.pareto import draw_pareto
from darnet_trt.runtime.bench.report.schema import Answers, Fidelity
from tests.runtime.bench.report.reports import report, steady, trace

pytest.importorskip("matplotlib")

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

EIGHT = {
    "openvino-int8": (1440, 0.04),
    "openvino-bf16": (2800, 0.013),
    "openvino": (2830, 0.013),
    "onnxruntime": (7200, 6e-8),
    "torch": (10400, 9e-8),
    "torch-compile": (6500, 0.0),
    "torch-fused": (8200, 2e-7),
    "other:onnxruntime-int8": (3500, 0.05),
}
NEAR = {f"bundle{i}:openvino-bf16": (100 + i / 2, 0.01 + 0.0003 * i) for i in range(8)}


def compared(engines, **finite):
    """A report of engines: name → ms and difference of a probability."""
    traces = [trace(name, steady(ms, seed=2)) for name, (ms, _) in engines.items()]
    whole = report(*traces)
    fidelity = {
        name: Fidelity(
            class_flips=0,
            max_probability_difference=difference,
            max_logits_error=difference,
            finite=finite.get(name, True),
        )
        for name, (_, difference) in engines.items()
    }
    answers = Answers(inputs=3, source="3 phantoms", random=False, reference="float32 reference")
    measured = [e.model_copy(update={"fidelity": fidelity[e.name]}) for e in whole.engines]
    return whole.model_copy(update={"engines": tuple(measured), "answers": answers})


def drawn(engines, **finite):
    figure = Figure(figsize=(8, 5), dpi=150, layout="constrained")
    assert draw_pareto(compared(engines, **finite), figure)
    (axes,) = figure.axes
    return figure, axes


@pytest.mark.parametrize("engines", [EIGHT, NEAR])
def test_no_name_covers_another_or_leaves_the_picture(engines):
    figure, axes = drawn(engines)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    assert {text.get_text() for text in axes.texts} == set(engines)
    # Of the text alone, without the line to the point.
    names = [Text.get_window_extent(text, canvas.get_renderer()) for text in axes.texts]
    for one, other in itertools.combinations(names, 2):
        assert not one.overlaps(other)
    inside = axes.get_window_extent()
    assert all(inside.count_contains(box.corners()) == 4 for box in names)


def test_the_line_joins_those_to_which_no_other_is_faster_and_as_near():
    _, axes = drawn(EIGHT)
    best = axes.lines[0].get_ydata()
    assert [round(ms / 100) for ms in best] == [65, 28, 14]


def test_no_difference_has_a_place_of_its_own():
    _, axes = drawn({"a": (20, 0.0), "b": (10, 0.02)})
    assert axes.get_xticklabels()[0].get_text() == "none"
    _, axes = drawn({"a": (20, 0.01), "b": (10, 0.02)})
    assert "none" not in [label.get_text() for label in axes.get_xticklabels()]


def test_answers_that_are_no_numbers_have_no_place():
    _, axes = drawn({"a": (20, 0.0), "b": (10, 0.02), "c": (5, 1e9)}, c=False)
    assert {text.get_text() for text in axes.texts} == {"a", "b"}


def test_one_point_is_no_picture():
    assert not draw_pareto(compared({"a": (20, 0.0)}), Figure())
    assert not draw_pareto(report(trace("a", steady(20)), trace("b", steady(30))), Figure())
