"""A fixed piece of work that takes turns with what is measured, and tells how fast the machine is.

A stored time says little on a machine that has two speeds, as many virtual ones do. As a multiple
of the yardstick's time in the same run it says how fast the software is.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from darnet_trt.runtime.bench.subject import Subject

YARDSTICK: Final = "yardstick"
_SIZE: Final = 768
"""Rows and columns of the matrices; their product takes some ms, most of it in the caches."""
_TURN_MS: Final = 250


def yardstick() -> Subject:
    """Return the fixed work: products of two float32 matrices, with BLAS and its threads."""
    matrix = np.random.default_rng(0).random((_SIZE, _SIZE), np.float32)
    product = np.empty_like(matrix)

    def multiply() -> None:
        np.matmul(matrix, matrix, out=product)

    return Subject(YARDSTICK, multiply, turn_ms=_TURN_MS)
