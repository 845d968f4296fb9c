"""A fixed piece of work that takes turns with what is measured, and tells how fast the machine is.

A stored time says little on a machine that has two speeds, as many virtual ones do: run as a
multiple of the yardstick's time in the same turns, it says how fast the software is.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from darnet_trt.runtime.bench.subject import Subject, Trace

YARDSTICK: Final = "yardstick"
_SIZE: Final = 768
"""Rows and columns of the matrices; their product takes some ms, most of it in the caches."""


def yardstick() -> Subject:
    """Return the fixed work: products of two float32 matrices, with BLAS and its threads."""
    matrix = np.random.default_rng(0).random((_SIZE, _SIZE), np.float32)
    product = np.empty_like(matrix)

    def multiply() -> None:
        np.matmul(matrix, matrix, out=product)

    return Subject(YARDSTICK, multiply)


def in_yardsticks(trace: Trace, yard: Trace) -> npt.NDArray[np.float64]:
    """Return the times of a subject's turns as multiples of the yardstick's in the same rounds.

    Args:
        trace: Of the subject.
        yard: Of the yardstick; the last turn of a measurement that was interrupted may be missing.
    """
    times, yards = trace.turn_medians_ms(), yard.turn_medians_ms()
    both = min(len(times), len(yards))
    return times[:both] / yards[:both]
