"""Equalized channels: the same function, and weights that one scale suits."""

import numpy as np
import onnxruntime
import pytest
from onnx.numpy_helper import to_array

from darnet_trt.calibration.equalize import divisors, equalized
from tests.export.networks import TINY, graph_of, trained_like, with_weight

BLOCK = "stages.0.1"
FACTORS = np.array([1, 64, 2**-5, 0.3], np.float32)  # of the channels between its convolutions


def uneven(precision="fp32", factors=FACTORS):
    """A network whose channels between two convolutions differ on purpose."""
    model = graph_of(trained_like(TINY), precision)
    of_output = factors.reshape(-1, 1, 1, 1, 1)
    for name, change in (
        (f"{BLOCK}.conv1.weight", of_output),
        (f"{BLOCK}.bn1.bias", factors),
        (f"{BLOCK}.conv2.weight", 1 / of_output[..., 0]),
    ):
        model = with_weight(model, name, lambda w, change=change: (w * change).astype(w.dtype))
    return model


def ranges(model):
    """Largest weight of each channel between the convolutions: of the first, of the second."""
    values = {t.name: np.abs(to_array(t).astype(np.float32)) for t in model.graph.initializer}
    return values[f"{BLOCK}.conv1.weight"].max((1, 2, 3, 4)), values[f"{BLOCK}.conv2.weight"].max(
        (0, 2, 3, 4)
    )


def logits(model, volume):
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return session.run(["logits"], {"input": volume})[0]


def test_the_network_computes_exactly_the_same():
    volume = np.random.default_rng(0).random((1, 1, *TINY.input_size), np.float32)
    model = uneven()
    found = equalized(model, divisors(model))
    assert any((of_layer > 1).any() for of_layer in divisors(model).values())
    np.testing.assert_array_equal(logits(found, volume), logits(model, volume))


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_channels_become_alike(precision):
    model = uneven(precision)
    of = divisors(uneven())  # float16's own could differ where a weight is rounded
    assert len(of) == 8
    before, after = (
        max(r.max() / r.min() for r in ranges(m)) for m in (model, equalized(model, of))
    )
    assert before > 500
    assert after < 8
    first, second = ranges(equalized(model, of))
    ratio = first / second
    assert ratio.max() / ratio.min() <= 4.01  # both differ by at most √2 from the best


def test_nothing_grows_that_could_overflow_float16():
    for factors in (FACTORS, FACTORS * 1000):
        found = divisors(uneven(factors=factors))
        for of_layer in found.values():
            assert of_layer.min() == 1
            assert (np.log2(of_layer) % 1 == 0).all()


def test_a_channel_without_weights_is_left_alone():
    for name in (f"{BLOCK}.conv1.weight", f"{BLOCK}.conv2.weight"):
        model = with_weight(uneven(), name, np.zeros_like)
        assert (divisors(model)[f"{BLOCK}.conv1"] == 1).all()
    silent = uneven(factors=np.array([1, 64, 0.5, 1], np.float32))

    def without_the_first(weight):
        weight[0] = 0
        return weight

    of = divisors(with_weight(silent, f"{BLOCK}.conv1.weight", without_the_first))
    assert of[f"{BLOCK}.conv1"][0] == 1
    assert of[f"{BLOCK}.conv1"][1] > 8
