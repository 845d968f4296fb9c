"""Where a phantom's lungs and lesions lie in the network's input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from darnet_trt.scan import LoadedInput
from darnet_trt.scan.preprocessing import Preprocessing, area_matrix, depth_matrix

Float = npt.NDArray[np.float32]


LESION: Final = 2


@dataclass(frozen=True, eq=False)
class Regions:
    """Shares of each voxel of the input, 0…1.

    Attributes:
        lungs: (d, h, w), lesions included.
        lesions: (d, h, w).
    """

    lungs: Float
    lesions: Float


def on_input(regions: npt.NDArray[np.uint8], spec: Preprocessing, loaded: LoadedInput) -> Regions:
    """Bring the regions of a scan to its input's grid, by the same linear map.

    Args:
        regions: 0, 1 in lungs, `LESION` in lesions, (slices, rows, columns).
        spec: What made the input.
        loaded: The input.
    """
    slices, rows, columns = regions.shape
    first, last = loaded.sampled.covered
    along = depth_matrix(spec, slices, (first, last + 1))
    down, across = area_matrix(spec.size[1], rows), area_matrix(spec.size[2], columns)

    def resampled(mask: npt.NDArray[np.bool_]) -> Float:
        kept = along @ mask.reshape(slices, -1).astype(np.float32)
        return np.asarray(down @ kept.reshape(-1, rows, columns) @ across.T, np.float32)

    return Regions(resampled(regions > 0), resampled(regions == LESION))
