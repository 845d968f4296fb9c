"""The largest values of a network's layers: what the collector finds, and the gates' besides."""

import numpy as np
import pytest

from darnet_trt.calibration.activations.collect import Collector
from darnet_trt.calibration.activations.magnitudes import magnitudes
from darnet_trt.export.onnx.graph import build_graph
from darnet_trt.export.onnx.weights import folded
from tests.export.networks import TINY, trained_like


def graph(attention="both"):
    network = TINY.model_copy(update={"attention": attention})
    return build_graph(network, folded(trained_like(network).model()), "fp32", {})


def scans(count):
    generator = np.random.default_rng(3)
    return [generator.random((1, *TINY.input_size), np.float32) for _ in range(count)]


@pytest.mark.parametrize("attention", ["both", "none"])
def test_they_are_the_largest_of_all_scans(attention, cache):
    model = graph(attention)
    found = magnitudes(model, scans(2))
    tensors = [name for name in found if name.endswith(".out")]
    assert len(tensors) == 28  # 20 convolutions and 8 blocks
    collector = Collector(model, tensors)
    seen = [collector.statistics(scan) for scan in scans(2)]
    for name in tensors:
        expected = max(one[name].magnitude for one in seen)
        assert found[name] == pytest.approx(expected, rel=1e-5), name
    assert found["cam"] > 0


def test_gates_go_by_their_layers_names():
    found = magnitudes(graph(), scans(1))
    gates = [name for name in found if "attention" in name]
    assert len(gates) == 4 * 8
    assert gates[:2] == [
        "stages.0.0.channel_attention.squeeze",
        "stages.0.0.channel_attention.excite",
    ]
    assert all(found[name] > 0 for name in gates)


def test_what_float32_does_not_hold_is_no_number():
    network = trained_like(TINY)
    network.state_dict["stages.2.0.conv2.weight"] *= 1e38
    model = build_graph(TINY, folded(network.model()), "fp32", {})
    assert not np.isfinite(magnitudes(model, scans(1))["stages.2.0.bn2.out"])
