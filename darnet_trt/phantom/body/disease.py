"""Findings in the lungs: those of each of the three classes, and those that all share.

COVID-19: bilateral, peripheral, mostly basal and posterior ground glass, later with some
consolidation (Ai et al., Radiology 2020; the paper's introduction). Common pneumonia: lobar or
segmental consolidation, mostly of one lung, often with effusion. Normal: neither, but the same
harmless findings (nodules, dependent atelectasis, scars) as the other two.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from darnet_trt.phantom.body.anatomy import Anatomy
from darnet_trt.phantom.body.vessels import points_in_lung


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
    """

    centre: tuple[float, float, float]
    radii: tuple[float, float, float]
    hu: float
    opacity: float
    rough: float = 0.5
    edge: float = 0.5
    fissure: tuple[float, float, int] | None = None


@dataclass(frozen=True)
class Findings:
    """Everything abnormal in one scan.

    Attributes:
        patches: In the order in which they are laid over the lung.
        effusion: (side, y at the base where the fluid begins, how fast that recedes with z), HU.
        atelectasis: Thickness in mm and HU gain of the dependent haze along the back.
        bronchogram: Whether airways stay open inside the consolidation.
    """

    patches: tuple[Patch, ...]
    effusion: tuple[int, float, float, float] | None
    atelectasis: tuple[float, float]
    bronchogram: bool


def draw_findings(label: str, anatomy: Anatomy, rng: np.random.Generator) -> Findings:
    """Draw the findings of a class; the harmless ones first, alike for all classes."""
    patches = _nodules(anatomy, rng) + _scars(anatomy, rng)
    # Lying on the back causes it; half of the scans show none.
    atelectasis = (0.0, 0.0)
    if rng.random() < 0.5:
        atelectasis = (float(rng.uniform(5, 14)), float(rng.uniform(80, 300)))
    effusion, bronchogram = None, False
    if label == "covid-19":
        patches += _covid(anatomy, rng)
    elif label == "common-pneumonia":
        side = 1 if rng.random() < 0.45 else -1
        patches += _pneumonia(anatomy, rng, side)
        bronchogram = bool(rng.random() < 0.6)
        if rng.random() < 0.45:
            level = anatomy.thorax[1] * rng.uniform(0.55, 0.8)
            effusion = (side, float(level), float(rng.uniform(0.1, 0.3)), float(rng.uniform(2, 18)))
    return Findings(tuple(patches), effusion, atelectasis, bronchogram)


def _nodules(anatomy: Anatomy, rng: np.random.Generator) -> list[Patch]:
    nodules = []
    for _ in range(rng.poisson(1.2)):
        side = 1 if rng.random() < 0.5 else -1
        centre = points_in_lung(anatomy, rng, side, 1)[0]
        radius = rng.uniform(2, 6)
        nodules.append(
            Patch(tuple(centre), (radius,) * 3, rng.uniform(-50, 150), 1.0, rough=0.1, edge=0.3)
        )
    return nodules


def _scars(anatomy: Anatomy, rng: np.random.Generator) -> list[Patch]:
    """Thin plates, mostly near the bases or the apices."""
    scars = []
    for _ in range(rng.poisson(0.7)):
        side = 1 if rng.random() < 0.5 else -1
        centre = points_in_lung(anatomy, rng, side, 1)[0]
        radii = (rng.uniform(10, 26), rng.uniform(6, 18), rng.uniform(1.5, 3.0))
        scars.append(Patch(tuple(centre), radii, rng.uniform(-350, -50), 0.9, rough=0.3, edge=0.4))
    return scars


def _covid(anatomy: Anatomy, rng: np.random.Generator) -> list[Patch]:
    """Ground glass below the pleura of both lungs."""
    a, b = anatomy.thorax
    patches = []
    consolidating = rng.uniform(0.0, 0.35)
    for side in (-1, 1):
        candidates = points_in_lung(anatomy, rng, side, 400, depth_mm=1.0)
        x, y, z = candidates.T
        depth = anatomy.lung_distance(*candidates.T.astype(np.float32))
        rim = np.hypot(x / a, y / b)
        # Peripheral, basal and posterior; exponents give preference, not exclusion.
        weight = np.exp(-depth / 6.0) * np.exp(3.0 * rim)
        weight = weight * np.exp(-1.8 * z / anatomy.lung_height + 1.1 * y / b)
        chosen = rng.choice(len(candidates), rng.integers(6, 13), False, weight / weight.sum())
        for centre in candidates[chosen]:
            radius = rng.uniform(20, 42)
            radii = tuple(radius * rng.uniform(0.75, 1.35, 3))
            hu = rng.uniform(-600, -360)
            patches.append(Patch(tuple(centre), radii, hu, rng.uniform(0.85, 1), 0.55, 0.45))
            if rng.random() < consolidating:
                core = tuple(0.5 * r for r in radii)
                hu = rng.uniform(-250, 0)
                patches.append(Patch(tuple(centre), core, hu, 0.9, 0.6, 0.5))
    return patches


def _pneumonia(anatomy: Anatomy, rng: np.random.Generator, side: int) -> list[Patch]:
    """Consolidation of a lobe or a segment, with a little ground glass around it."""
    height = anatomy.lung_height
    upper = rng.random() < 0.4
    # The oblique fissure: high at the back, low in front.
    fissure = (0.45 * height, 0.75, 1 if upper else -1)
    candidates = points_in_lung(anatomy, rng, side, 200, depth_mm=8.0)
    above = candidates[:, 2] - fissure[0] - fissure[1] * candidates[:, 1]
    inside = candidates[above * fissure[2] > 8]
    centre = inside[rng.integers(len(inside))] if len(inside) else candidates[0]
    radius = rng.uniform(38, 68)
    radii = tuple(radius * rng.uniform(0.8, 1.25, 3))
    hu = rng.uniform(-100, 50)
    halo = tuple(1.3 * r for r in radii)
    patches = [
        Patch(tuple(centre), halo, rng.uniform(-650, -500), 0.8, 0.4, 0.5, fissure),
        Patch(tuple(centre), radii, hu, 1.0, 0.35, 0.25, fissure),
    ]
    # A few satellites in the same lung, now and then one in the other.
    for _ in range(rng.poisson(1.2)):
        other = -side if rng.random() < 0.2 else side
        spot: npt.NDArray[np.float64] = points_in_lung(anatomy, rng, other, 1, depth_mm=5)[0]
        size = rng.uniform(6, 14)
        patches.append(Patch(tuple(spot), (size,) * 3, rng.uniform(-300, 0), 0.9, 0.5, 0.5))
    return patches
