"""The packed stem computes the same numbers as the plain one."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from darnet_trt.calibration import packed_stem
from darnet_trt.calibration.qdq import STEM, convolutions, quantize
from darnet_trt.kernels.onnx_inline import inlined
from darnet_trt.runtime.engines.openvino.conversion import build_openvino
from darnet_trt.runtime.engines.openvino.runner import OpenVINORunner
from tests.calibration.test_qdq import ranges_on, run
from tests.export.networks import TINY, graph_of, trained_like

SIZE = TINY.input_size


@given(st.integers(1, 4), st.integers(1, 6), st.integers(1, 6), st.integers(0, 2**32 - 1))
def test_any_input_of_whole_squares_gives_the_same_sums(depth, high, wide, seed):
    random = np.random.default_rng(seed)
    given_ = random.integers(0, 256, (2, 1, depth, 2 * high, 2 * wide)).astype(np.float64)
    weight = random.integers(-128, 128, (3, 1, 3, 7, 7)).astype(np.int8)
    plain = convolved(given_, weight, (1, 2, 2), (1, 3, 3, 3, 3))
    squares, packed = packed_stem.shapes(given_.shape).values()
    moved = given_.reshape(squares).transpose(0, 3, 5, 1, 2, 4).reshape(packed)
    found = convolved(moved, packed_stem.packed_weight(weight), (1, 1, 1), (1, 2, 1, 2, 1))
    np.testing.assert_array_equal(found, plain)


def convolved(x, weight, stride, pads):
    depth, top, bottom, left, right = pads
    padded = np.pad(x, ((0, 0), (0, 0), (depth, depth), (top, bottom), (left, right)))
    weight = torch.from_numpy(weight.astype(np.float64))
    return torch.conv3d(torch.from_numpy(padded), weight, stride=stride).numpy()


@pytest.mark.parametrize(
    ("shape", "can"),
    [((0, 1, 3, 4, 6), True), ((0, 1, 3, 5, 6), False), ((0, 1, 3, 4, 7), False),
     ((0, 2, 3, 4, 6), False), ((0, 1, 3, 0, 6), False)],
)  # fmt: skip
def test_only_one_channel_of_whole_squares_is_packed(shape, can):
    assert packed_stem.can_pack(shape) == can


def both(model, ranges, monkeypatch):
    """Quantize with a plain stem and with a packed one."""
    layers = convolutions(model)
    packed = quantize(model, ranges, layers, "u8")
    with monkeypatch.context() as patch:
        patch.setattr(packed_stem, "can_pack", lambda shape: False)
        return quantize(model, ranges, layers, "u8"), packed


@pytest.fixture(scope="module")
def volume():
    return np.random.default_rng(0).random((2, 1, *SIZE), np.float32)


@pytest.fixture(scope="module")
def quantized(volume):
    model = graph_of(trained_like(TINY), "fp32")
    with pytest.MonkeyPatch.context() as patch:
        return both(model, ranges_on(model, volume), patch)


def test_the_graph_says_that_the_stem_is_packed(quantized):
    plain, packed = ({node.name: node for node in model.graph.node}[STEM] for model in quantized)
    assert plain.input[0] == "input.dequantized"
    assert packed.input[0] == "stem.0.packed"
    sizes = {one.name: list(one.ints) for one in packed.attribute if one.ints}
    assert sizes["kernel_shape"] == [3, 4, 4]
    assert sizes["strides"] == [1, 1, 1]


def test_onnx_runtime_computes_the_same(quantized, volume):
    (plain,), (packed,) = (run(model, volume) for model in quantized)
    np.testing.assert_array_equal(packed, plain)


def test_openvino_computes_the_same_in_int8(quantized, volume, tmp_path):
    found = []
    for name, model in zip(("plain", "packed"), quantized, strict=True):
        file, _ = build_openvino(inlined(model), tmp_path / name)
        runner = OpenVINORunner(file, precision="int8")
        found.append((runner.precision, runner.provenance, runner.infer(volume)))
        runner.close()
    (precision, about, plain), (packed_precision, packed_about, packed) = found
    assert precision == packed_precision
    assert about == packed_about  # as many convolutions in int8
    np.testing.assert_array_equal(packed.logits, plain.logits)
    np.testing.assert_array_equal(packed.cam, plain.cam)
