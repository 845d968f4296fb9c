"""Networks that one scale a layer breaks, and what the search finds for them."""

import numpy as np
import onnx
import pytest

from darnet_trt.calibration.qdq import convolutions
from darnet_trt.calibration.scans.choosing import CalibrationScans, HeldOut
from darnet_trt.calibration.scans.sample import hashed
from darnet_trt.calibration.search.scales import EQUALIZED, ONE_SCALE, choose_scales
from darnet_trt.calibration.search.search import Search, calibrate, gather
from tests.calibration.test_equalize import uneven
from tests.export.networks import TINY, graph_of, trained_like, with_weight

HOUR = 3600.0
pytestmark = pytest.mark.usefixtures("cache")


def searched(model, seconds=HOUR):
    draw = np.random.default_rng(0)
    volumes = tuple(2 * i % 3 * draw.random((1, *TINY.input_size), np.float32) for i in range(1, 9))
    hashes = tuple(map(hashed, volumes))
    scans = CalibrationScans(volumes[:3], "3 drawn", hashes[:3])
    judges = HeldOut(volumes[3:], None, "5 drawn", hashes[3:])
    search = Search(method="minmax", seconds=seconds, backend="onnxruntime")
    found = gather(model, scans, None, lambda line: None)
    return calibrate(model, found, ["s8"], scans, judges, search, lambda line: None)["s8"]


def test_an_ordinary_network_has_one_scale_a_layer():
    found = searched(graph_of(trained_like(TINY)))
    assert found.decisions.passed
    report = found.report
    assert (report.equalized, report.by_channel, report.scale_trials) == (False, (), {})
    assert set(report.layers) == set(convolutions(graph_of(trained_like(TINY)), "s8"))


def test_channels_that_differ_between_two_convolutions_are_made_alike():
    model = uneven()
    found = searched(model)
    assert found.decisions.passed
    assert found.report.equalized
    assert not found.report.by_channel
    assert not found.report.spared
    assert found.report.scale_trials[ONE_SCALE]
    assert found.report.scale_trials[EQUALIZED] == ()
    assert any("chose among 2 " in note for note in found.decisions.notes)
    graph = found.graph(model, "plugin")
    onnx.checker.check_model(graph)


def outliers():
    """In some layers one channel has only one large weight, which reads what is always 0."""
    model = graph_of(trained_like(TINY))

    def silent(weight):
        weight[3] = 0
        return weight

    def far_out(weight):
        weight[0] = 0
        weight[0, 3] = 3000
        return weight

    for block in ("stages.1.1", "stages.2.0", "stages.2.1", "stages.3.0", "stages.3.1"):
        model = with_weight(model, f"{block}.conv1.weight", silent)
        model = with_weight(model, f"{block}.bn1.bias", silent)
        model = with_weight(model, f"{block}.conv2.weight", far_out)
    return model


def test_layers_with_a_far_larger_channel_get_a_scale_for_each():
    model = outliers()
    found = searched(model)
    assert found.decisions.passed
    report = found.report
    assert "stages.3.1.conv2" in report.by_channel
    assert len(report.by_channel) < len(report.layers)
    assert not report.spared
    assert report.scale_trials[EQUALIZED]
    for form in ("s8", "plugin"):
        graph = found.graph(model, form)
        factors = {t.name for t in graph.graph.initializer if t.name.endswith(".factors")}
        assert factors == {f"{name}.weight.factors" for name in report.by_channel}


def test_without_time_only_one_scale_is_tried():
    found = searched(outliers(), seconds=-1.0)
    assert not found.decisions.passed
    assert (found.report.equalized, found.report.scale_trials) == (False, {})


@pytest.mark.parametrize("better", [True, False])
def test_if_no_way_passes_the_one_that_errs_less_is_kept(model, better):
    def error(by):
        return 0.5 if bool(by) == better else 1.0

    said = []
    found = choose_scales(
        model,
        convolutions(model, "s8"),
        lambda by, layers: ("no",),
        error,
        seconds=HOUR,
        log=said.append,
    )
    assert bool(found.divisors) == better
    assert not found.by_channel
    assert len(found.tried) == len(said) == 3
    assert all(found.tried.values())


def test_the_fewest_layers_get_a_scale_for_each_channel_those_before_a_relu_first(model):
    layers = convolutions(model, "s8")

    def failures(by, by_channel):
        return () if len(by_channel) >= 9 else ("no",)

    found = choose_scales(
        model, layers, failures, lambda by: 1.0, seconds=HOUR, log=lambda line: None
    )
    assert len(found.by_channel) == 9
    assert {name for name in layers if name.endswith("conv1")} < found.by_channel
