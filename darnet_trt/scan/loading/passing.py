"""Keep what the checks need of each slice while it passes on to preprocessing."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from darnet_trt.scan.loading.slices import Needed, scaled
from darnet_trt.scan.plausibility.lungs import coarse_step


class Passing:
    """Slices on their way to preprocessing.

    Args:
        slices: In any order.

    Attributes:
        grids: Of each that has passed, a coarse grid in Hounsfield units.
    """

    def __init__(self, slices: Iterator[Needed]) -> None:
        self._slices = slices
        self.grids: dict[int, npt.NDArray[np.float32]] = {}

    def __iter__(self) -> Iterator[Needed]:
        for item in self._slices:
            index, stored, slope, intercept = item
            step = coarse_step(stored.shape)
            part = stored[step // 2 :: step, step // 2 :: step]
            with np.errstate(over="ignore"):  # `judge_values` refuses an infinity
                self.grids[index] = scaled(part, slope, intercept)
            yield item
