"""What each kind of scan shows in the lungs beyond the harmless findings.

COVID-19: bilateral, peripheral, mostly basal and posterior ground glass, later with some
consolidation (Ai et al., Radiology 2020; the paper's introduction); less often few small patches,
thickened vessels, one lung only, or patches around the bronchi. Common pneumonia: lobar or
segmental consolidation, mostly of one lung, often with effusion; that of other viruses is bilateral
and patchy. Emphysema and small nodules occur in patients without pneumonia too.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from darnet_trt.phantom.body.anatomy import Anatomy
from darnet_trt.phantom.body.findings import Disease, Patch, draw_nodules
from darnet_trt.phantom.body.vessels import points_in_lung

SIDES = (-1, 1)


def covid(anatomy: Anatomy, rng: np.random.Generator) -> Disease:
    """Draw ground glass below the pleura of both lungs."""
    return Disease(tuple(_ground_glass(anatomy, rng, SIDES, (6, 13))))


def mild_covid(anatomy: Anatomy, rng: np.random.Generator) -> Disease:
    """Draw one to three small patches of ground glass below the pleura."""
    patches = []
    for _ in range(rng.integers(1, 4)):
        (centre,) = _centres(anatomy, rng, rng.choice(SIDES), (1, 2))
        radii = tuple(rng.uniform(12, 24) * rng.uniform(0.75, 1.35, 3))
        hu = rng.uniform(-600, -400)
        patches.append(Patch(tuple(centre), radii, hu, rng.uniform(0.85, 1), 0.5, 0.45))
    return Disease(tuple(patches))


def vascular_covid(anatomy: Anatomy, rng: np.random.Generator) -> Disease:
    """Draw faint ground glass of both lungs with thickened vessels in it."""
    patches = _ground_glass(anatomy, rng, SIDES, (3, 7), faint=True)
    return Disease(tuple(patches), thicker=rng.uniform(1.6, 2.4))


def one_sided_covid(anatomy: Anatomy, rng: np.random.Generator) -> Disease:
    """Draw ground glass below the pleura of one lung."""
    return Disease(tuple(_ground_glass(anatomy, rng, (rng.choice(SIDES),), (4, 11))))


def central_covid(anatomy: Anatomy, rng: np.random.Generator) -> Disease:
    """Draw ground glass of both lungs, around the bronchi instead of below the pleura."""
    return Disease(tuple(_ground_glass(anatomy, rng, SIDES, (4, 9), central=True)))


def pneumonia(anatomy: Anatomy, rng: np.random.Generator) -> Disease:
    """Draw a consolidated lobe or segment, often with effusion or open bronchi."""
    side = 1 if rng.random() < 0.45 else -1
    patches = _consolidation(anatomy, rng, side)
    bronchogram, effusion = bool(rng.random() < 0.6), None
    if rng.random() < 0.45:
        level = anatomy.thorax[1] * rng.uniform(0.55, 0.8)
        effusion = (side, float(level), float(rng.uniform(0.1, 0.3)), float(rng.uniform(2, 18)))
    return Disease(tuple(patches), effusion, bronchogram)


def viral_pneumonia(anatomy: Anatomy, rng: np.random.Generator) -> Disease:
    """Draw patches with dense cores all over both lungs, and small nodules between them."""
    patches = draw_nodules(anatomy, rng, int(rng.integers(6, 16)))
    for side in SIDES:
        for centre in points_in_lung(anatomy, rng, side, int(rng.integers(3, 8)), depth_mm=6.0):
            radii = tuple(rng.uniform(14, 30) * rng.uniform(0.75, 1.35, 3))
            hu = rng.uniform(-620, -420)
            patches.append(Patch(tuple(centre), radii, hu, rng.uniform(0.8, 1), 0.6, 0.6))
            core = tuple(rng.uniform(0.35, 0.6) * r for r in radii)
            patches.append(Patch(tuple(centre), core, rng.uniform(-300, 0), 0.9, 0.6, 0.5))
    return Disease(tuple(patches))


def nothing(anatomy: Anatomy, rng: np.random.Generator) -> Disease:
    """Draw nothing but the harmless findings."""
    return Disease()


def emphysema(anatomy: Anatomy, rng: np.random.Generator) -> Disease:
    """Draw holes of destroyed lung, most of them in the upper half."""
    patches = []
    for side in SIDES:
        candidates = points_in_lung(anatomy, rng, side, 300)
        weight = np.exp(3.0 * candidates[:, 2] / anatomy.lung_height)
        chosen = rng.choice(len(candidates), rng.integers(15, 50), False, weight / weight.sum())
        for centre in candidates[chosen]:
            radii = tuple(rng.uniform(4, 14) * rng.uniform(0.8, 1.25, 3))
            hu = rng.uniform(-985, -950)
            patches.append(Patch(tuple(centre), radii, hu, 0.95, 0.3, 0.3, thins=True))
    return Disease(tuple(patches))


def small_nodules(anatomy: Anatomy, rng: np.random.Generator) -> Disease:
    """Draw many small nodules."""
    return Disease(tuple(draw_nodules(anatomy, rng, int(rng.integers(6, 26)))))


def _centres(
    anatomy: Anatomy,
    rng: np.random.Generator,
    side: int,
    counts: tuple[int, int],
    *,
    central: bool = False,
) -> npt.NDArray[np.float64]:
    """Draw the centres of COVID-19's patches in one lung, fewer than `counts[1]`: (n, 3)."""
    a, b = anatomy.thorax
    candidates = points_in_lung(anatomy, rng, side, 400, depth_mm=1.0)
    x, y, z = candidates.T
    if central:
        away = np.linalg.norm(candidates - np.array(anatomy.hilum(side)), axis=1)
        weight = np.exp(-away / 14.0)
    else:
        depth = anatomy.lung_distance(*candidates.T.astype(np.float32))
        rim = np.hypot(x / a, y / b)
        # Peripheral, basal and posterior; exponents give preference, not exclusion.
        weight = np.exp(-depth / 6.0) * np.exp(3.0 * rim)
    weight = weight * np.exp(-1.8 * z / anatomy.lung_height + 1.1 * y / b)
    count = rng.integers(*counts)
    return candidates[rng.choice(len(candidates), count, False, weight / weight.sum())]


def _ground_glass(
    anatomy: Anatomy,
    rng: np.random.Generator,
    sides: tuple[int, ...],
    counts: tuple[int, int],
    *,
    faint: bool = False,
    central: bool = False,
) -> list[Patch]:
    """Draw fewer than `counts[1]` patches in each of these lungs, some with a dense core."""
    patches = []
    consolidating = rng.uniform(0.0, 0.35) * (not faint)
    low, high = (-700, -560) if faint else (-600, -360)
    for side in sides:
        for centre in _centres(anatomy, rng, side, counts, central=central):
            radius = rng.uniform(20, 42)
            radii = tuple(radius * rng.uniform(0.75, 1.35, 3))
            hu = rng.uniform(low, high)
            patches.append(Patch(tuple(centre), radii, hu, rng.uniform(0.85, 1), 0.55, 0.45))
            if rng.random() < consolidating:
                core = tuple(0.5 * r for r in radii)
                hu = rng.uniform(-250, 0)
                patches.append(Patch(tuple(centre), core, hu, 0.9, 0.6, 0.5))
    return patches


def _consolidation(anatomy: Anatomy, rng: np.random.Generator, side: int) -> list[Patch]:
    """Draw a dense lobe or segment, with a little ground glass around it."""
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
