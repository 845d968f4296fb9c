"""Choose the scales of int8 weights, and store weights with them.

A weight of a convolution is (out, in, d, h, w), float32 or float16; value = scale · stored.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

LIMIT: Final = 127
INT32_LIMIT: Final = 2**31 - 1
# Larger factors between channels would leave the smallest in float16's subnormal numbers.
_LARGEST_FACTOR: Final = np.float32(2.0**14)

Floats = npt.NDArray[np.floating]


def stored(weight: Floats, scales: Floats) -> npt.NDArray[np.int8]:
    """Round a weight to int8; `scales` is one, or one for each output channel."""
    steps = scales.astype(np.float32)
    if steps.ndim:
        steps = steps.reshape(-1, *(1,) * (weight.ndim - 1))
    rounded = np.rint(weight.astype(np.float32) / steps)
    return np.asarray(np.clip(rounded, -LIMIT, LIMIT).astype(np.int8))


def one_scale(weight: Floats) -> Floats:
    """Return the scale, a scalar of the weight's type, with which nothing is clipped."""
    return _above(np.abs(weight).max() / np.float32(LIMIT), weight.dtype)


def scale_and_factors(weight: Floats) -> tuple[Floats, Floats]:
    """Return a scale for the whole weight and a factor for each output channel, in its type.

    A channel's own scale is the product of both. The smallest channel has the factor 1, so no
    convolution's output is larger before its factor than behind it, and float16 cannot overflow.
    """
    largest = np.abs(weight.astype(np.float32)).reshape(len(weight), -1).max(1)
    smallest = largest.min(where=largest > 0, initial=largest.max())
    scale = _above(max(smallest, largest.max() / _LARGEST_FACTOR) / LIMIT, weight.dtype)
    factors = np.maximum(largest / LIMIT / scale.astype(np.float32), 1)
    return scale, _above(factors, weight.dtype)


def scales_for_bias(weight: Floats, bias: Floats, scale_x: Floats) -> npt.NDArray[np.float32]:
    """Return float32 scales, one a channel, so large that int32 holds the bias over both scales.

    Args:
        weight: Float32.
        bias: (out,).
        scale_x: Scale of the convolution's input, a scalar.
    """
    tiny = np.finfo(np.float32).tiny
    largest = np.abs(weight).reshape(len(weight), -1).max(1)
    largest[largest == 0] = 1  # all weights of the channel are 0: any scale stores them
    unit = np.maximum(np.abs(bias.astype(np.float64)) / INT32_LIMIT, tiny)
    needed = (unit / scale_x.astype(np.float64)).astype(np.float32)
    return np.asarray(np.maximum(np.maximum(largest / np.float32(LIMIT), needed), tiny))


def _above(values: npt.ArrayLike, dtype: npt.DTypeLike) -> Floats:
    """Round up to a type; 0 becomes its smallest number, in float32 its smallest normal one.

    Subnormal float16 scales lose nothing: float16 weights are multiples of its smallest number, and
    those that are at most 127 times that are stored exactly.
    """
    exact = np.asarray(values, np.float32)
    if dtype != np.float16:
        return np.maximum(exact, np.finfo(np.float32).tiny)
    nearest = exact.astype(np.float16)
    above = np.nextafter(nearest, np.float16(np.inf))
    return np.asarray(np.where((nearest < exact) | (nearest == 0), above, nearest))
