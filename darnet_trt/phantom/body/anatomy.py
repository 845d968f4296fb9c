"""A random chest as implicit surfaces, in millimetres.

Coordinates: x to the patient's left, y to the back, z to the head; the origin lies on the
midline, halfway between sternum and spine, at the level of the lowest costophrenic recess.
Distances are approximate (scaled level sets), positive inside the structure they name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
"""Coordinates or distances that broadcast, float32 in practice."""


@dataclass(frozen=True)
class Anatomy:
    """One person at one level of inspiration; lengths in mm, densities in HU.

    Attributes:
        lung_height: From the deepest recess to the apex.
        thorax: Half axes (x, y) of the ribcage's inner surface at its widest.
        wall: Muscle and ribs between ribcage and fat.
        fat: Thickness of the subcutaneous fat at the sides (twice that in front when breast).
        breast: Thickness of the breasts, 0 for none.
        dome: Height of the right hemidiaphragm above the recess; the left is lower.
        mediastinum: Half width at its widest.
        heart: Half axes of the heart.
        heart_x: How far the heart's centre lies to the left.
        spine_y: Centre of the vertebral bodies.
        vertebra: Radius of a vertebral body.
        carina: Height of the tracheal bifurcation.
        trachea: Its radius.
        parenchyma: HU of the lung without vessels; grows with expiration.
        dependent: HU gained from front to back under the lung's own weight.
        texture: Amplitude of the parenchyma's slow variation.
        muscle: HU of muscle; fat_hu: of fat; bone: of cortical bone.
        rib_pitch: Distance of the ribs along z; rib_slope: how far they fall for each mm forward.
        stomach_gas: Radius of the gas bubble under the left dome, 0 for none.
        bowel: (x, y, z, radius, HU) of loops filled with stool and gas in front of the liver
            and under the left dome.
    """

    lung_height: float
    thorax: tuple[float, float]
    wall: float
    fat: float
    breast: float
    dome: float
    mediastinum: float
    heart: tuple[float, float, float]
    heart_x: float
    spine_y: float
    vertebra: float
    carina: float
    trachea: float
    parenchyma: float
    dependent: float
    texture: float
    muscle: float
    fat_hu: float
    bone: float
    rib_pitch: float
    rib_slope: float
    stomach_gas: float
    bowel: tuple[tuple[float, float, float, float, float], ...]

    def taper(self, z: Array) -> Array:
        """Width of the ribcage at height z as a share of its widest, 0 at the apex."""
        u = np.clip((z / self.lung_height - 0.3) / 0.7, 0, 0.999)
        return np.sqrt(1 - u**2.6)

    def thorax_distance(self, x: Array, y: Array, z: Array) -> Array:
        """Inside the ribcage."""
        a, b = self.thorax
        g = self.taper(z)
        # An exponent of 2.4 gives the flattened sides of a ribcage; the back is rounder.
        radius = (np.abs(x / (a * g)) ** 2.4 + np.abs(y / (b * (0.35 + 0.65 * g))) ** 2.4) ** (
            1 / 2.4
        )
        # Along the ray from the axis, |p|/radius is how far the wall is.
        return (1 - radius) * (np.hypot(x, y) + 1e-3) / (radius + 1e-5)

    def body_distance(self, x: Array, y: Array, z: Array) -> Array:
        """Inside the skin."""
        a, b = self.thorax
        shoulders = 1 + 0.10 * np.clip(z / self.lung_height - 0.7, 0, 0.5)
        half_x = (a + self.wall + self.fat) * shoulders
        half_y = b + self.wall + 0.8 * self.fat + 6
        radius = (np.abs(x / half_x) ** 2.3 + np.abs(y / half_y) ** 2.3) ** (1 / 2.3)
        distance = (1 - radius) * half_y
        if self.breast:
            side = np.abs(x) - 0.52 * a
            across = (side / (0.42 * a)) ** 2 + ((z - 0.42 * self.lung_height) / 65) ** 2
            bulge = self.breast * np.clip(1 - across, 0, 1) * (y < 0)
            distance = distance + bulge
        return distance

    def heart_distance(self, x: Array, y: Array, z: Array) -> Array:
        """Inside the heart."""
        rx, ry, rz = self.heart
        z0 = self.dome + 0.55 * rz
        dx = x - self.heart_x
        # The long axis points down and to the left.
        fx = dx + 0.35 * (z - z0)
        radius = np.sqrt(
            (fx / rx) ** 2 + ((y + 0.28 * self.thorax[1]) / ry) ** 2 + ((z - z0) / rz) ** 2
        )
        return (1 - radius) * min(rx, ry)

    def aorta_distance(self, x: Array, y: Array, z: Array) -> Array:
        """Inside the descending aorta."""
        radius = 0.62 * self.vertebra
        aorta = radius - np.hypot(x - 0.95 * self.vertebra, y - self.spine_y + 0.95 * self.vertebra)
        return np.minimum(aorta, self.carina + 30 - z)

    def spine_distance(self, x: Array, y: Array) -> Array:
        """Inside the vertebral bodies (discs included)."""
        return self.vertebra - np.hypot(x * 0.85, y - self.spine_y)

    def diaphragm(self, x: Array, y: Array) -> Array:
        """Height of the diaphragm, two domes with a deep recess at the back."""
        a, b = self.thorax
        left = x > 0
        dome = np.where(left, self.dome - 9, self.dome).astype(np.float32)
        fall = ((np.abs(x) - 0.48 * a) / (0.62 * a)) ** 2 + ((y + 0.22 * b) / (0.95 * b)) ** 2
        return dome * (1 - fall)

    def mediastinum_distance(self, x: Array, y: Array, z: Array) -> Array:
        """Inside the mediastinum without heart, aorta and spine."""
        b = self.thorax[1]
        profile = 0.42 + 0.58 * np.exp(-(((y - 0.12 * b) / (0.55 * b)) ** 2))
        upper = 1 - 0.18 * np.clip(z / self.lung_height - 0.75, 0, 1) * 4
        return self.mediastinum * profile * upper - np.abs(x)

    def lung_distance(self, x: Array, y: Array, z: Array) -> Array:
        """Inside either lung."""
        distance: Array = self.thorax_distance(x, y, z) - 1.5
        distance = np.minimum(distance, -self.mediastinum_distance(x, y, z))
        distance = np.minimum(distance, 0.85 * (z - self.diaphragm(x, y)))
        distance = np.minimum(distance, -self.heart_distance(x, y, z))
        distance = np.minimum(distance, -self.aorta_distance(x, y, z))
        return np.asarray(np.minimum(distance, -(self.spine_distance(x, y) + 2)))

    def hilum(self, side: int) -> tuple[float, float, float]:
        """Return where bronchi and vessels enter the lung; side −1 right, +1 left."""
        return (side * (self.mediastinum + 4), 0.1 * self.thorax[1], self.carina - 18)


def draw_anatomy(rng: np.random.Generator) -> Anatomy:
    """Draw a person; nothing here depends on a diagnosis."""
    size = rng.uniform(0.88, 1.1)
    inspiration = rng.beta(2.2, 1.4)  # 0 expiration … 1 full inspiration
    height = size * rng.uniform(195, 225) + 32 * inspiration
    half_x = size * rng.uniform(118, 138)
    half_y = size * rng.uniform(76, 94) * (0.95 + 0.08 * inspiration)
    vertebra = size * rng.uniform(17, 21)
    breast = rng.uniform(8, 45) if rng.random() < 0.5 else 0.0
    heart = size * rng.uniform(0.85, 1.15)
    return Anatomy(
        lung_height=height,
        thorax=(half_x, half_y),
        wall=rng.uniform(13, 24),
        fat=rng.uniform(4, 32),
        breast=breast,
        dome=size * (72 - 34 * inspiration) + rng.uniform(-6, 6),
        mediastinum=size * rng.uniform(25, 36),
        heart=(heart * rng.uniform(48, 58), heart * rng.uniform(38, 46), heart * 52),
        heart_x=rng.uniform(14, 28),
        spine_y=half_y - 0.15 * vertebra,
        vertebra=vertebra,
        carina=0.60 * height,
        trachea=size * rng.uniform(6.5, 9.5),
        parenchyma=-875 + 185 * (1 - inspiration) ** 1.1 + rng.normal(0, 18),
        dependent=rng.uniform(15, 60) + 70 * (1 - inspiration),
        texture=rng.uniform(8, 28),
        muscle=rng.uniform(40, 62),
        fat_hu=rng.uniform(-115, -95),
        bone=rng.uniform(450, 850),
        rib_pitch=rng.uniform(24, 30),
        rib_slope=rng.uniform(0.25, 0.45),
        stomach_gas=rng.uniform(10, 26) if rng.random() < 0.6 else 0.0,
        bowel=tuple(
            (
                rng.uniform(-0.5, 0.85) * half_x,
                rng.uniform(-0.8, -0.2) * half_y,
                rng.uniform(-25, 12),
                rng.uniform(12, 30),
                rng.uniform(-650, 20),
            )
            for _ in range(rng.integers(0, 6))
        ),
    )
