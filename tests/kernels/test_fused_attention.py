"""The fused form against the paper's layers one after the other, and the ONNX functions."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx.helper import (
    make_graph,
    make_model,
    make_node,
    make_opsetid,
    make_tensor_value_info,
    tensor_dtype_to_np_dtype,
)

from darnet_trt.kernels.onnx_function import (
    DOMAIN,
    GATE_PARAMETERS,
    NAMES,
    OPSET,
    TO_CHANNELS_FIRST,
    TO_CHANNELS_LAST,
    attention_function,
)
from darnet_trt.kernels.reference import Gate, fused_attention
from darnet_trt.training.model import ChannelAttention, DepthAttention

SHAPES = st.tuples(
    st.integers(1, 3), st.sampled_from([1, 4, 16, 33]), *[st.integers(1, 7) for _ in range(3)]
)
ATTENTIONS = st.sampled_from(["channel", "depth", "both"])


def paper_layers(attention, shape, seed):
    """torch's modules in float64 with random biases, and the fused form's gates made of them."""
    torch.manual_seed(seed)
    _, c, d, _, _ = shape
    channel = ChannelAttention(c).double() if attention != "depth" else None
    depth = DepthAttention(c, d).double() if attention != "channel" else None
    gates = []
    for module in (channel, depth):
        if module is None:
            gates.append(None)
            continue
        state = {k: v.numpy() for k, v in module.state_dict().items()}
        gates.append(Gate(*(state[p] for p in GATE_PARAMETERS)))
    return [m for m in (channel, depth) if m is not None], *gates


@given(ATTENTIONS, SHAPES, st.integers(0, 2**31))
@settings(max_examples=60, deadline=None)
def test_one_pooling_and_one_scaling_equal_the_papers_layers(attention, shape, seed):
    modules, channel, depth = paper_layers(attention, shape, seed)
    x, residual = torch.randn(2, *shape, dtype=torch.float64)
    with torch.no_grad():
        expected = x
        for module in modules:
            expected = module(expected)
        expected = (expected + residual).relu()
    fused = fused_attention(x.numpy(), residual.numpy(), channel, depth)
    np.testing.assert_allclose(fused, expected.numpy(), rtol=0, atol=1e-14)


def function_model(attention, dtype, gates):
    """A graph of one call in channels-last; every axis dynamic, gates as initializers."""
    function = attention_function(attention)
    axes = ["n", "d", "h", "w", "c"]
    names = list(function.input)[2:]
    values = [
        getattr(gate, parameter.replace(".", "_")).astype(tensor_dtype_to_np_dtype(dtype))
        for gate in gates
        if gate is not None
        for parameter in GATE_PARAMETERS
    ]
    graph = make_graph(
        [make_node(NAMES[attention], list(function.input), ["y"], domain=DOMAIN)],
        "one-call",
        [make_tensor_value_info(name, dtype, axes) for name in ("x", "residual")],
        [make_tensor_value_info("y", dtype, axes)],
        [onnx.numpy_helper.from_array(v, n) for n, v in zip(names, values, strict=True)],
    )
    model = make_model(
        graph,
        functions=[function],
        opset_imports=[make_opsetid("", OPSET), make_opsetid(DOMAIN, 1)],
        ir_version=8,
    )
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )

    def run(x, residual):
        last = {
            name: np.ascontiguousarray(value.transpose(TO_CHANNELS_LAST))
            for name, value in (("x", x), ("residual", residual))
        }
        (y,) = session.run(None, last)
        return y.transpose(TO_CHANNELS_FIRST)

    return run


@given(ATTENTIONS, SHAPES, st.integers(0, 2**31))
@settings(max_examples=40, deadline=None)
def test_onnx_function_equals_the_reference(attention, shape, seed):
    _, *gates = paper_layers(attention, shape, seed)
    x, residual = np.random.default_rng(seed).normal(size=(2, *shape)).astype(np.float32)
    y = function_model(attention, onnx.TensorProto.FLOAT, gates)(x, residual)
    expected = fused_attention(x.astype(float), residual.astype(float), *gates)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("attention", ["channel", "depth", "both"])
def test_onnx_function_in_float16_survives_sums_that_float16_cannot_hold(attention):
    shape = (2, 16, 3, 40, 40)  # at a mean of 60 the sum over h and w is 96 000
    _, *gates = paper_layers(attention, shape, 7)
    rng = np.random.default_rng(7)
    x = rng.normal(60, 5, shape).astype(np.float16)
    residual = rng.normal(size=shape).astype(np.float16)
    y = function_model(attention, onnx.TensorProto.FLOAT16, gates)(x, residual)
    assert y.dtype == np.float16
    expected = fused_attention(x.astype(float), residual.astype(float), *gates)
    np.testing.assert_allclose(y, expected, rtol=4e-3, atol=1e-2)
