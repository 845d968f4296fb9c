"""Preprocessing as a linear map: window, then one small matrix for each axis.

`A_d · X · A_hᵀ · A_wᵀ` with X windowed to 0…1. In-plane rows average areas, so that
512 → 224 does not alias; depth rows interpolate between neighbouring slices. The slices whose
column in A_d is zero are never needed (`needed_slices`), so a reader need not decode them.

Values below −1024 HU are air: scanners and converters fill what they did not reconstruct with
−1024, −2000 or −3024, and the network sees the same for each.

`resolution: half` takes the low-pass of each slice (`halving`) for the slice. Its samples lie on
even rows and columns, half a pixel before the middle of two, which the in-plane rows account for.

Along the depth the input covers the lungs and a margin (`lung_span`), or the whole scan.

A row has two to four weights, so the in-plane products add a few weighted rows instead of calling
BLAS: less work than the dense product, and no BLAS threads that fight with the engine's for the
cores (on a busy machine they made this five times slower than one thread).

The specification travels in the checkpoint and the bundle; training, calibration and runtime
take it from there and from nowhere else.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Annotated, Final, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from darnet_trt.scan.loading.halving import FILL_HU, beside_fill, halve
from darnet_trt.scan.plausibility.lungs import (
    TYPICAL_HEIGHT_MM,
    Lungs,
    coarse,
    coarse_spacing,
    find_lungs,
)
from darnet_trt.scan.volume import Volume

Matrix = npt.NDArray[np.float32]
Extent = Literal["scan", "lungs"]
Resolution = Literal["full", "half"]
Span = tuple[int, int]
"""The first slice that the input covers, and the one after the last."""

AIR_HU: Final = -1024.0
"""Everything below is padding, and counts as air."""


_Voxels = Annotated[int, Field(ge=1, le=1024)]


class Preprocessing(BaseModel):
    """The specification that turns Hounsfield units into the network's input.

    Attributes:
        size: Input size (d, h, w); the paper's is 64×224×224.
        window_center_hu: Centre of the window that maps to 0.5.
        window_width_hu: Width of the window; outside it values saturate to 0 and 1.
        orientation: Directions of increasing d, h, w: Superior, Posterior, Left.
        in_plane: Areas are averaged when shrinking, interpolated linearly when growing.
        depth: Linear interpolation between neighbouring slices.
        depth_snap: A sampling position within this fraction of an output step of an acquired
            slice takes that slice alone (at 1/5 and 4 mm steps: 0.8 mm). Series of 2.5 slices
            and more a step then need one decoded slice for each output slice, not two; at 1/8,
            those of 4 and more.
        extent: What the input covers along the body. lungs: the lungs and a margin, wherever
            they lie in the scan. scan: the whole series, which must be cut to the chest.
        resolution: half: slices with at least twice the input's rows and columns are halved first
            (`halve`), before the window. JPEG 2000 is then faster to read.
        margin_mm: Margin above and below the lungs, rounded to whole slices. The search ends some
            25 mm short of the lungs' tips, where they fill little of a slice.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    size: tuple[_Voxels, _Voxels, _Voxels] = (64, 224, 224)
    window_center_hu: Annotated[float, Field(ge=-32768, le=32767)] = -600.0
    window_width_hu: Annotated[float, Field(ge=1, le=65535)] = 1500.0
    orientation: Literal["SPL"] = "SPL"
    in_plane: Literal["area"] = "area"
    depth: Literal["linear"] = "linear"
    depth_snap: Annotated[float, Field(ge=0, le=0.5)] = 0.125
    # A specification that does not name an extent was written before there was a choice.
    extent: Extent = "scan"
    margin_mm: Annotated[float, Field(ge=0, le=1000)] = 30.0
    resolution: Resolution = "full"


NEW: Final = Preprocessing(extent="lungs", depth_snap=0.2)
"""What networks are trained with unless something else is asked for."""


def _interpolation_matrix(
    n_out: int, n_in: int, snap: float = 0.0, span: Span | None = None
) -> Matrix:
    """Return rows that interpolate linearly at the output voxels' centres: (n_out, n_in)."""
    first, after = span or (0, n_in)
    step = (after - first) / n_out
    position = np.clip(first + (np.arange(n_out) + 0.5) * step - 0.5, 0, n_in - 1)
    nearest = np.rint(position)
    position = np.where(np.abs(position - nearest) <= snap * step, nearest, position)
    lower = np.minimum(np.floor(position).astype(int), max(n_in - 2, 0))
    weight = position - lower
    matrix = np.zeros((n_out, n_in), np.float32)
    rows = np.arange(n_out)
    matrix[rows, lower] = 1 - weight
    if n_in > 1:
        matrix[rows, lower + 1] += weight.astype(np.float32)
    return matrix


def halved(spec: Preprocessing, matrix: tuple[int, int]) -> bool:
    """Return whether slices of this many rows and columns are halved: smaller ones would blur."""
    rows, columns = matrix
    return spec.resolution == "half" and rows >= 2 * spec.size[1] and columns >= 2 * spec.size[2]


def read_grid(
    spec: Preprocessing, spacing_mm: tuple[float, float, float], matrix: tuple[int, int]
) -> tuple[tuple[float, float, float], tuple[int, int]]:
    """Return the spacing (d, h, w) and the size of slices as they are read: whole, or halved."""
    if not halved(spec, matrix):
        return spacing_mm, matrix
    (d_mm, h_mm, w_mm), (rows, columns) = spacing_mm, matrix
    return (d_mm, 2 * h_mm, 2 * w_mm), ((rows + 1) // 2, (columns + 1) // 2)


def area_matrix(n_out: int, n_in: int, *, half: bool = False) -> Matrix:
    """Return rows that average the input interval each output voxel covers: (n_out, n_in).

    Where the axis grows (n_out > n_in) a row interpolates linearly instead.

    Args:
        n_out: Output voxels.
        n_in: Pixels.
        half: Whether the pixels were halved: (n_out, ⌈n_in/2⌉). Sample k lies on pixel 2k, and
            stands for the two pixels around that pixel's middle.
    """
    if n_out > n_in:
        return _interpolation_matrix(n_out, n_in)
    edges = np.linspace(0, n_in, n_out + 1)
    pixel = np.arange(n_in + 1.0)
    if half:
        pixel = 2 * np.arange((n_in + 1) // 2 + 1) - 0.5
        pixel[[0, -1]] = 0, n_in
    overlap = np.minimum(edges[1:, None], pixel[1:]) - np.maximum(edges[:-1, None], pixel[:-1])
    weights = np.clip(overlap, 0, None)
    return np.asarray(weights / weights.sum(1, keepdims=True), np.float32)


def depth_matrix(spec: Preprocessing, slices: int, span: Span) -> Matrix:
    """Return A_d for a series of `slices` slices: (size[0], slices), rows sum to 1."""
    return _interpolation_matrix(spec.size[0], slices, spec.depth_snap, span)


def needed_slices(spec: Preprocessing, slices: int, span: Span) -> npt.NDArray[np.intp]:
    """Return the indices of the slices that A_d reads, ascending."""
    return np.flatnonzero(depth_matrix(spec, slices, span).any(axis=0))


def lung_span(spec: Preprocessing, slices: int, lungs: Lungs | None, step_mm: float | None) -> Span:
    """Return what the input covers of a series: its lungs and the margin, or all of it.

    Args:
        spec: Names the extent and the margin.
        slices: Number of slices in the series.
        lungs: Where they lie; None where they were not found.
        step_mm: Distance of the slices; None where it is not known. The lungs then count as
            `TYPICAL_HEIGHT_MM` high.
    """
    if lungs is None or spec.extent == "scan":
        return 0, slices
    step_mm = step_mm or TYPICAL_HEIGHT_MM / (lungs.apex + 1 - lungs.base)
    margin = round(spec.margin_mm / step_mm)  # whole slices: the same ones in a longer scan
    return max(0, lungs.base - margin), min(slices, lungs.apex + 1 + margin)


def preprocess_slices(
    spec: Preprocessing,
    slices: int,
    span: Span,
    matrix: tuple[int, int],
    needed: Iterable[tuple[int, npt.NDArray[np.generic], float, float]],
    into: npt.NDArray[np.float32] | None = None,
) -> npt.NDArray[np.float32]:
    """Accumulate the network's input from slices as they are decoded.

    Args:
        spec: What to do.
        slices: Number of slices in the series.
        span: What the input covers of them.
        matrix: Rows and columns of the slices in the file.
        needed: For each index of `needed_slices`, in any order: the index, the stored values
            (h, w), by `halve` where the slices are `halved`, and the slope and intercept that
            make Hounsfield units of them.
        into: Where to put the input, as it is returned; None: into an array of its own.

    Returns:
        float32, shape (1, d, h, w), values 0…1.
    """
    a_d = depth_matrix(spec, slices, span)
    d, h, w = spec.size
    out = np.empty((d, h, w), np.float32) if into is None else into[0]
    out[:] = 0
    low = spec.window_center_hu - spec.window_width_hu / 2
    high = low + spec.window_width_hu
    floor = min(max(low, AIR_HU), high)
    half = halved(spec, matrix)
    rows_taps, columns_taps = (_taps(o, n, half) for o, n in zip((h, w), matrix, strict=True))
    for index, stored, slope, intercept in needed:
        # Rows of the matrices sum to 1, so the scale and offset can wait until the slice is small.
        scale, offset = slope / spec.window_width_hu, (intercept - low) / spec.window_width_hu
        air, full = ((hu - intercept) / slope for hu in (floor, high))
        x = stored.astype(np.float32, order="C")
        if half:
            fill = np.float32(slope) * x < np.float32(FILL_HU - intercept)
            if fill.any():
                x[beside_fill(fill)] = air
        x = np.clip(x, *np.array(sorted((air, full)), np.float32))
        small = _resample_rows(rows_taps, x)
        small = _resample_rows(columns_taps, np.ascontiguousarray(small.T)).T
        small = small * np.float32(scale) + np.float32(offset)
        for row in np.flatnonzero(a_d[:, index]):
            out[row] += a_d[row, index] * small
    return np.clip(out, 0, 1, out=out)[None]


@functools.lru_cache(maxsize=16)
def _taps(n_out: int, n_in: int, half: bool) -> tuple[tuple[npt.NDArray[np.intp], Matrix], ...]:
    """Return `area_matrix` as a few taps: for each, input indices and weights by row."""
    matrix = area_matrix(n_out, n_in, half=half)
    n_in = matrix.shape[1]
    used = matrix != 0
    first, rows = used.argmax(1), np.arange(n_out)
    taps = []
    for step in range(int((n_in - used[:, ::-1].argmax(1) - first).max())):
        column = np.minimum(first + step, n_in - 1)
        inside = first + step < n_in
        taps.append((column, (matrix[rows, column] * inside).astype(np.float32)[:, None]))
    return tuple(taps)


def _resample_rows(
    taps: tuple[tuple[npt.NDArray[np.intp], Matrix], ...], x: Matrix
) -> npt.NDArray[np.float32]:
    """Multiply the matrix that the taps stand for by x."""
    total = part = None
    for rows, weights in taps:
        part = np.take(x, rows, axis=0, out=part)
        part *= weights
        if total is None:
            total, part = part, None
        else:
            total += part
    assert total is not None
    return total


def preprocess(spec: Preprocessing, volume: Volume) -> npt.NDArray[np.float32]:
    """Return the input for a volume in memory: float32, shape (1, d, h, w), values 0…1."""
    slices, rows, columns = volume.hu.shape
    matrix = rows, columns

    def read(index: int) -> npt.NDArray[np.generic]:
        return halve(volume.hu[index]) if halved(spec, matrix) else volume.hu[index]

    span = 0, slices
    if spec.extent == "lungs":
        grid_mm = coarse_spacing(*read_grid(spec, volume.spacing_mm, matrix))
        lungs = find_lungs(slices, lambda indices: [coarse(read(i)) for i in indices], grid_mm)
        span = lung_span(spec, slices, lungs, volume.spacing_mm[0])
    needed = needed_slices(spec, slices, span).tolist()
    return preprocess_slices(spec, slices, span, matrix, ((i, read(i), 1.0, 0.0) for i in needed))
