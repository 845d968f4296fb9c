"""The lungs' surroundings: table, organs, bones. None of them depends on a finding."""

from __future__ import annotations

import numpy as np

from darnet_trt.phantom.body.anatomy import Anatomy
from darnet_trt.phantom.scanner.acquisition import Acquisition
from darnet_trt.phantom.scanner.grid import Array, Grid, mix

BLOOD_HU, LIVER_HU, MARROW_HU, DISC_HU = 42.0, 58.0, 190.0, 90.0


def draw_table(hu: Array, anatomy: Anatomy, acquisition: Acquisition, grid: Grid) -> None:
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
    mix(hu, foam.astype(np.float32), pad_hu)
    under = curve - b - pad
    core = grid.cover(9 - np.abs(under - 9)) * wide
    skin = grid.cover(1.5 - np.abs(np.abs(under - 9) - 8)) * (core > 0)
    mix(hu, core.astype(np.float32), -880.0)
    mix(hu, skin.astype(np.float32), -150.0)


def draw_soft_organs(hu: Array, anatomy: Anatomy, grid: Grid, thorax: Array, slow: Array) -> None:
    """Below the diaphragm, and between the lungs, in place."""
    x, y, z = grid.x, grid.y, grid.z
    inside = grid.cover(thorax - 1)
    a, b = anatomy.thorax
    below = grid.cover(anatomy.diaphragm(x, y) - z) * inside
    mix(hu, below, anatomy.fat_hu)
    mix(hu, below * grid.cover(0.35 * a - x - 6 * slow), LIVER_HU)
    spleen = 30 - np.sqrt((x - 0.72 * a) ** 2 + (y - 0.4 * b) ** 2 + 0.4 * (z + 5) ** 2)
    mix(hu, below * grid.cover(spleen), 50.0)
    stomach = 38 - np.sqrt((x - 0.42 * a) ** 2 + (y + 0.2 * b) ** 2 + (z - 5) ** 2)
    mix(hu, below * grid.cover(stomach), 35.0)
    if anatomy.stomach_gas:
        gas = anatomy.stomach_gas - np.sqrt(
            (x - 0.42 * a) ** 2 + (y + 0.45 * b) ** 2 + (z - 12) ** 2
        )
        mix(hu, below * grid.cover(gas), -980.0)
    for bx, by, bz, radius, content in anatomy.bowel:
        loop = radius - np.sqrt(0.6 * (x - bx) ** 2 + (y - by) ** 2 + (z - bz) ** 2)
        mix(hu, below * grid.cover(loop + 2), 40.0)
        mix(hu, below * grid.cover(loop), content + 60 * slow)
    mix(hu, inside * grid.cover(anatomy.heart_distance(x, y, z)), BLOOD_HU)
    mix(hu, grid.cover(anatomy.aorta_distance(x, y, z)), BLOOD_HU)
    # Arch and great vessels: a vertical bundle in front of the trachea.
    bundle = 0.6 * anatomy.mediastinum - np.hypot(x * 0.8, y + 0.15 * b + 3)
    mix(hu, inside * grid.cover(bundle + 2 * slow) * (z > anatomy.dome), BLOOD_HU)


def draw_bones(hu: Array, anatomy: Anatomy, grid: Grid, thorax: Array) -> None:
    """Ribs, sternum, spine and shoulder blades, in place."""
    x, y, z = grid.x, grid.y, grid.z
    a, b = anatomy.thorax
    # Ribs: rings in the wall that fall towards the front; the pattern repeats along z.
    phase = (z + anatomy.rib_slope * (b - y)) / anatomy.rib_pitch
    along = (phase - np.floor(phase) - np.float32(0.5)) * anatomy.rib_pitch
    rib = 1 - np.sqrt(((thorax + 6) / 5.0) ** 2 + (along / 6.0) ** 2)
    rib = np.where(z < anatomy.lung_height + 8, rib, np.float32(-9))
    cartilage = (y < -0.75 * b) & (np.abs(x) < 0.5 * a)
    solid = grid.cover(4.5 * rib)
    mix(hu, solid, np.where(cartilage, np.float32(110), np.float32(anatomy.bone)))
    mix(hu, grid.cover(4.5 * rib - 2) * ~cartilage, MARROW_HU)
    height = anatomy.lung_height
    front = (np.abs(x) / 17) ** 2 + ((y + b + 4) / 6) ** 2
    sternum = grid.cover((1 - np.sqrt(front)) * 6) * ((z > 0.3 * height) & (z < 0.9 * height))
    mix(hu, sternum, 0.35 * anatomy.bone + 40)
    # Spine: bodies and discs, the canal, the arch behind it and the spinous process.
    r = anatomy.vertebra
    y0 = anatomy.spine_y
    behind = grid.cover(8 - np.hypot(np.abs(x) - 13, y - y0 - 1.25 * r))
    behind = np.maximum(
        behind, grid.cover(4 - np.abs(x)) * grid.cover(16 - np.abs(y - y0 - 2.3 * r))
    )
    phase = z / 23 - np.floor(z / 23)
    mix(hu, behind * (0.35 + 0.65 * (phase < 0.7)), 0.6 * anatomy.bone)
    spine = anatomy.spine_distance(x, y)
    mix(hu, grid.cover(spine), 0.7 * anatomy.bone)
    mix(hu, grid.cover(spine - 2.5), np.where(phase < 0.8, MARROW_HU, DISC_HU).astype(np.float32))
    mix(hu, grid.cover(8 - np.hypot(x, y - y0 - 1.3 * r)), 25.0)
    # Shoulder blades: two oblique plates behind the upper ribs.
    blade = np.abs(y - 0.55 * b - anatomy.wall + 0.35 * (np.abs(x) - a))
    plate = grid.cover(2.5 - blade) * grid.cover(26 - np.abs(np.abs(x) - 0.86 * a))
    mix(hu, plate * (z > 0.55 * height) * (thorax < -7), 0.7 * anatomy.bone)
