"""What is abnormal in a scan: altered lung, pleural fluid, thicker vessels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from darnet_trt.phantom.body.anatomy import Anatomy
from darnet_trt.phantom.body.vessels import Capsules, points_in_lung

_BESIDE = 1.4  # radii of a patch within which it thickens vessels


@dataclass(frozen=True)
class Patch:
    """A soft-edged ellipsoid of altered lung.

    Attributes:
        centre: x y z, mm.
        radii: Along x y z, mm.
        hu: The lung's value where the patch is full.
        opacity: The patch's largest share of a voxel, 0…1.
        rough: How far its outline follows the texture, in radii.
        edge: Width of its edge, in radii.
        fissure: (height at y=0, slope along y, side) of a plane it does not cross: side +1 keeps
            what lies above; None for no plane.
        thins: Whether it takes density away instead of adding some.
    """

    centre: tuple[float, float, float]
    radii: tuple[float, float, float]
    hu: float
    opacity: float
    rough: float = 0.5
    edge: float = 0.5
    fissure: tuple[float, float, int] | None = None
    thins: bool = False


@dataclass(frozen=True)
class Disease:
    """The findings of a kind of scan.

    Attributes:
        patches: In the order in which they are laid over the lung.
        effusion: (side, y at the base where the fluid begins, how fast that recedes with z), HU.
        bronchogram: Whether airways stay open inside the consolidation.
        thicker: How many times wider than elsewhere the vessels in the patches are.
    """

    patches: tuple[Patch, ...] = ()
    effusion: tuple[int, float, float, float] | None = None
    bronchogram: bool = False
    thicker: float = 1.0

    def thicken(self, vessels: Capsules) -> Capsules:
        """Widen the vessels whose middle lies in a patch or beside it."""
        if self.thicker == 1:
            return vessels
        middle = 0.5 * (vessels.start + vessels.end)
        near = np.zeros(len(middle), bool)
        for patch in self.patches:
            offset = (middle - np.array(patch.centre)) / np.array(patch.radii)
            near |= (offset**2).sum(1) < _BESIDE**2
        return Capsules(
            vessels.start, vessels.end, vessels.radius * np.where(near, self.thicker, 1)
        )


@dataclass(frozen=True)
class Findings:
    """Everything abnormal in one scan.

    Attributes:
        harmless: Patches that every kind of scan may have.
        atelectasis: Thickness in mm and HU gain of the dependent haze along the back.
        disease: What this kind has beyond these; its patches are laid over the others.
    """

    harmless: tuple[Patch, ...]
    atelectasis: tuple[float, float]
    disease: Disease


def draw_harmless(
    anatomy: Anatomy, rng: np.random.Generator
) -> tuple[tuple[Patch, ...], tuple[float, float]]:
    """Draw nodules, scars and atelectasis, alike for every kind of scan."""
    patches = draw_nodules(anatomy, rng, rng.poisson(1.2)) + _scars(anatomy, rng)
    # Lying on the back causes it; half of the scans show none.
    atelectasis = (0.0, 0.0)
    if rng.random() < 0.5:
        atelectasis = (float(rng.uniform(5, 14)), float(rng.uniform(80, 300)))
    return tuple(patches), atelectasis


def draw_nodules(anatomy: Anatomy, rng: np.random.Generator, count: int) -> list[Patch]:
    """Draw small round nodules, anywhere in the lungs."""
    nodules = []
    for _ in range(count):
        side = 1 if rng.random() < 0.5 else -1
        centre = points_in_lung(anatomy, rng, side, 1)[0]
        radius = rng.uniform(2, 6)
        nodules.append(
            Patch(tuple(centre), (radius,) * 3, rng.uniform(-50, 150), 1.0, rough=0.1, edge=0.3)
        )
    return nodules


def _scars(anatomy: Anatomy, rng: np.random.Generator) -> list[Patch]:
    """Draw thin plates, anywhere in the lungs."""
    scars = []
    for _ in range(rng.poisson(0.7)):
        side = 1 if rng.random() < 0.5 else -1
        centre = points_in_lung(anatomy, rng, side, 1)[0]
        radii = (rng.uniform(10, 26), rng.uniform(6, 18), rng.uniform(1.5, 3.0))
        scars.append(Patch(tuple(centre), radii, rng.uniform(-350, -50), 0.9, rough=0.3, edge=0.4))
    return scars
