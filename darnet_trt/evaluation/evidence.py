"""A class activation map as evidence: laid over the network's input, and as colour over a slice."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

Image8 = npt.NDArray[np.uint8]
Float = npt.NDArray[np.float32]

# Inferno at equal steps (matplotlib's, CC0): lightness grows evenly, and colour-blind readers
# see the same order.
_INFERNO: Final = np.array(
    [
        (0, 0, 4),
        (31, 12, 72),
        (85, 15, 109),
        (136, 34, 106),
        (186, 54, 85),
        (227, 89, 51),
        (249, 140, 10),
        (249, 201, 50),
        (252, 255, 164),
    ],
    np.float32,
)

# Evidence below this share of the largest is not drawn: every cell reads far around its centre, so
# that weak evidence would tint the whole chest.
FLOOR: Final = 0.3
_OPACITY: Final = 0.7  # at the largest evidence; the anatomy has to stay readable under it


def grown(cam: Float, shape: tuple[int, ...]) -> Float:
    """Lay the map over the network's input.

    Args:
        cam: One class's map, (d/8, h/16, w/16).
        shape: Of the input, (d, h, w).

    Returns:
        Evidence at each voxel of the input, (d, h, w): the cell's own at its centre, linear
        between centres, and the last cell's own from its centre to the border.
    """
    weights = (tents(n, cells) for n, cells in zip(shape, cam.shape, strict=True))
    evidence = np.einsum("Dd,Hh,Ww,dhw->DHW", *weights, cam, optimize=True)
    return np.asarray(evidence, np.float32)


def tents(n: int, cells: int) -> Float:
    """Return the weight of each cell at each voxel of an axis, (n, cells).

    A convolution of stride 2 with "same" padding is centred on the even places of its input. So
    after k of them cell i is centred on voxel i·2^k: not in the middle of the i-th of equal parts,
    which lies half a cell further to the head, the back and the left. From its centre a cell fades
    towards the next one. No cell follows the last one, which therefore reaches to the border.
    """
    step = stride(n, cells)
    place = np.minimum(np.arange(n), step * (cells - 1))
    away = np.abs(place[:, None] - step * np.arange(cells))
    return np.asarray((1 - away / step).clip(0), np.float32)


def stride(n: int, cells: int) -> int:
    """Return how many voxels of an axis of n lie from the centre of a map's cell to the next."""
    step = 1
    while -(-n // step) > cells:
        step *= 2
    return step


def _colours(share: Float) -> Float:
    """Return inferno's colours of values 0…1: shape (…, 3), values 0…255."""
    steps = np.linspace(0, 1, len(_INFERNO))
    channels = [np.interp(share, steps, _INFERNO[:, c]) for c in range(3)]
    return np.stack(channels, -1).astype(np.float32)


def blend(grey: Float, share: Float) -> Image8:
    """Lay evidence over a slice: grey 0…1 and share of the largest evidence, both (h, w)."""
    base = 255 * grey.clip(0, 1)[..., None]
    opacity = _OPACITY * ((share - FLOOR) / (1 - FLOOR)).clip(0, 1)[..., None]
    return (base * (1 - opacity) + _colours(share) * opacity).round().astype(np.uint8)
