"""Count what plans of the paper's network launch and move, from the tables of real builds."""

import onnx
import pytest

from darnet_trt.calibration.qdq import Range, convolutions, quantize, quantized_tensors
from darnet_trt.export.tensorrt.builder import build_tensorrt
from darnet_trt.export.tensorrt.child import Job
from darnet_trt.training.model import Network
from tests.export.networks import graph_of, trained_like

INT8_TARGETS = ("sm86", "sm89", "sm120")


@pytest.fixture(scope="module")
def network():
    pytest.importorskip("tensorrt_rtx", reason="tensorrt_rtx is not installed")
    return graph_of(trained_like(Network()), "fp16")


@pytest.fixture(scope="module")
def built(network, cpu_library, tmp_path_factory):
    """Build a plan once: form "fp16", "s8" or "plugin", and layers with a scale a channel."""
    folder, known = tmp_path_factory.mktemp("plans"), {}

    def build(form, target="sm89", *, plugin=True, by_channel=""):
        key = (form, target, plugin, by_channel)
        if key not in known:
            graph = network
            if form != "fp16":
                layers = convolutions(network, form)
                ranges = {
                    t: Range(4.0, signed=True) for t in quantized_tensors(network, layers, form)
                }
                chosen = [name for name in layers if by_channel and by_channel in name]
                graph = quantize(network, ranges, layers, form, chosen)
            onnx.save(graph, folder / "x.onnx")
            known[key] = build_tensorrt(
                Job(
                    backend="tensorrt-rtx",
                    onnx=folder / "x.onnx",
                    plan=folder / "x.plan",
                    target=target,
                    plugin=cpu_library if plugin else None,
                )
            )
        return known[key]

    return build


def kernels(plan):
    return sum(n for types in plan.kernels.values() for n in types.values())


@pytest.mark.parametrize("target", INT8_TARGETS)
def test_an_int8_plan_moves_fewer_bytes_than_float16(built, target):
    int8, fp16 = built("plugin", target), built("fp16")
    assert int8.kernels["convolution"] == {"int8": 19, "fp16": 2}  # stem and head
    assert kernels(int8) <= 43
    assert int8.work.activations <= 2250e6
    assert int8.work.activations < fp16.work.activations
    assert int8.work.weights < 0.6 * fp16.work.weights
    assert int8.work.read_again == fp16.work.read_again  # x is float16 in both


def test_without_the_plugin_too(built):
    int8, fp16 = built("s8", plugin=False), built("fp16", plugin=False)
    assert int8.kernels["convolution"] == {"int8": 19, "fp16": 2}
    assert int8.work.activations < fp16.work.activations


def test_the_plugin_saves_launches_and_no_bytes(built):
    with_plugin, without = built("fp16"), built("fp16", plugin=False)
    assert kernels(with_plugin) == 34
    assert with_plugin.work.launches < without.work.launches == 79
    moved = with_plugin.work.activations + with_plugin.work.read_again
    assert moved == pytest.approx(without.work.activations, rel=0.01)


def test_a_scale_for_each_channel_before_a_relu_is_free(built):
    one, some = built("plugin"), built("plugin", by_channel="conv1")
    assert some.kernels == one.kernels
    assert some.work.activations == one.work.activations


def test_elsewhere_it_costs_a_kernel_and_its_bytes(built):
    one, every = built("plugin"), built("plugin", by_channel="conv2")
    assert kernels(every) == kernels(one) + 8
    assert every.work.activations > 1.2 * one.work.activations
