"""Measure how well the pixels tell how a chest lies: right, silent or wrong in 48 orientations.

    python -m benchmarks.scans.anatomy [--phantoms 60] [--seed 0] [--real FOLDER] [--pictures]

Each scan is put on the coarse grid of the loader (some 64×64 pixels a slice) and turned into all
orders and directions of its axes. `judge_anatomy` should name what is reversed or exchanged and
say nothing about the one that lies right; `find_turn` should find head and foot, front and back,
and refuse what are no axial slices. "Silent" means that less was said than is so, never something
else. The signs are printed as the files lie: least, median and most. `--pictures` cuts the values
off at the window of picture folders.
"""

from __future__ import annotations

import argparse
import itertools
import platform
import statistics
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from darnet_trt.phantom import synthesize
from darnet_trt.scan import find_studies
from darnet_trt.scan.cohorts import PAPER_CLASSES
from darnet_trt.scan.loading.load import read_volume
from darnet_trt.scan.plausibility import signs
from darnet_trt.scan.plausibility.anatomy import Turn, find_turn, judge_anatomy
from darnet_trt.scan.plausibility.chest import aerated_lung
from darnet_trt.scan.volume import Volume

Grid = npt.NDArray[np.float32]
Scan = tuple[str, Grid, tuple[float, float, float]]

COARSE = 64
PICTURE_HU = (-1350.0, 150.0)
CODES = {
    (False, False, False): "",
    (True, False, False): "upside-down",
    (False, True, False): "back-to-front",
    (False, False, True): "mirrored",
    (True, True, False): "turned-round",
    (True, False, True): "turned-round",
    (False, True, True): "turned-round",
    (True, True, True): "all-reversed",
}


def coarse(name: str, volume: Volume) -> Scan:
    """Take every n-th pixel, as the loader does."""
    step = max(1, min(volume.hu.shape[1:]) // COARSE)
    d_mm, h_mm, w_mm = volume.spacing_mm
    hu = volume.hu[:, step // 2 :: step, step // 2 :: step].astype(np.float32)
    return name, hu, (d_mm, h_mm * step, w_mm * step)


def phantoms(count: int, seed: int) -> Iterator[Scan]:
    """Render phantoms of all classes, 30 to 64 slices."""
    for index in range(count):
        label = PAPER_CLASSES[index % len(PAPER_CLASSES)]
        yield coarse(label, synthesize(label, (seed, index), slices=(30, 64)))


def real(folder: Path) -> Iterator[Scan]:
    """Read every usable series below a folder."""
    for study in find_studies(folder):
        for series in study.series:
            if series.verdict.usable:
                yield coarse(f"{series.path.name} {series.description}", read_volume(series))


def compare_warning(codes: list[str], exchanged: bool, flips: tuple[bool, bool, bool]) -> str:
    """Return right, silent or wrong for the codes of the warnings about one orientation."""
    right = "axes-exchanged" if exchanged else CODES[flips]
    if codes == [right] or (not codes and not right):
        return "right"
    unseen = (flips[0], flips[1], False)  # left and right may stay open
    if not codes or (not exchanged and codes == [CODES[unseen]]):
        return "silent"
    return "wrong"


def compare_turn(found: Any, exchanged: bool, flips: tuple[bool, bool, bool]) -> str:
    """Return right, silent or wrong for what `find_turn` found in one orientation."""
    if not isinstance(found, Turn):
        return "right" if exchanged else "silent"
    return "right" if not exchanged and found == Turn(*flips[:2]) else "wrong"


def in_all_orientations(hu: Grid, spacing_mm: tuple[float, float, float]) -> Counter[str]:
    """Count the answers to a grid that lies S P L, in its 48 orientations."""
    counts: Counter[str] = Counter()
    for order in itertools.permutations(range(3)):
        for flips in itertools.product((False, True), repeat=3):
            axes = [axis for axis in range(3) if flips[axis]]
            grid = np.ascontiguousarray(np.flip(hu.transpose(order), axes))
            spacing = tuple(spacing_mm[axis] for axis in order)
            exchanged = order != (0, 1, 2)
            kind = "axes exchanged" if exchanged else CODES[flips] or "as it lies"
            codes = [finding.code for finding in judge_anatomy(grid, spacing)]  # type: ignore[arg-type]
            counts[f"{kind}: warning {compare_warning(codes, exchanged, flips)}"] += 1
            counts[f"{kind}: turn {compare_turn(find_turn(grid, None), exchanged, flips)}"] += 1
    return counts


def measure(hu: Grid) -> dict[str, float]:
    """Return the signs of a grid as it lies, and the time to judge it."""
    lung = aerated_lung(hu)
    chest = signs.find_chest(hu, lung)
    if chest is None:
        return {}
    start = time.perf_counter()
    judge_anatomy(hu, None)
    took_ms = (time.perf_counter() - start) * 1e3
    gaps = [signs.lung_profile(chest.lung, axis).gap for axis in range(3)]
    faces = signs.cut_faces(hu)
    return {
        "lung share": signs.lung_share(chest),
        "gap across w": gaps[2],
        "gap across d, h": min(gaps[:2]),
        "face d": faces[0],
        "face h": faces[1],
        "apex": signs.apex_side(chest),
        "spine": signs.spine_side(chest) or 0.0,
        "notch": signs.notch_side(chest),
        "heart": signs.heart_side(chest),
        "liver": signs.liver_side(chest),
        "sides": signs.lung_sides(chest),
        "ms": took_ms,
    }


def main() -> None:
    """Print signs and counts for phantoms and real scans."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--phantoms", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--real", type=Path, help="a folder with chest scans")
    parser.add_argument("--pictures", action="store_true", help="values as in picture folders")
    args = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}")
    groups = {f"{args.phantoms} phantoms": phantoms(args.phantoms, args.seed)}
    if args.real:
        groups[str(args.real)] = real(args.real)
    for title, scans in groups.items():
        values: dict[str, list[float]] = {}
        counts: Counter[str] = Counter()
        for name, hu, spacing in scans:
            grid = np.clip(hu, *PICTURE_HU) if args.pictures else hu
            measured = measure(grid)
            for sign, value in measured.items():
                values.setdefault(sign, []).append(value)
            counts += (found := in_all_orientations(grid, spacing))
            wrong = sorted(kind for kind in found if kind.endswith("wrong"))
            print(f"{name}: {', '.join(wrong) or 'nothing wrong'}", file=sys.stderr)
        print(f"\n{title}")
        for sign, of in values.items():
            print(f"  {sign:16} {min(of):6.2f} {statistics.median(of):6.2f} {max(of):6.2f}")
        for kind, count in sorted(counts.items()):
            print(f"  {kind:34} {count:6}")


if __name__ == "__main__":
    main()
