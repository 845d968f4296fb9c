"""Random fields: slow variation of tissue, and the noise of a reconstruction."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def _interpolate(values: Array, position: Array, axis: int) -> Array:
    """Interpolate linearly along an axis; positions are in units of the grid, which wraps."""
    lower = np.floor(position).astype(np.intp)
    shape = [1] * values.ndim
    shape[axis] = -1
    weight = (position - lower).astype(np.float32).reshape(shape)
    weight = weight * weight * (3 - 2 * weight)  # smooth: no creases along the grid's planes
    n = values.shape[axis]
    a = np.take(values, lower % n, axis=axis)
    b = np.take(values, (lower + 1) % n, axis=axis)
    b -= a
    b *= weight
    b += a
    result: Array = b
    return result


class SmoothField:
    """A random field with unit variance at its nodes, the same wherever it is sampled from.

    Args:
        rng: Where the nodes come from.
        pitch_mm: Distance of the nodes.
    """

    # Enough nodes that the period exceeds any lung at the pitches in use (≥ 9 mm: 430 mm).
    NODES = 48

    def __init__(self, rng: np.random.Generator, pitch_mm: float) -> None:
        self.pitch_mm = pitch_mm
        self.nodes = rng.standard_normal((self.NODES,) * 3, dtype=np.float32)

    def sample(self, z_mm: Array, y_mm: Array, x_mm: Array) -> Array:
        """Return values on a grid given by its axes: (len(z), len(y), len(x))."""
        values = _interpolate(self.nodes, z_mm / self.pitch_mm, 0)
        values = _interpolate(values, y_mm / self.pitch_mm, 1)
        return _interpolate(values, x_mm / self.pitch_mm, 2)


def reconstruction_noise(
    rng: np.random.Generator, shape: tuple[int, int], sigma_hu: float, sharpness: float
) -> Array:
    """Draw the noise of one slice, correlated like that of a filtered back-projection.

    Args:
        rng: Where it comes from.
        shape: (h, w).
        sigma_hu: Its standard deviation.
        sharpness: 0 smooth kernel (low-pass) … 1 sharp kernel (edges enhanced).
    """
    white = rng.standard_normal(shape, dtype=np.float32)
    smooth = white
    for axis in (0, 1):
        smooth = 0.5 * smooth + 0.25 * (np.roll(smooth, 1, axis) + np.roll(smooth, -1, axis))
    # Variances: white 1, smooth (6/16)² = 0.140625, their covariance 0.25.
    a, b = sharpness, 1 - 1.5 * sharpness
    variance = a * a + b * b * 0.140625 + 2 * a * b * 0.25
    noise: Array = (a * white + b * smooth) * np.float32(sigma_hu / np.sqrt(variance))
    return noise
