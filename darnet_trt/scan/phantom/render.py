"""From surfaces to Hounsfield units, a few slices at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from darnet_trt.scan.phantom.acquisition import Acquisition
from darnet_trt.scan.phantom.anatomy import Anatomy
from darnet_trt.scan.phantom.disease import Findings, Patch
from darnet_trt.scan.phantom.texture import SmoothField, reconstruction_noise
from darnet_trt.scan.phantom.vessels import Capsules, draw_airways, draw_vessels

__all__ = ["render"]

Array = npt.NDArray[Any]  # float32 in practice; NumPy's stubs lose track

SLAB_VOXELS = 1 << 19  # temporaries of a slab stay near 2 MB each: some fit the cache
AIR_HU, MIN_HU, MAX_HU = -1000.0, -1024, 3071
BLOOD_HU, LIVER_HU, MARROW_HU, DISC_HU = 42.0, 58.0, 190.0, 90.0


def render(
    anatomy: Anatomy,
    findings: Findings,
    acquisition: Acquisition,
    tissue: np.random.Generator,
    noise: np.random.Generator,
) -> npt.NDArray[np.int16]:
    """Hounsfield units, shape (d, h, w), oriented S P L.

    Args:
        anatomy: The person.
        findings: What is abnormal.
        acquisition: The scan.
        tissue: Draws vessels and textures: the same for all scans of a person.
        noise: Draws the noise, slice by slice: independent of the slabs' size.
    """
    vessels = draw_vessels(anatomy, tissue)
    airways = draw_airways(anatomy, tissue)
    coarse, fine = SmoothField(tissue, 26.0), SmoothField(tissue, 9.0)
    d, h, w = acquisition.shape
    out = np.empty((d, h, w), np.int16)
    step = max(1, SLAB_VOXELS // (h * w))
    for first in range(0, d, step):
        grid = _Grid(acquisition, first, min(first + step, d))
        hu = _slab(anatomy, findings, acquisition, grid, vessels, airways, coarse, fine)
        for index in range(hu.shape[0]):
            hu[index] += reconstruction_noise(
                noise, (h, w), acquisition.noise_hu, acquisition.sharpness
            )
        hu += acquisition.offset_hu
        if acquisition.circular:
            radius = 0.5 * w * acquisition.spacing_mm[2]
            hu[:, (grid.qx[None, :] ** 2 + grid.qy[:, None] ** 2) > radius**2] = MIN_HU
        np.clip(np.rint(hu, out=hu), MIN_HU, MAX_HU, out=hu)
        out[first : first + hu.shape[0]] = hu
    return out


class _Grid:
    """Voxel centres of a slab, in the scanner's frame (q) and in the body's (x, y, z)."""

    def __init__(self, acquisition: Acquisition, first: int, last: int) -> None:
        self.acquisition = acquisition
        _, h, w = acquisition.shape
        dz, dy, dx = acquisition.spacing_mm
        self.qx = ((np.arange(w) - (w - 1) / 2) * dx).astype(np.float32)
        self.qy = ((np.arange(h) - (h - 1) / 2) * dy).astype(np.float32)
        self.qz = (acquisition.bottom_mm + np.arange(first, last) * dz).astype(np.float32)
        self.z = self.qz[:, None, None]
        x = self.qx[None, None, :] - acquisition.shift_mm[0] - acquisition.drift[0] * self.z
        y = self.qy[None, :, None] - acquisition.shift_mm[1] - acquisition.drift[1] * self.z
        c, s = np.float32(np.cos(acquisition.rotation)), np.float32(np.sin(acquisition.rotation))
        self.x: Array = c * x + s * y
        self.y: Array = c * y - s * x
        self.pixel = np.float32(dx)
        self.depth = np.float32(dz)

    def place(self, points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Body coordinates (n, 3) to the scanner's frame."""
        a = self.acquisition
        c, s = np.cos(a.rotation), np.sin(a.rotation)
        x, y, z = points.T
        return np.stack(
            [
                c * x - s * y + a.shift_mm[0] + a.drift[0] * z,
                s * x + c * y + a.shift_mm[1] + a.drift[1] * z,
                z,
            ],
            axis=1,
        )

    def box(
        self, low: npt.NDArray[np.float64], high: npt.NDArray[np.float64]
    ) -> tuple[slice, slice, slice] | None:
        """Index ranges (d, h, w) of the voxels between two corners, None when empty."""
        ranges = []
        for axis, values in ((2, self.qz), (1, self.qy), (0, self.qx)):
            i, j = np.searchsorted(values, (low[axis], high[axis]))
            if i >= j:
                return None
            ranges.append(slice(int(i), int(j)))
        return ranges[0], ranges[1], ranges[2]

    def cover(self, distance: Array) -> Array:
        """Share of a voxel inside a surface, from the distance of its centre in mm."""
        share: Array = np.clip(distance / self.pixel + np.float32(0.5), 0, 1)
        return share


def _mix(hu: Array, share: Array, value: Array | float) -> None:
    """Replace a share of each voxel by another material, in place."""
    difference = value - hu
    difference *= share
    hu += difference


def _slab(
    anatomy: Anatomy,
    findings: Findings,
    acquisition: Acquisition,
    grid: _Grid,
    vessels: Capsules,
    airways: Capsules,
    coarse: SmoothField,
    fine: SmoothField,
) -> Array:
    x, y, z = grid.x, grid.y, grid.z
    slow = coarse.sample(grid.qz, grid.qy, grid.qx)
    texture = slow + np.float32(0.7) * fine.sample(grid.qz, grid.qy, grid.qx)
    body = anatomy.body_distance(x, y, z)
    thorax = anatomy.thorax_distance(x, y, z)
    hu = np.full(x.shape, AIR_HU, np.float32)
    cloth, cloth_hu = acquisition.blanket
    if cloth:
        above = y * (1 if acquisition.prone else -1) > -0.3 * anatomy.thorax[1]
        _mix(hu, grid.cover(body + cloth) * above, cloth_hu + 60 * slow)
    _table(hu, anatomy, acquisition, grid)
    _mix(hu, grid.cover(body), 20.0)
    _mix(hu, grid.cover(body - 2), anatomy.fat_hu)
    # Muscle as thick as the wall around the ribcage, and over the shoulders' cone.
    a, b = anatomy.thorax
    trunk = (np.abs(x / (a + anatomy.wall)) ** 2.3 + np.abs(y / (b + anatomy.wall)) ** 2.3) ** (
        1 / 2.3
    )
    _mix(hu, grid.cover((1 - trunk) * b + 4 * slow), anatomy.muscle)
    _mix(hu, grid.cover(thorax), -60.0)
    _soft_organs(hu, anatomy, grid, thorax, slow)
    _bones(hu, anatomy, grid, thorax)
    lung = _lung(anatomy, findings, acquisition, grid, texture)
    _capsules(lung, grid, vessels, BLOOD_HU)
    share = grid.cover(anatomy.lung_distance(x, y, z))
    if findings.effusion is not None:
        side, level, recede, fluid = findings.effusion
        dependent = -y if acquisition.prone else y
        depth = dependent - level - recede * z
        _mix(lung, grid.cover(np.where(x * side > 0, depth, -99)), fluid)
    _mix(hu, share, lung)
    _airways(hu, grid, airways, findings.bronchogram, share)
    return hu


def _table(hu: Array, anatomy: Anatomy, acquisition: Acquisition, grid: _Grid) -> None:
    """Mattress and a curved table top under the patient, in the scanner's frame."""
    pad, pad_hu = acquisition.mattress
    b = anatomy.thorax[1] + anatomy.wall + 0.8 * anatomy.fat + 2
    sign = -1.0 if acquisition.prone else 1.0
    if acquisition.prone:
        b += anatomy.breast
    down = sign * (grid.qy - acquisition.shift_mm[1])[:, None]
    x = grid.qx[None, :]
    curve = down + (x / 60) ** 2
    wide = np.abs(x) < 205
    foam = grid.cover(0.5 * (pad + 24) - np.abs(curve - b - 0.5 * (pad - 24))) * wide
    _mix(hu, foam.astype(np.float32), pad_hu)
    under = curve - b - pad
    core = grid.cover(9 - np.abs(under - 9)) * wide
    skin = grid.cover(1.5 - np.abs(np.abs(under - 9) - 8)) * (core > 0)
    _mix(hu, core.astype(np.float32), -880.0)
    _mix(hu, skin.astype(np.float32), -150.0)


def _soft_organs(hu: Array, anatomy: Anatomy, grid: _Grid, thorax: Array, slow: Array) -> None:
    x, y, z = grid.x, grid.y, grid.z
    inside = grid.cover(thorax - 1)
    a, b = anatomy.thorax
    below = grid.cover(anatomy.diaphragm(x, y) - z) * inside
    _mix(hu, below, anatomy.fat_hu)
    _mix(hu, below * grid.cover(0.35 * a - x - 6 * slow), LIVER_HU)
    spleen = 30 - np.sqrt((x - 0.72 * a) ** 2 + (y - 0.4 * b) ** 2 + 0.4 * (z + 5) ** 2)
    _mix(hu, below * grid.cover(spleen), 50.0)
    stomach = 38 - np.sqrt((x - 0.42 * a) ** 2 + (y + 0.2 * b) ** 2 + (z - 5) ** 2)
    _mix(hu, below * grid.cover(stomach), 35.0)
    if anatomy.stomach_gas:
        gas = anatomy.stomach_gas - np.sqrt(
            (x - 0.42 * a) ** 2 + (y + 0.45 * b) ** 2 + (z - 12) ** 2
        )
        _mix(hu, below * grid.cover(gas), -980.0)
    for bx, by, bz, radius, content in anatomy.bowel:
        loop = radius - np.sqrt(0.6 * (x - bx) ** 2 + (y - by) ** 2 + (z - bz) ** 2)
        _mix(hu, below * grid.cover(loop + 2), 40.0)
        _mix(hu, below * grid.cover(loop), content + 60 * slow)
    _mix(hu, inside * grid.cover(anatomy.heart_distance(x, y, z)), BLOOD_HU)
    _mix(hu, grid.cover(anatomy.aorta_distance(x, y, z)), BLOOD_HU)
    # Arch and great vessels: a vertical bundle in front of the trachea.
    bundle = 0.6 * anatomy.mediastinum - np.hypot(x * 0.8, y + 0.15 * b + 3)
    _mix(hu, inside * grid.cover(bundle + 2 * slow) * (z > anatomy.dome), BLOOD_HU)


def _bones(hu: Array, anatomy: Anatomy, grid: _Grid, thorax: Array) -> None:
    x, y, z = grid.x, grid.y, grid.z
    a, b = anatomy.thorax
    # Ribs: rings in the wall that fall towards the front; the pattern repeats along z.
    phase = (z + anatomy.rib_slope * (b - y)) / anatomy.rib_pitch
    along = (phase - np.floor(phase) - np.float32(0.5)) * anatomy.rib_pitch
    rib = 1 - np.sqrt(((thorax + 6) / 5.0) ** 2 + (along / 6.0) ** 2)
    rib = np.where(z < anatomy.lung_height + 8, rib, np.float32(-9))
    cartilage = (y < -0.75 * b) & (np.abs(x) < 0.5 * a)
    solid = grid.cover(4.5 * rib)
    _mix(hu, solid, np.where(cartilage, np.float32(110), np.float32(anatomy.bone)))
    _mix(hu, grid.cover(4.5 * rib - 2) * ~cartilage, MARROW_HU)
    height = anatomy.lung_height
    front = (np.abs(x) / 17) ** 2 + ((y + b + 4) / 6) ** 2
    sternum = grid.cover((1 - np.sqrt(front)) * 6) * ((z > 0.3 * height) & (z < 0.9 * height))
    _mix(hu, sternum, 0.35 * anatomy.bone + 40)
    # Spine: bodies and discs, the canal, the arch behind it and the spinous process.
    r = anatomy.vertebra
    y0 = anatomy.spine_y
    behind = grid.cover(8 - np.hypot(np.abs(x) - 13, y - y0 - 1.25 * r))
    behind = np.maximum(
        behind, grid.cover(4 - np.abs(x)) * grid.cover(16 - np.abs(y - y0 - 2.3 * r))
    )
    phase = z / 23 - np.floor(z / 23)
    _mix(hu, behind * (0.35 + 0.65 * (phase < 0.7)), 0.6 * anatomy.bone)
    spine = anatomy.spine_distance(x, y)
    _mix(hu, grid.cover(spine), 0.7 * anatomy.bone)
    _mix(hu, grid.cover(spine - 2.5), np.where(phase < 0.8, MARROW_HU, DISC_HU).astype(np.float32))
    _mix(hu, grid.cover(8 - np.hypot(x, y - y0 - 1.3 * r)), 25.0)
    # Shoulder blades: two oblique plates behind the upper ribs.
    blade = np.abs(y - 0.55 * b - anatomy.wall + 0.35 * (np.abs(x) - a))
    plate = grid.cover(2.5 - blade) * grid.cover(26 - np.abs(np.abs(x) - 0.86 * a))
    _mix(hu, plate * (z > 0.55 * height) * (thorax < -7), 0.7 * anatomy.bone)


def _lung(
    anatomy: Anatomy, findings: Findings, acquisition: Acquisition, grid: _Grid, texture: Array
) -> Array:
    """Parenchyma with patches, everywhere in the slab; the lung's outline comes later."""
    b = anatomy.thorax[1]
    down = -grid.y if acquisition.prone else grid.y
    lung = anatomy.texture * texture
    lung += np.float32(anatomy.parenchyma) + np.float32(0.5 * anatomy.dependent / b) * down
    thickness, gain = findings.atelectasis
    if thickness:
        edge = anatomy.thorax_distance(grid.x, grid.y, grid.z) - 2
        haze = np.clip(1.2 - edge / np.float32(thickness) + 0.25 * texture, 0, 1)
        haze *= np.clip((down / b - 0.35) * 3, 0, 1)
        lung += np.float32(gain) * haze
    for patch in findings.patches:
        _patch(lung, grid, texture, patch)
    return lung


def _patch(lung: Array, grid: _Grid, texture: Array, patch: Patch) -> None:
    centre = grid.place(np.array([patch.centre]))[0]
    radii = np.array(patch.radii)
    reach = radii * (1 + 1.6 * patch.rough + patch.edge)
    # A nodule thinner than a slice still counts in the slice it lies in.
    reach[2] = max(reach[2], float(grid.depth))
    box = grid.box(centre - reach, centre + reach)
    if box is None:
        return
    rz = max(float(radii[2]), 0.5 * float(grid.depth))
    fx = ((grid.qx[box[2]] - centre[0]) / radii[0])[None, None, :] ** 2
    fy = ((grid.qy[box[1]] - centre[1]) / radii[1])[None, :, None] ** 2
    fz = ((grid.qz[box[0]] - centre[2]) / rz)[:, None, None] ** 2
    inside = 1 - np.sqrt((fx + fy + fz).astype(np.float32))
    inside += np.float32(0.5 * patch.rough) * texture[box]
    share = np.clip(inside / np.float32(patch.edge), 0, 1) * np.float32(patch.opacity)
    if patch.fissure is not None:
        height, slope, side = patch.fissure
        z = grid.z[box[0]]
        share *= np.clip(side * (z - height - np.float32(slope) * grid.y[box]) / 3, 0, 1)
    part = lung[box]
    value = np.float32(patch.hu) + np.float32(25) * texture[box]
    # Disease adds density, it never takes it away.
    _mix(part, share, np.maximum(value, part))


def _capsule_share(
    grid: _Grid, start: npt.NDArray[np.float64], end: npt.NDArray[np.float64], radius: float
) -> tuple[tuple[slice, slice, slice], Array] | None:
    """The box around a capsule and the share of each of its voxels that it fills."""
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


def _crossing(grid: _Grid, capsules: Capsules) -> npt.NDArray[np.intp]:
    low = np.minimum(capsules.start[:, 2], capsules.end[:, 2]) - capsules.radius
    high = np.maximum(capsules.start[:, 2], capsules.end[:, 2]) + capsules.radius
    margin = float(grid.depth)
    return np.flatnonzero((high > grid.qz[0] - margin) & (low < grid.qz[-1] + margin))


def _capsules(hu: Array, grid: _Grid, capsules: Capsules, value: float) -> None:
    start, end = grid.place(capsules.start), grid.place(capsules.end)
    for i in _crossing(grid, capsules):
        found = _capsule_share(grid, start[i], end[i], float(capsules.radius[i]))
        if found is not None:
            box, share = found
            part = hu[box]
            _mix(part, share, np.maximum(value, part))


def _airways(hu: Array, grid: _Grid, airways: Capsules, open_: bool, lung: Array) -> None:
    """Air with a thin wall; the lobar branches show inside consolidation when they stay open."""
    start, end = grid.place(airways.start), grid.place(airways.end)
    for i in _crossing(grid, airways):
        radius = float(airways.radius[i])
        wall = _capsule_share(grid, start[i], end[i], radius + 1.2)
        if wall is None:
            continue
        box, share = wall
        lobar = i > 0 and radius < 0.5 * float(airways.radius[0])
        if lobar and not open_:
            # Filled with secretions where the lung around it is dense; else air as the lung.
            share = share * (hu[box] < -500)
        _mix(hu[box], share * np.float32(0.6), np.maximum(hu[box], np.float32(-150)))
        inner = _capsule_share(grid, start[i], end[i], radius)
        if inner is not None:
            box, share = inner
            if lobar and not open_:
                share = share * (hu[box] < -350)
            _mix(hu[box], share, -990.0)
