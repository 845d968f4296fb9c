"""Let the int8 stem read four channels of half the height and width instead of one.

CPUs multiply 8-bit numbers in groups of four channels (VNNI). Of one channel each group is three
quarters empty. A voxel of the packed input holds a square of 2×2 pixels; a stride of 2 becomes 1,
and a kernel of 7×7 pixels one of 4×4 squares. The sums are the same numbers in another order, which
in integers changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
from onnx import NodeProto
from onnx.helper import make_attribute, make_node

SHAPES: Final = ("squares", "packed")
"""Name the shapes of the two reshapes; the names of their initializers end in these."""


def can_pack(shape: Sequence[int]) -> bool:
    """Return whether squares cover an input: (n, 1, d, h, w), h and w even and known."""
    _, channels, _, *sides = shape
    return channels == 1 and all(side > 0 and side % 2 == 0 for side in sides)


def shapes(shape: Sequence[int]) -> dict[str, npt.NDArray[np.int64]]:
    """Return the shapes that `packing` needs, by the names of `SHAPES`.

    Args:
        shape: Of the input, (n, 1, d, h, w); n may be anything.
    """
    _, _, d, h, w = shape
    found = ((-1, d, h // 2, 2, w // 2, 2), (-1, 4, d, h // 2, w // 2))
    return {name: np.array(one, np.int64) for name, one in zip(SHAPES, found, strict=True)}


def packing(x: str, y: str) -> list[NodeProto]:
    """Return the nodes that make (n, 4, d, h/2, w/2) of (n, 1, d, h, w).

    Args:
        x: The tensor to pack; the shapes are `y` with the names of `SHAPES`.
        y: The packed one.
    """
    squares, packed = (f"{y}.{name}" for name in SHAPES)
    moved = f"{y}.moved"
    return [
        make_node("Reshape", [x, squares], [f"{squares}.x"], name=f"{squares}.x"),
        make_node("Transpose", [f"{squares}.x"], [moved], name=moved, perm=[0, 3, 5, 1, 2, 4]),
        make_node("Reshape", [moved, packed], [y], name=y),
    ]


def packed_weight(weight: npt.NDArray[np.int8]) -> npt.NDArray[np.int8]:
    """Return (c, 4, kd, 4, 4) of a stem's weight (c, 1, kd, 7, 7), padded by 3 and of stride 2."""
    # Pixel k - 3 from the middle lies in square (k - 3) // 2, which runs from -2 to 1.
    channels, _, depth, *_ = weight.shape
    padded = np.pad(weight[:, 0], ((0, 0), (0, 0), (1, 0), (1, 0)))
    squares = padded.reshape(channels, depth, 4, 2, 4, 2)
    return squares.transpose(0, 3, 5, 1, 2, 4).reshape(channels, 4, depth, 4, 4)


def pack(stem: NodeProto) -> None:
    """Let a convolution of kernel (3, 7, 7) and stride (1, 2, 2) run on the packed input."""
    changed = {"kernel_shape": [3, 4, 4], "strides": [1, 1, 1], "pads": [1, 2, 2, 1, 1, 1]}
    kept = [one for one in stem.attribute if one.name not in changed]
    del stem.attribute[:]
    stem.attribute.extend([*kept, *(make_attribute(*item) for item in changed.items())])
