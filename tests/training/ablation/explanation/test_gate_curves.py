"""The picture of the depth gates."""

import numpy as np
import pytest

from darnet_trt.training.ablation.explanation.gate_curves import draw_gates


@pytest.mark.parametrize("name", ["a$\\foo$b", "a\udcffb"])
def test_any_name_of_a_scan_can_be_drawn(name):
    gates = [np.linspace(0, 1, n, dtype=np.float32) for n in (9, 5, 3, 2)]
    assert draw_gates(name, 9, {"both": gates}, None).startswith(b"\x89PNG")
