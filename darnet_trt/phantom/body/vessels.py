"""Airways and the branching vessels of both lungs, as capsules."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from darnet_trt.phantom.body.anatomy import Anatomy

TARGETS_EACH_LUNG = 110  # more add detail finer than the voxels of most scans, and time


@dataclass(frozen=True)
class Capsules:
    """Round-ended cylinders.

    Attributes:
        start: (n, 3), x y z in mm.
        end: (n, 3).
        radius: (n,), mm.
    """

    start: npt.NDArray[np.float64]
    end: npt.NDArray[np.float64]
    radius: npt.NDArray[np.float64]


def points_in_lung(
    anatomy: Anatomy, rng: np.random.Generator, side: int, count: int, *, depth_mm: float = 2.0
) -> npt.NDArray[np.float64]:
    """Draw points evenly over one lung, at least `depth_mm` below the pleura: (count, 3)."""
    a, b = anatomy.thorax
    found: list[npt.NDArray[np.float64]] = []
    while sum(map(len, found)) < count:
        p = rng.uniform((0, -b, 0), (a, b, anatomy.lung_height), (4 * count + 64, 3))
        p[:, 0] *= side
        x, y, z = p.T.astype(np.float32)
        found.append(p[anatomy.lung_distance(x, y, z) > depth_mm])
    return np.concatenate(found)[:count]


def draw_vessels(anatomy: Anatomy, rng: np.random.Generator) -> Capsules:
    """Draw a tree from each hilum; radii follow the number of twigs beyond (Murray's law)."""
    start, end, radius = [], [], []
    for side in (-1, 1):
        targets = points_in_lung(anatomy, rng, side, TARGETS_EACH_LUNG, depth_mm=4.0)
        root = np.array(anatomy.hilum(side))
        targets = targets[np.argsort(np.linalg.norm(targets - root, axis=1))]
        nodes, parents = [root], [-1]
        for target in targets:
            tree = np.array(nodes)
            away = np.linalg.norm(tree - target, axis=1)
            detour = 0.35 * np.linalg.norm(tree - root, axis=1)
            parent = int(np.argmin(away + detour))
            bend = 0.5 * (tree[parent] + target) + rng.normal(0, 0.06 * away[parent], 3)
            nodes += [bend, target]
            parents += [parent, len(nodes) - 2]
        twigs = np.ones(len(nodes))
        for child in range(len(nodes) - 1, 0, -1):
            twigs[parents[child]] += 0.5 * twigs[child]
        thickness = np.minimum(1.0 * twigs**0.5, 7.5)
        for child in range(1, len(nodes)):
            start.append(nodes[parents[child]])
            end.append(nodes[child])
            radius.append(thickness[child])
    return Capsules(np.array(start), np.array(end), np.array(radius))


def draw_airways(anatomy: Anatomy, rng: np.random.Generator) -> Capsules:
    """Draw trachea, main bronchi and three lobar bronchi a side."""
    fork = np.array([-2.0, 0.16 * anatomy.thorax[1], anatomy.carina])
    to_the_neck = np.array([rng.uniform(-3, 3), -14, anatomy.lung_height - anatomy.carina + 60])
    top = fork + to_the_neck
    start, end, radius = [top], [fork], [anatomy.trachea]
    for side in (-1, 1):
        hilum = np.array(anatomy.hilum(side))
        start.append(fork)
        end.append(hilum)
        radius.append(0.68 * anatomy.trachea)
        for rise in (38.0, -12.0, -48.0):
            start.append(hilum)
            end.append(hilum + np.array([side * rng.uniform(18, 30), rng.uniform(-18, 18), rise]))
            radius.append(0.36 * anatomy.trachea)
    return Capsules(np.array(start), np.array(end), np.array(radius))
