"""The scans that engines are compared on."""

import numpy as np

from darnet_trt.export.gates.parity_scans import synthetic_scans


def test_the_synthetic_scans_are_always_the_same_and_not_empty(source):
    spec = source.checkpoint.preprocessing
    first, second = synthetic_scans(spec), synthetic_scans(spec)
    for a, b in zip(first.inputs, second.inputs, strict=True):
        assert a.shape == (1, *spec.size)
        assert a.std() > 0.1
        np.testing.assert_array_equal(a, b)
