"""The ONNX functions in ONNX Runtime against the reference."""

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx.helper import make_graph, make_model, make_node, make_opsetid, make_tensor_value_info

from darnet_trt.kernels.onnx_function import DOMAIN, NAMES, OPSET, attention_function
from tests.kernels.attention_cases import ATTENTIONS, make_case


def run(case, attention):
    """Run a graph of one call, every axis dynamic, with the gates as initializers."""
    function = attention_function(attention)
    dtype = onnx.helper.np_dtype_to_tensor_dtype(case.x.dtype)
    axes = ["n", "d", "h", "w", "c"]
    parameters = zip(function.input[2:], [*(case.channel or ()), *(case.depth or ())], strict=True)
    graph = make_graph(
        [make_node(NAMES[attention], list(function.input), ["y"], domain=DOMAIN)],
        "one-call",
        [make_tensor_value_info(name, dtype, axes) for name in ("x", "residual")],
        [make_tensor_value_info("y", dtype, axes)],
        [onnx.numpy_helper.from_array(value, name) for name, value in parameters],
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
    (y,) = session.run(None, {"x": case.x, "residual": case.residual})
    return y


@given(
    st.sampled_from(ATTENTIONS),
    st.tuples(
        st.integers(1, 3), *[st.integers(1, 7) for _ in range(3)], st.sampled_from([1, 4, 16, 33])
    ),
    st.integers(0, 2**31),
)
@settings(max_examples=40, deadline=None)
def test_the_function_equals_the_reference(attention, shape, seed):
    case = make_case(shape, attention=attention, seed=seed)
    case.check(run(case, attention))


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_in_float16_it_survives_sums_that_float16_cannot_hold(attention):
    case = make_case((2, 3, 40, 40, 16), attention=attention, weights="float16", seed=7)
    case.x += 60  # the sum over h and w is 96 000
    y = run(case, attention)
    assert y.dtype == np.float16
    np.testing.assert_allclose(y, case.expected(), rtol=4e-3, atol=1e-2)
