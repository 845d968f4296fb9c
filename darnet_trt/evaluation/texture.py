"""Describe the grey values of an input, and how they change from voxel to voxel.

A network learns to overlook what does not tell its classes apart: noise, sharpness, thickness of
the slices. Its features then hardly differ between scanners, or between phantoms and patients.
These numbers do.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

_LEVELS: Final = 2
_GREYS: Final = (0.1, 0.5, 0.9)
"""Quantiles of the grey values."""
_LEAST: Final = 1e-3
"""Added to every detail: 1.5 HU in a window of 1500, which hides the rounding to float16."""
TEXTURES: Final = 7 * _LEVELS + len(_GREYS)
"""Numbers that describe an input."""


def texture(volume: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Return the logarithms of the Haar wavelet's details, then grey values, (TEXTURES,).

    A level halves the volume along each axis. The means of neighbours are the next level's volume;
    their differences along one, two or three axes are seven details, of which the root mean square
    counts (Mallat, IEEE Transactions on Pattern Analysis and Machine Intelligence 11, 1989,
    674-693, tells textures apart so). The grey values are quantiles of the last means.

    Args:
        volume: An input of the network, (1, d, h, w), of any size.
    """
    level, found = volume[0], list[npt.NDArray[np.float64]]()
    for _ in range(_LEVELS):
        level, squares = _halved(level)
        found.append(np.log(np.sqrt(squares) + _LEAST))
    return np.concatenate((*found, np.quantile(level, _GREYS)))


def _halved(
    volume: npt.NDArray[np.float32],
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float64]]:
    """Return the means of 2x2x2 neighbours, and the mean squares of the details, (7,).

    The last plane of an odd axis counts twice.
    """
    volume = np.pad(volume, [(0, n % 2) for n in volume.shape], mode="edge")
    d, h, w = (n // 2 for n in volume.shape)
    means, squares = np.empty((d, h, w), np.float32), np.zeros(7)
    for z in range(d):  # two slices fit into the processor's cache, a volume does not
        first, second = volume[2 * z : 2 * z + 2]
        bands = list[npt.NDArray[np.float32]]()
        for slab in (first + second, first - second):
            for rows in (slab[::2] + slab[1::2], slab[::2] - slab[1::2]):
                bands += (rows[:, ::2] + rows[:, 1::2], rows[:, ::2] - rows[:, 1::2])
        means[z] = bands[0] / 8
        squares += [np.vdot(band, band) / 64 for band in bands[1:]]
    return means, squares / means.size
