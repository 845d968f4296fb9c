"""The size of the class activation map."""

from __future__ import annotations

from typing import Final

_STEPS: Final = (8, 16, 16)


def cam_size(size: tuple[int, int, int]) -> tuple[int, int, int]:
    """Return the size of the map (d, h, w) for an input of a size (d, h, w).

    Each convolution of stride 2 is padded, so that it rounds up.
    """
    d, h, w = (-(-length // step) for length, step in zip(size, _STEPS, strict=True))
    return d, h, w
