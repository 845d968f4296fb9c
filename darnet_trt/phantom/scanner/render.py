"""From surfaces to Hounsfield units, a few slices at a time."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from darnet_trt.phantom.body.anatomy import Anatomy
from darnet_trt.phantom.body.disease import Findings, Patch
from darnet_trt.phantom.body.surroundings import (
    BLOOD_HU,
    draw_bones,
    draw_soft_organs,
    draw_table,
)
from darnet_trt.phantom.body.texture import SmoothField, reconstruction_noise
from darnet_trt.phantom.body.tubes import fill_airways, fill_vessels
from darnet_trt.phantom.body.vessels import Capsules, draw_airways, draw_vessels
from darnet_trt.phantom.scanner.acquisition import Acquisition
from darnet_trt.phantom.scanner.grid import Array, Grid, mix

SLAB_VOXELS = 1 << 19  # temporaries of a slab stay near 2 MB each: some fit the cache
AIR_HU, MIN_HU, MAX_HU = -1000.0, -1024, 3071


def render(
    anatomy: Anatomy,
    findings: Findings,
    acquisition: Acquisition,
    tissue: np.random.Generator,
    noise: np.random.Generator,
) -> npt.NDArray[np.int16]:
    """Render Hounsfield units, shape (d, h, w), oriented S P L.

    Args:
        anatomy: The person.
        findings: What is abnormal.
        acquisition: The scan.
        tissue: Draws vessels and textures, the same for all scans of a person.
        noise: Draws the noise slice by slice, so that the slabs' size does not matter.
    """
    vessels = draw_vessels(anatomy, tissue)
    airways = draw_airways(anatomy, tissue)
    coarse, fine = SmoothField(tissue, 26.0), SmoothField(tissue, 9.0)
    d, h, w = acquisition.shape
    out = np.empty((d, h, w), np.int16)
    step = max(1, SLAB_VOXELS // (h * w))
    for first in range(0, d, step):
        grid = Grid(acquisition, first, min(first + step, d))
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


def _slab(
    anatomy: Anatomy,
    findings: Findings,
    acquisition: Acquisition,
    grid: Grid,
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
        mix(hu, grid.cover(body + cloth) * above, cloth_hu + 60 * slow)
    draw_table(hu, anatomy, acquisition, grid)
    mix(hu, grid.cover(body), 20.0)
    mix(hu, grid.cover(body - 2), anatomy.fat_hu)
    # Muscle as thick as the wall around the ribcage, and over the shoulders' cone.
    a, b = anatomy.thorax
    trunk = (np.abs(x / (a + anatomy.wall)) ** 2.3 + np.abs(y / (b + anatomy.wall)) ** 2.3) ** (
        1 / 2.3
    )
    mix(hu, grid.cover((1 - trunk) * b + 4 * slow), anatomy.muscle)
    mix(hu, grid.cover(thorax), -60.0)
    draw_soft_organs(hu, anatomy, grid, thorax, slow)
    draw_bones(hu, anatomy, grid, thorax)
    lung = _lung(anatomy, findings, acquisition, grid, texture)
    fill_vessels(lung, grid, vessels, BLOOD_HU)
    share = grid.cover(anatomy.lung_distance(x, y, z))
    if findings.effusion is not None:
        side, level, recede, fluid = findings.effusion
        dependent = -y if acquisition.prone else y
        depth = dependent - level - recede * z
        mix(lung, grid.cover(np.where(x * side > 0, depth, -99)), fluid)
    mix(hu, share, lung)
    fill_airways(hu, grid, airways, findings.bronchogram, share)
    return hu


def _lung(
    anatomy: Anatomy, findings: Findings, acquisition: Acquisition, grid: Grid, texture: Array
) -> Array:
    """Draw parenchyma with patches all over the slab; the lung's outline comes later."""
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


def _patch(lung: Array, grid: Grid, texture: Array, patch: Patch) -> None:
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
    mix(part, share, np.maximum(value, part))
