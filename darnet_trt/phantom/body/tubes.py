"""Vessels and airways, laid into the voxels as capsules."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from darnet_trt.phantom.body.vessels import Capsules
from darnet_trt.phantom.scanner.grid import Array, Grid, mix


def _capsule_share(
    grid: Grid, start: npt.NDArray[np.float64], end: npt.NDArray[np.float64], radius: float
) -> tuple[tuple[slice, slice, slice], Array] | None:
    """Return the box around a capsule and the share of each voxel that the capsule fills."""
    margin = radius + np.array([grid.pixel, grid.pixel, 0.5 * grid.depth])
    box = grid.box(np.minimum(start, end) - margin, np.maximum(start, end) + margin)
    if box is None:
        return None
    axis = end - start
    length = float(axis @ axis)
    px = (grid.qx[box[2]] - start[0])[None, None, :].astype(np.float32)
    py = (grid.qy[box[1]] - start[1])[None, :, None].astype(np.float32)
    pz = (grid.qz[box[0]] - start[2])[:, None, None].astype(np.float32)
    ax, ay, az = (np.float32(v) for v in axis)
    t = np.clip((px * ax + py * ay + pz * az) / np.float32(length), 0, 1)
    distance = np.sqrt((px - t * ax) ** 2 + (py - t * ay) ** 2 + (pz - t * az) ** 2)
    share = np.clip((radius - distance) / grid.pixel + np.float32(0.5), 0, 1)
    # Vessels thinner than a voxel fill only part of it.
    share *= np.float32(min(1.0, (2 * radius / float(grid.pixel)) ** 1.5))
    return box, share


def _crossing(grid: Grid, capsules: Capsules) -> npt.NDArray[np.intp]:
    low = np.minimum(capsules.start[:, 2], capsules.end[:, 2]) - capsules.radius
    high = np.maximum(capsules.start[:, 2], capsules.end[:, 2]) + capsules.radius
    margin = float(grid.depth)
    return np.flatnonzero((high > grid.qz[0] - margin) & (low < grid.qz[-1] + margin))


def fill_vessels(hu: Array, grid: Grid, capsules: Capsules, value: float) -> None:
    """Draw vessels of one density, in place; they never make anything less dense."""
    start, end = grid.place(capsules.start), grid.place(capsules.end)
    for i in _crossing(grid, capsules):
        found = _capsule_share(grid, start[i], end[i], float(capsules.radius[i]))
        if found is not None:
            box, share = found
            part = hu[box]
            mix(part, share, np.maximum(value, part))


def fill_airways(hu: Array, grid: Grid, airways: Capsules, open_: bool, lung: Array) -> None:
    """Draw airways, air with a thin wall, in place.

    Args:
        hu: Everything but the airways.
        grid: Its voxels.
        airways: Trachea first; the thin ones are lobar branches.
        open_: Whether lobar branches show inside consolidation; only inside the lungs, so that
            heart and mediastinum do not reveal the class.
        lung: Share of each voxel that is lung.
    """
    start, end = grid.place(airways.start), grid.place(airways.end)
    for i in _crossing(grid, airways):
        radius = float(airways.radius[i])
        wall = _capsule_share(grid, start[i], end[i], radius + 1.2)
        if wall is None:
            continue
        box, share = wall
        lobar = i > 0 and radius < 0.5 * float(airways.radius[0])
        if lobar:
            # Filled with secretions where the lung around it is dense; else air as the lung.
            share = share * ((hu[box] < -500) | (open_ & (lung[box] > 0)))
        mix(hu[box], share * np.float32(0.6), np.maximum(hu[box], np.float32(-150)))
        inner = _capsule_share(grid, start[i], end[i], radius)
        if inner is not None:
            box, share = inner
            if lobar:
                share = share * ((hu[box] < -350) | (open_ & (lung[box] > 0)))
            mix(hu[box], share, -990.0)
