"""Random flip, rotation, translation and scaling of training inputs (the paper's section 4.2).

A movement leaves the slices parallel, so reading a moved volume by linear interpolation factors:
each slice is read in two dimensions, with the slices as channels, and one small matrix mixes the
slices. That is what reading it in three dimensions gives, and takes a third of the time.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from darnet_trt.training.recipe import NO_AUGMENTATION, Augmentation


def draw(
    n: int, matrix: tuple[int, int], how: Augmentation, generator: torch.Generator
) -> Tensor | None:
    """Draw the movements of n volumes.

    Args:
        n: How many.
        matrix: The slices' height and width.
        how: How far.
        generator: A CPU generator, the only source of randomness.

    Returns:
        (n, 3, 4): the rows say where each output voxel is read: w h d, each axis from −1 to 1.
        None where `how` is NO_AUGMENTATION.
    """
    if how == NO_AUGMENTATION:
        return None
    h, w = matrix

    def uniform(limit: float, *shape: int) -> Tensor:
        return (torch.rand(shape, generator=generator) * 2 - 1) * limit

    angle = torch.deg2rad(uniform(how.rotation_deg, n))
    scale = 1 + uniform(how.scaling, n, 3)
    flip = 1 - 2 * (torch.rand(n, generator=generator) < how.flip).float()
    # A rotation in these coordinates has to account for the slice's proportions.
    rows = torch.zeros(n, 3, 4)
    rows[:, 0, 0] = angle.cos() * scale[:, 0] * flip
    rows[:, 0, 1] = -angle.sin() * scale[:, 0] * (h / w)
    rows[:, 1, 0] = angle.sin() * scale[:, 1] * flip * (w / h)
    rows[:, 1, 1] = angle.cos() * scale[:, 1]
    rows[:, 2, 2] = scale[:, 2]
    rows[:, :, 3] = uniform(2 * how.translation, n, 3)
    return rows


def move(batch: Tensor, movements: Tensor | None) -> Tensor:
    """Move each volume of a batch as drawn.

    Args:
        batch: (n, 1, d, h, w), values 0…1.
        movements: From `draw`.

    Returns:
        The same shape and range. Voxels from outside repeat the border. The batch itself where
        `movements` is None.
    """
    if movements is None:
        return batch
    slices = batch[:, 0]
    n, d, h, w = slices.shape
    plane = movements[:, :2, [0, 1, 3]].to(batch.device)
    grid = functional.affine_grid(plane, [n, 1, h, w], align_corners=False)
    moved = functional.grid_sample(slices, grid, padding_mode="border", align_corners=False)
    depth = _depth_matrix(movements[:, 2, 2], movements[:, 2, 3], d).to(batch.device)
    return torch.bmm(depth, moved.flatten(2)).view_as(batch)


def _depth_matrix(scale: Tensor, shift: Tensor, d: int) -> Tensor:
    """Return (n, d, d): the shares of the slices read in each slice; two a row at most."""
    centre = (2 * torch.arange(d, dtype=torch.float64) + 1) / d - 1
    read = ((scale[:, None] * centre + shift[:, None] + 1) * d - 1) / 2
    distance = read.clamp(0, d - 1)[:, :, None] - torch.arange(d)
    return (1 - distance.abs()).clamp(min=0).float()
