"""The ONNX functions in ONNX Runtime against the reference."""

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from darnet_trt.kernels.onnx_function import DOMAIN, NAMES, OPSET, attention_function
from tests.kernels.attention_cases import ATTENTIONS, make_case


def run(case, attention):
    """Run a graph of one call, every axis dynamic, with the gates as initializers."""
    function = attention_function(attention)
    maps = f"{case.x.dtype.name.removesuffix('32')}[n, d, h, w, c]"
    model = onnx.parser.parse_model(f"""
        <ir_version: 8, opset_import: ["": {OPSET}, "{DOMAIN}": 1]>
        one_call ({maps} x, {maps} residual) => ({maps} y) {{
            y = {DOMAIN}.{NAMES[attention]} ({", ".join(function.input)})
        }}""")
    parameters = [*(case.channel or ()), *(case.depth or ())]
    for name, value in zip(function.input[2:], parameters, strict=True):
        model.graph.initializer.append(onnx.numpy_helper.from_array(value, name))
    model.functions.append(function)
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
@settings(max_examples=40)
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
