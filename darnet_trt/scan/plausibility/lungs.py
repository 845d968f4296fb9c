"""Find the lungs along the body, from a few slices.

A scan may show the lungs alone, or a whole body. Some slices spread over the scan show where the
lungs are, others within them that they have no gap, and halving the distance at both ends shows
where they end. The number of slices looked at hardly depends on the scan's length, and what is
found does not.

A slice is looked at on a coarse grid of some 64×64 averages. A pixel counts as lung where it has
the density of aerated lung, does not touch gas, and lies inside the body. So gas of the bowel,
the stomach, the airways and the sinuses is none (its blurred edge has the density of lung, but
touches gas), nor air outside the body, nor the foam of a table or a cover.

The limits are a judgement. They were set on the synthetic cohort and on three real chests.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Grid = npt.NDArray[np.float32]

COARSE_PIXELS: Final = 64
"""Pixels a side of the coarse grid: 5 to 8 mm each, finer than a chest wall."""
GAS_HU: Final = -970.0
"""Gas of the bowel and the airways lies below, like air outside the body."""
AERATED_HU: Final = -500.0
"""Aerated lung lies between gas and this; stool, which holds gas too, lies mostly above it."""
TISSUE_HU: Final = -400.0
LUNG_SHARE: Final = 0.08
"""A slice shows the lungs where they fill this share of the body's section: 45 cm² of an adult,
more than bowel with stool. The lungs' tips reach some 25 mm further at both ends."""
TWO_LUNGS_SHARE: Final = 0.27
"""Two lungs fill 0.27 to 0.5 of some slice."""
ONE_LUNG_SHARE: Final = 0.2
"""Where no slice shows more, one lung is lost, and half of `LUNG_SHARE` is enough."""
REST: Final = 0.1
"""Where no slice shows more, both lungs are mostly consolidated. What is left shows neither end."""
REST_SHARE: Final = 0.4
"""Then this share of what the slice with most shows is enough."""
LEAST_SHARE: Final = 0.02
"""Less is no lung: bowel with stool shows as much."""
HOLLOW_SHARE: Final = 0.6
"""Where less of what is hollow in the fullest slice has the density of aerated lung, all of it
counts: emphysema is as thin as gas, ground glass nearly as dense as tissue, and noise is both. Of
84 phantoms and three real series, 0.85 and more has it."""
FIRST_PROBES: Final = 16
"""Slices looked at first: in a scan of a whole body, 1.9 m long, one every 130 mm."""
STRIDE_MM: Final = 24.0
"""The lungs have no gap. Slices looked at within them lie no further apart than this, so that
what shows up beyond a gap is not taken for lung."""
THICK_MM: Final = 4.0
"""From this distance of the slices on, half a stride: fewer slices make a gap."""
LEAST_STRIDES: Final = 2
"""Lungs may be as low as this many strides: no wider gap is left where none were seen."""
LEAST_HEIGHT: Final = 0.5
"""Lungs lower than this are consolidated at their base, or cut off by the scan: healthy ones reach
0.65 to 1.0. The unit is the side of a square as large as the body's section."""
FULL_HEIGHT: Final = 1.0
"""Such lungs count as this high, from their top down, in the same unit: what lies below their
aerated part is taken for their base."""
TYPICAL_HEIGHT_MM: Final = 240.0
"""Height of an adult's lungs; gives pictures without a spacing one."""

Probe = Callable[[Sequence[int]], Sequence[Grid]]
"""Takes indices of slices, gives their coarse grids in Hounsfield units (h, w)."""


@dataclass(frozen=True)
class Lungs:
    """Where a scan shows the lungs.

    Attributes:
        bottom: Index of the lowest slice that shows aerated lung.
        top: Index of the highest one.
        base: Index where the lungs' base may lie, at or below `bottom`: lower where the aerated
            lung is too low for the body, or where both are mostly consolidated.
        apex: Index where their apex may lie, at or above `top`: higher where both are mostly
            consolidated.
        whole: Whether neither the scan's first nor its last slice shows lung.
        pixels: Aerated lung in the slices looked at, in pixels of the coarse grid times slices.
        share: Of the body's section that the lungs fill in each slice between the ends.
        hollow: Whether all that is hollow counts as lung, whatever its density.
    """

    bottom: int
    top: int
    base: int
    apex: int
    whole: bool
    pixels: float
    share: float = LUNG_SHARE
    hollow: bool = False


def coarse_step(shape: Sequence[int]) -> int:
    """Return how many of a slice's pixels make one of the coarse grid's, along each side."""
    return max(1, min(shape) // COARSE_PIXELS)


def coarse_spacing(
    spacing_mm: tuple[float, float, float], shape: Sequence[int]
) -> tuple[float, float, float]:
    """Return the spacing (d, h, w) of coarse grids of slices of this shape."""
    d_mm, h_mm, w_mm = spacing_mm
    return d_mm, h_mm * coarse_step(shape), w_mm * coarse_step(shape)


def middles(stored: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the middle half of each block of a slice's pixels, along both sides: (h, i, w, j).

    It quiets the noise well enough, at a quarter of the cost of the whole block.
    """
    step = coarse_step(stored.shape)
    h, w = (size // step for size in stored.shape)
    used = np.s_[step // 4 : step // 4 + max(1, step // 2)]
    return stored[: h * step, : w * step].reshape(h, step, w, step)[:, used, :, used]


def averages(blocks: npt.NDArray[Any]) -> Grid:
    """Return the means of `middles`: some 64×64, float32."""
    _, rows, _, columns = blocks.shape
    lines = sum((blocks[:, i] for i in range(1, rows)), blocks[:, 0].astype(np.float32))
    total = sum((lines[:, :, j] for j in range(1, columns)), lines[:, :, 0])
    return np.asarray(total / np.float32(rows * columns), np.float32)


def coarse(stored: npt.NDArray[Any]) -> Grid:
    """Return a slice on the coarse grid, in the units of its pixels."""
    return averages(middles(stored))


@dataclass(frozen=True)
class _Seen:
    """Pixels of one slice's coarse grid.

    Attributes:
        aerated: Hollow ones with the density of aerated lung that do not touch gas.
        hollow: What is enclosed by tissue, and none.
        tissue: Tissue.
    """

    aerated: int
    hollow: int
    tissue: int

    def share(self, *, hollow: bool) -> float:
        """Return the share of the body's section that lung fills."""
        lung = self.hollow if hollow else self.aerated
        return lung / max(1, self.section(hollow=hollow))

    def section(self, *, hollow: bool) -> int:
        """Return the pixels of the body's section."""
        return self.tissue + (self.hollow if hollow else self.aerated)


def lung_pixels(hu: Grid) -> list[_Seen]:
    """Count the pixels of lung and of tissue in each slice.

    Args:
        hu: Coarse grids, (n, h, w).
    """
    gas, tissue = hu < GAS_HU, hu > TISSUE_HU
    near_gas = _spread(_spread(gas, 1), 2)
    hollow = np.stack([_inside(*pair) for pair in zip(gas, tissue, strict=True)]) & ~tissue
    aerated = hollow & ~near_gas & (hu < AERATED_HU)
    counts = (mask.sum((1, 2)).tolist() for mask in (aerated, hollow, tissue))
    return [_Seen(*counted) for counted in zip(*counts, strict=True)]


def _inside(gas: npt.NDArray[np.bool_], tissue: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Mark what gas at a slice's border cannot reach without crossing tissue, (h, w).

    A slice is one long integer, a bit a pixel: shifting it moves the front to all neighbours at
    once. Lung that the field of view cuts at a side is not gas, so it stays inside; noise makes
    single pixels of it gas, so three in a row are asked for.
    """
    h, w = gas.shape
    passable, reached = (np.zeros((h, w + 1), np.bool_) for _ in range(2))  # a gap between rows
    passable[:, :w] = ~tissue
    reached[[0, -1], 1 : w - 1] = _runs(gas[[0, -1]].T).T
    reached[1:-1, [0, w - 1]] = _runs(gas[:, [0, -1]])
    way, front = (int.from_bytes(np.packbits(m).tobytes()) for m in (passable, reached))
    before = -1
    while front != before:
        before = front
        front |= (front << 1 | front >> 1 | front << w + 1 | front >> w + 1) & way
    size = h * (w + 1)
    packed = np.frombuffer(front.to_bytes((size + 7) // 8), np.uint8)
    outside = np.unpackbits(packed, count=size).reshape(h, w + 1)[:, :w]
    return np.asarray(outside == 0)


def _runs(gas: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Mark the middle of three pixels of gas in a row, along the first axis."""
    return np.asarray(gas[:-2] & gas[1:-1] & gas[2:])


def _spread(mask: npt.NDArray[np.bool_], axis: int) -> npt.NDArray[np.bool_]:
    """Mark the neighbours along an axis too."""
    wide = mask.copy()
    ahead = tuple(np.s_[1:] if i == axis else np.s_[:] for i in range(3))
    behind = tuple(np.s_[:-1] if i == axis else np.s_[:] for i in range(3))
    wide[ahead] |= mask[behind]
    wide[behind] |= mask[ahead]
    return wide


def find_lungs(
    slices: int, probe: Probe, spacing_mm: tuple[float, float, float] | None
) -> Lungs | None:
    """Return where the lungs lie; None where no slice shows lung.

    Args:
        slices: Number of slices in the scan, foot to head.
        probe: Looks at slices.
        spacing_mm: Of the coarse grid's pixels, and of the scan's slices, (d, h, w); None where
            it is not known.
    """
    stride = _stride(slices, None if spacing_mm is None else spacing_mm[0])
    seen: dict[int, _Seen] = {}
    wanted = sorted({round(i) for i in np.linspace(0, slices - 1, min(slices, FIRST_PROBES))})
    while wanted:
        seen.update(zip(wanted, lung_pixels(np.stack(probe(wanted))), strict=True))
        hollow = _all_hollow(seen)
        filled = {i: one.share(hollow=hollow) for i, one in seen.items()}
        most = max(filled, key=lambda i: filled[i])
        share = _least_share(filled[most])
        shown = {i for i in seen if filled[i] > share}
        wanted = _next(sorted(seen), most, shown, stride)
    if most not in shown:
        return None
    bottom, top = _run(sorted(seen), most, shown)
    base, apex = bottom, top
    if spacing_mm is not None:
        side_mm = (seen[most].section(hollow=hollow) * spacing_mm[1] * spacing_mm[2]) ** 0.5
        full = round(FULL_HEIGHT * side_mm / spacing_mm[0])
        if filled[most] < REST:
            apex = min(slices - 1, max(top, (bottom + top + full) // 2))
            base = max(0, min(bottom, apex + 1 - full))
        elif (top - bottom + 1) * spacing_mm[0] < LEAST_HEIGHT * side_mm:
            base = max(0, min(bottom, top + 1 - full))
    inside = [i for i in sorted(seen) if bottom <= i <= top]
    area = sum((b - a) * (seen[a].aerated + seen[b].aerated) / 2 for a, b in pairwise(inside))
    whole = bottom > 0 and top < slices - 1
    return Lungs(bottom, top, base, apex, whole, area, share, hollow)


def _all_hollow(seen: dict[int, _Seen]) -> bool:
    """Return whether too little of what is hollow in the lungs has the density of aerated lung."""
    most = max(seen.values(), key=lambda one: one.share(hollow=False))
    if most.share(hollow=False) < ONE_LUNG_SHARE:
        most = max(seen.values(), key=lambda one: one.share(hollow=True))
    return most.share(hollow=True) >= ONE_LUNG_SHARE and most.aerated < HOLLOW_SHARE * most.hollow


def _least_share(most: float) -> float:
    """Return what lung must fill of a slice, by what it fills of the slice that shows most."""
    if most < ONE_LUNG_SHARE:
        return max(LEAST_SHARE, min(LUNG_SHARE / 2, REST_SHARE * most))
    two = min(1.0, (most - ONE_LUNG_SHARE) / (TWO_LUNGS_SHARE - ONE_LUNG_SHARE))
    return LUNG_SHARE / 2 * (1 + two)


def _stride(slices: int, step_mm: float | None) -> int:
    """Return how far apart slices within the lungs are looked at, in slices."""
    if step_mm is None:
        return max(1, slices // COARSE_PIXELS)
    return max(1, int(STRIDE_MM / (1 if step_mm < THICK_MM else 2) / step_mm))


def settle(slices: int, lungs: Lungs, probe: Probe) -> Lungs:
    """Return the lungs with their ends where `probe` sees them.

    Args:
        slices: Number of slices in the scan.
        lungs: Found with a quicker look, which may be wrong by a slice or two.
        probe: Looks at slices.
    """
    shows: dict[int, bool] = {}

    def end(place: int, outward: int) -> int:
        """Walk out while the next slice shows lung, or in until this one does."""
        while 0 <= place + outward < slices and shown(place + outward):
            place += outward
        while not shown(place) and lungs.bottom < place - outward < lungs.top:
            place -= outward
        return place

    def shown(index: int) -> bool:
        if index not in shows:
            look(index)
        return shows[index]

    def look(*indices: int) -> None:
        seen = lung_pixels(np.stack(probe(indices)))
        shows.update(
            (i, one.share(hollow=lungs.hollow) > lungs.share)
            for i, one in zip(indices, seen, strict=True)
        )

    ends = {lungs.bottom, lungs.bottom - 1, lungs.top, lungs.top + 1}
    look(*sorted(ends & set(range(slices))))
    bottom, top = end(lungs.bottom, -1), end(lungs.top, 1)
    return replace(
        lungs,
        bottom=bottom,
        top=top,
        base=min(max(0, lungs.base + top - lungs.top), bottom)
        if lungs.base < lungs.bottom
        else bottom,
        apex=min(slices - 1, lungs.apex + top - lungs.top),
        whole=bottom > 0 and top < slices - 1,
    )


def _run(known: list[int], most: int, shown: set[int]) -> tuple[int, int]:
    """Return the first and last of the slices around `most` that show lung without a gap."""
    place = known.index(most)
    first = last = place
    while first > 0 and known[first - 1] in shown:
        first -= 1
    while last < len(known) - 1 and known[last + 1] in shown:
        last += 1
    return known[first], known[last]


def _next(known: list[int], most: int, shown: set[int], stride: int) -> list[int]:
    """Return the slices to look at next: within wide gaps of the lungs, and around their ends."""
    if most not in shown:
        wide = (pair for pair in pairwise(known) if pair[1] - pair[0] > LEAST_STRIDES * stride)
        return [(a + b) // 2 for a, b in wide]
    bottom, top = _run(known, most, shown)
    wanted = []
    for a, b in pairwise(known):
        if bottom <= a and b <= top:
            parts = -(-(b - a) // stride)
        else:
            parts = 2 if b == bottom or a == top else 1
        wanted += [a + (b - a) * part // parts for part in range(1, parts)]
    return [i for i in wanted if i not in known]
