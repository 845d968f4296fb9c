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
"""Rows and columns of the matrices: so small that BLAS multiplies them in one thread. Threads wait
for a busy CPU, which says nothing of the machine's speed, and spin into the next subject's turn."""
_MATRICES: Final = 16
"""They and their products stay in a core's own cache: others that fill the memory slow them
little."""
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
