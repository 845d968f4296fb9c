"""From surfaces to Hounsfield units, a few slices at a time."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from darnet_trt.phantom.body.anatomy import Anatomy
from darnet_trt.phantom.body.findings import Findings, Patch
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
LUNG, LESION = 1, 2
"""Regions of a scan; 0 is neither."""


def render(
    anatomy: Anatomy,
    findings: Findings,
    acquisition: Acquisition,
    tissue: np.random.Generator,
    noise: np.random.Generator,
) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.uint8]]:
    """Render Hounsfield units and regions, each of shape (d, h, w), oriented S P L.

    Args:
        anatomy: The person.
        findings: What is abnormal.
        acquisition: The scan.
        tissue: Draws vessels and textures, the same for all scans of a person.
        noise: Draws the noise slice by slice, so that the slabs' size does not matter.

    Returns:
        The Hounsfield units, and for each voxel 0, LUNG or LESION.
    """
    vessels = findings.disease.thicken(draw_vessels(anatomy, tissue))
    airways = draw_airways(anatomy, tissue)
    coarse, fine = SmoothField(tissue, 26.0), SmoothField(tissue, 9.0)
    d, h, w = acquisition.shape
    out = np.empty((d, h, w), np.int16)
    regions = np.empty((d, h, w), np.uint8)
    step = max(1, SLAB_VOXELS // (h * w))
    for first in range(0, d, step):
        grid = Grid(acquisition, first, min(first + step, d))
        hu, regions[first : first + step] = _slab(
            anatomy, findings, acquisition, grid, vessels, airways, coarse, fine
        )
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
    return out, regions


def _slab(
    anatomy: Anatomy,
    findings: Findings,
    acquisition: Acquisition,
    grid: Grid,
    vessels: Capsules,
    airways: Capsules,
    coarse: SmoothField,
    fine: SmoothField,
) -> tuple[Array, Array]:
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
    lung, lesion = _lung(anatomy, findings, acquisition, grid, texture)
    fill_vessels(lung, grid, vessels, BLOOD_HU)
    share = grid.cover(anatomy.lung_distance(x, y, z))
    if findings.disease.effusion is not None:
        side, level, recede, fluid = findings.disease.effusion
        dependent = -y if acquisition.prone else y
        depth = dependent - level - recede * z
        wet = grid.cover(np.where(x * side > 0, depth, -99))
        mix(lung, wet, fluid)
        lesion |= wet > 0.5
    mix(hu, share, lung)
    fill_airways(hu, grid, airways, findings.disease.bronchogram, share)
    return hu, np.where(share > 0.5, np.where(lesion, LESION, LUNG), 0)


def _lung(
    anatomy: Anatomy, findings: Findings, acquisition: Acquisition, grid: Grid, texture: Array
) -> tuple[Array, npt.NDArray[np.bool_]]:
    """Draw parenchyma with patches all over the slab; the lung's outline comes later.

    Returns:
        Hounsfield units, and where the disease's patches have at least half of their opacity.
    """
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
    for patch in findings.harmless:
        _patch(lung, grid, texture, patch)
    lesion = np.zeros(lung.shape, bool)
    for patch in findings.disease.patches:
        found = _patch(lung, grid, texture, patch)
        if found is not None:
            box, share = found
            lesion[box] |= share >= 0.5 * patch.opacity
        # A nodule smaller than a voxel fills half of none.
        middle = grid.voxel(np.array(patch.centre))
        if middle is not None:
            lesion[middle] = True
    return lung, lesion


def _patch(
    lung: Array, grid: Grid, texture: Array, patch: Patch
) -> tuple[tuple[slice, slice, slice], Array] | None:
    """Lay a patch over the lung, in place; return its box and its share of each voxel there."""
    centre = grid.place(np.array([patch.centre]))[0]
    radii = np.array(patch.radii)
    reach = radii * (1 + 1.6 * patch.rough + patch.edge)
    # A nodule thinner than a slice still counts in the slice it lies in.
    reach[2] = max(reach[2], float(grid.depth))
    box = grid.box(centre - reach, centre + reach)
    if box is None:
        return None
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
    # A patch adds density and never takes any away, or the reverse.
    mix(part, share, np.minimum(value, part) if patch.thins else np.maximum(value, part))
    return box, share
