"""Make what a scan shows above and below a chest: head, neck, shoulders, abdomen with bowel, legs.

Each function continues the slices of a scan at one end, at the scan's own spacing. The shapes are
rough, and hard on a search for lungs: gas and stool in loops as wide as lungs are at their ends,
airways, sinuses, mastoid cells, air between the legs and between arms and body.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from darnet_trt.scan.volume import Volume

Slices = npt.NDArray[np.int16]
AIR, GAS, FAT, TISSUE, BONE = -1000.0, -1000.0, -100.0, 45.0, 700.0
ABDOMEN_MM = 450.0
SHOULDERS_MM, NECK_MM, HEAD_MM = 60.0, 90.0, 220.0


def repeated(volume: Volume, mm: float) -> Slices:
    """Repeat the six lowest slices, which lie in the abdomen: the simplest longer scan."""
    count = round(mm / volume.spacing_mm[0])
    return np.stack([volume.hu[j % 6] + np.int16(j % 3) for j in range(count)])


def below(volume: Volume, mm: float, seed: int) -> Slices:
    """Draw an abdomen with bowel, and from 450 mm on two legs; foot to head."""
    rng = np.random.default_rng(seed)
    loops = [
        # x, y in shares of the body's half axes, z and radius in mm, HU
        (*rng.uniform(-0.7, 0.7, 2), rng.uniform(40, ABDOMEN_MM), rng.uniform(8, 34), hu)
        for hu in (*[GAS] * 14, *rng.uniform(-450, -20, 10))
    ]
    grid = _Grid(volume, volume.hu[:3])
    out = []
    for z in np.arange(round(mm / volume.spacing_mm[0]), 0, -1) * volume.spacing_mm[0]:
        hu = np.full(grid.x.shape, AIR)
        if z > ABDOMEN_MM:
            for side in (-0.46, 0.46):
                leg = np.hypot((grid.x - side) / 0.42, grid.y / 0.7)
                hu[leg < 1], hu[leg < 0.85], hu[leg < 0.2] = FAT, TISSUE, BONE
        else:
            body = np.hypot(grid.x, grid.y)
            hu[body < 1], hu[body < 0.86] = FAT, TISSUE
            hu[np.hypot(grid.x / 0.16, (grid.y - 0.55) / 0.22) < 1] = BONE / 2
            for x, y, middle, radius, content in loops:
                long = radius * 2.5  # loops run along the body too
                inside = 1 - ((z - middle) / long) ** 2
                if inside > 0:
                    loop = np.hypot(grid.x - x, (grid.y - y) * grid.flat) * grid.half_mm < (
                        radius * inside**0.5
                    )
                    mottled = rng.normal(0, 120, hu.shape) if content > GAS else 0
                    hu = np.where(loop & (body < 0.85), content + mottled, hu)
        out.append(_noisy(hu, rng))
    return np.stack(out)


def above(volume: Volume, mm: float, seed: int) -> Slices:
    """Draw shoulders, a neck and a head with its airways; air from the crown on."""
    rng = np.random.default_rng(seed)
    grid = _Grid(volume, volume.hu[-3:])
    x_mm, y_mm = grid.x * grid.half_mm, grid.y * grid.half_mm / grid.flat
    out = []
    for z in np.arange(1, round(mm / volume.spacing_mm[0]) + 1) * volume.spacing_mm[0]:
        hu = np.full(grid.x.shape, AIR)
        if z < SHOULDERS_MM:
            body = np.hypot(grid.x / 1.1, grid.y * (1 + 0.4 * z / SHOULDERS_MM))
            hu[body < 1], hu[body < 0.9] = FAT, TISSUE
        elif z < SHOULDERS_MM + NECK_MM:
            hu[np.hypot(x_mm / 65, y_mm / 70) < 1] = TISSUE
        elif z < SHOULDERS_MM + NECK_MM + HEAD_MM:
            top = (z - SHOULDERS_MM - NECK_MM) / HEAD_MM
            size = max(0.05, 1 - (2 * top - 0.9) ** 2 * 0.8) ** 0.5
            head = np.hypot(x_mm / 75, y_mm / 95) / size
            hu[head < 1], hu[head < 0.94], hu[head < 0.86] = TISSUE, BONE, 35.0
            if 0.05 < top < 0.45:  # sinuses and mastoid cells
                cells = rng.normal(-600, 250, hu.shape)
                for side in (-1, 1):
                    hu[np.hypot(x_mm - side * 25, y_mm + 50) < 17] = GAS
                    mastoid = np.hypot(x_mm - side * 55, y_mm - 30) < 14
                    hu[mastoid] = cells[mastoid]
        if z < SHOULDERS_MM + NECK_MM + 60:  # trachea, pharynx
            hu[np.hypot(x_mm / 9, (y_mm + 5) / 12) < 1] = GAS
        spine = np.hypot(x_mm / 16, (y_mm - 35) / 16) < 1
        if z < SHOULDERS_MM + NECK_MM:
            hu[spine] = BONE / 2
        out.append(_noisy(hu, rng))
    return np.stack(out)


def longer(volume: Volume, *, feet: Slices | None = None, head: Slices | None = None) -> Volume:
    """Return the scan with slices added at its ends."""
    parts = [part for part in (feet, volume.hu, head) if part is not None]
    moved = 0 if feet is None else len(feet)
    x, y, z = volume.origin_mm
    hu: Any = np.concatenate(parts)
    return Volume(hu, volume.spacing_mm, (x, y, z - moved * volume.spacing_mm[0]))


class _Grid:
    """Coordinates of a slice, −1…1 over the body that some slices show."""

    def __init__(self, volume: Volume, slices: npt.NDArray[Any]) -> None:
        tissue = (slices > -300).mean(0) > 0.5
        h, w = (np.flatnonzero(tissue.mean(axis) > 0.15) for axis in (1, 0))
        rows, columns = np.mgrid[: tissue.shape[0], : tissue.shape[1]]
        half_h, half_w = (h[-1] - h[0]) / 2, (w[-1] - w[0]) / 2
        self.y = (rows - (h[0] + h[-1]) / 2) / half_h
        self.x = (columns - (w[0] + w[-1]) / 2) / half_w
        self.half_mm = half_w * volume.spacing_mm[2]
        self.flat = half_w / half_h


def _noisy(hu: npt.NDArray[Any], rng: np.random.Generator) -> Slices:
    return np.rint(np.clip(hu + rng.normal(0, 20, hu.shape), -1024, 3071)).astype(np.int16)
