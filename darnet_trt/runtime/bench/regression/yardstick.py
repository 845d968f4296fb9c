"""A fixed piece of work that takes turns with what is measured, and tells how fast the machine is.

A stored time says little on a machine that has two speeds, as many virtual ones do. As a multiple
of the yardstick's time in the same run it says how fast the software is.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from darnet_trt.runtime.bench.subject import Subject

YARDSTICK: Final = "yardstick"
_SIZE: Final = 60
"""Rows and columns of the matrices: so small that OpenBLAS, which numpy brings, multiplies them in
one thread. Several would wait for a busy CPU, and spin into the next subject's turn."""
_MATRICES: Final = 16
"""They and their products take 460 kB, and stay in the own cache of most servers' cores: who fills
the memory slows them little."""
_REPEATS: Final = 100
_TURN_MS: Final = 100
"""Time for a dozen queries."""


def yardstick() -> Subject:
    """Return the fixed work: products of small float32 matrices, some ms a query."""
    matrices = np.random.default_rng(0).random((_MATRICES, _SIZE, _SIZE), np.float32)
    products = np.empty_like(matrices)

    def multiply() -> None:
        for _ in range(_REPEATS):
            np.matmul(matrices, matrices, out=products)

    return Subject(YARDSTICK, multiply, turn_ms=_TURN_MS)
