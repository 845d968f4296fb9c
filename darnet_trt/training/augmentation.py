"""Random flip, rotation, translation and scaling of training inputs (the paper's section 4.2)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from darnet_trt.training.recipe import NO_AUGMENTATION, Augmentation


def augment(batch: Tensor, how: Augmentation, generator: torch.Generator) -> Tensor:
    """Move each volume of a batch on its own.

    Args:
        batch: (n, 1, d, h, w), values 0…1.
        how: How far.
        generator: A CPU generator, the only source of randomness.

    Returns:
        The same shape and range. Voxels from outside repeat the border. The batch itself where
        `how` is NO_AUGMENTATION.
    """
    if how == NO_AUGMENTATION:
        return batch
    n, _, _, h, w = batch.shape

    def uniform(limit: float, *shape: int) -> Tensor:
        return (torch.rand(shape, generator=generator) * 2 - 1) * limit

    angle = torch.deg2rad(uniform(how.rotation_deg, n))
    scale = 1 + uniform(how.scaling, n, 3)
    flip = 1 - 2 * (torch.rand(n, generator=generator) < how.flip).float()
    # The rows say where each output voxel is read: w h d, each axis from −1 to 1. A rotation in
    # these coordinates has to account for the slice's proportions.
    matrix = torch.zeros(n, 3, 4)
    matrix[:, 0, 0] = angle.cos() * scale[:, 0] * flip
    matrix[:, 0, 1] = -angle.sin() * scale[:, 0] * (h / w)
    matrix[:, 1, 0] = angle.sin() * scale[:, 1] * flip * (w / h)
    matrix[:, 1, 1] = angle.cos() * scale[:, 1]
    matrix[:, 2, 2] = scale[:, 2]
    matrix[:, :, 3] = uniform(2 * how.translation, n, 3)
    grid = functional.affine_grid(matrix.to(batch.device), list(batch.shape), align_corners=False)
    return functional.grid_sample(batch, grid, padding_mode="border", align_corners=False)
