"""Check an input's pixels: they show a chest in Hounsfield units, that lies as the files say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import numpy.typing as npt

from darnet_trt.errors import Finding, RefusedScanError
from darnet_trt.scan.dicom.encoding.codestreams import RLE
from darnet_trt.scan.dicom.encoding.meta import NATIVE
from darnet_trt.scan.dicom.pixels import decode_slice, rescale
from darnet_trt.scan.loading.slices import UNTURNED, Slices, scaled
from darnet_trt.scan.plausibility.anatomy import Turn, find_turn, judge_anatomy, turned
from darnet_trt.scan.plausibility.chest import judge_chest
from darnet_trt.scan.plausibility.disorder import disordered, in_disorder
from darnet_trt.scan.plausibility.hounsfield import judge_values
from darnet_trt.scan.plausibility.lungs import find_lungs
from darnet_trt.scan.plausibility.passes import NEIGHBOURS, OVERLAPPING, interleaved
from darnet_trt.scan.plausibility.rows import other_rows
from darnet_trt.scan.preprocessing import Span
from darnet_trt.scan.series import Series

SMALL_SHARE: Final = 0.6
"""Where the lungs take a smaller share of a scan's height, a network that was trained on scans cut
to the chest sees them squeezed: among chest protocols they take 65 to 95 %."""


def refuse_other_rows(series: Series, index: int) -> None:
    """Refuse DICOM slices whose pixels lie in rows of another length than the header says.

    Most codestreams tell their size themselves.

    Raises:
        RefusedScanError: They do.
    """
    header = series.headers[index] if series.headers else None
    if header is None or header.transfer_syntax not in {*NATIVE, RLE}:
        return
    hu = scaled(decode_slice(header), *rescale(header))
    if (refusal := other_rows(hu)) is not None:
        raise RefusedScanError(refusal, where=series.path)


def refuse_interleaved(
    slices: Slices, span: Span, indices: Sequence[int], grid: npt.NDArray[np.float32]
) -> None:
    """Refuse neighbouring slices that alternate between scans.

    More slices are decoded for it only where the header shows slices that overlap.

    Raises:
        RefusedScanError: They do.
    """
    runs = np.split(np.arange(len(indices)), np.flatnonzero(np.diff(indices) != 1) + 1)
    longest = max(runs, key=len)
    neighbours = grid[longest]
    if len(longest) < NEIGHBOURS and (slices.volume is not None or _overlap(slices.series)):
        first = max(span[0], (span[0] + span[1] - NEIGHBOURS) // 2)
        neighbours = np.stack(slices.look(range(first, min(first + NEIGHBOURS, span[1]))))
    if (alternating := interleaved(neighbours)) is not None:
        raise RefusedScanError(alternating, where=slices.series.path)


def find_disorder(
    series: Series, indices: Sequence[int], grid: npt.NDArray[np.float32]
) -> tuple[Finding, ...]:
    """Return a warning where pictures, whose order only their names tell, are out of order."""
    jump = disordered(grid, indices) if series.format == "slices" else None
    return () if jump is None else (in_disorder(series.files[jump].name),)


def _overlap(series: Series) -> bool:
    """Return whether slices overlap, by SliceThickness (0018,0050)."""
    if not series.headers or series.spacing_mm is None:
        return False
    thickness = series.headers[0].get("SliceThickness")
    return thickness is None or thickness > OVERLAPPING * series.spacing_mm[0]


def find_turned(
    slices: Slices, span: Span, grid: npt.NDArray[np.float32]
) -> tuple[Turn, tuple[Finding, ...]]:
    """Return how the slices must be turned, and warnings.

    Raises:
        RefusedScanError: Neither the files nor the pixels show how the scan lies.
    """
    spacing = _grid_spacing(slices, span, len(grid))
    if slices.series.oriented:
        return UNTURNED, judge_anatomy(grid, spacing)
    if slices.turn != UNTURNED:
        return slices.turn, (_told(slices.series, slices.turn),)
    turn = find_turn(grid, spacing)
    if isinstance(turn, Finding):
        raise RefusedScanError(turn, where=slices.series.path)
    return turn, (_told(slices.series, turn),)


def _told(series: Series, turn: Turn) -> Finding:
    """Return the warning of a turn; pictures are numbered from the head unless they are turned."""
    return turned(replace(turn, flip_d=turn.flip_d != (series.format == "slices")))


def _grid_spacing(slices: Slices, span: Span, count: int) -> tuple[float, float, float] | None:
    """Return the spacing of the coarse grid of some slices that cover a span evenly."""
    if slices.grid_mm is None:
        return None
    d_mm, h_mm, w_mm = slices.grid_mm
    return d_mm * (span[1] - span[0]) / count, h_mm, w_mm


def small_share(
    indices: Sequence[int], grid: npt.NDArray[np.float32]
) -> tuple[tuple[int, int] | None, tuple[Finding, ...]]:
    """Return which slices of a scan that is used whole show lung, and a warning if they are few."""
    lungs = find_lungs(len(grid), lambda places: [grid[i] for i in places], None)
    if lungs is None:
        return None, ()
    share = (lungs.top - lungs.bottom + 1) / len(grid)
    shown = indices[lungs.bottom], indices[lungs.top]
    if share >= SMALL_SHARE:
        return shown, ()
    return shown, (
        Finding(
            "lungs-small-share",
            f"the lungs take {share:.0%} of the scan's height, and the network was trained on "
            f"scans of the chest alone (at least {SMALL_SHARE:.0%}): cut the scan to the chest, or "
            "train with --extent lungs",
        ),
    )


def check_values(
    slices: Slices, indices: Sequence[int], span: Span, grid: npt.NDArray[np.float32]
) -> tuple[Finding, ...]:
    """Return warnings; refuse what is not a chest in Hounsfield units."""
    series = slices.series
    names = [_slice_name(series, i) for i in indices]
    wrong, warnings = judge_values(grid, names, calibrated=series.calibrated)
    if wrong is None:
        wrong, more = judge_chest(grid, _grid_spacing(slices, span, len(grid)))
        if wrong is None:
            return (*warnings, *more)
    raise RefusedScanError(wrong, where=series.path)


def _slice_name(series: Series, index: int) -> str:
    """Return a slice's file name, or frame; in a volume file its number, counted from the feet."""
    if series.headers:
        return series.headers[index].name
    one_file = series.format != "slices"
    return f"slice {index + 1} of {series.slices}" if one_file else series.files[index].name
