"""The held-out scans' measures in words."""

import numpy as np
import pytest

from darnet_trt.cli.held_out import measures
from darnet_trt.evaluation.metrics import evaluate


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        ([0, 1, 1], "a against the rest  AUC 1.000"),
        ([1, 1, 1], "a against the rest  not measured: no usable scan is of the class a"),
        ([0, 0, 0], "a against the rest  not measured: all usable scans are of the class a"),
    ],
)
def test_the_positive_class_has_a_line_also_where_nothing_is_measured(labels, says):
    found = evaluate(np.array([[9, 0], [0, 9], [0, 9]], np.float32), np.array(labels), ("a", "b"))
    accuracy, positive = measures(found, ("a", "b"))
    assert accuracy.startswith("accuracy")
    assert positive.startswith(says)
    assert list(measures({}, ("a", "b"))) == []
