"""The slices of a series in any format, foot to head, read when they are asked for."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from itertools import chain
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from darnet_trt.errors import Finding
from darnet_trt.machine.cpus import usable_cpus
from darnet_trt.scan.dicom.encoding.gpu import decode_series
from darnet_trt.scan.dicom.encoding.reduced import (
    decode_both,
    decode_half,
    decode_reduced,
    reducible,
)
from darnet_trt.scan.dicom.header import Header
from darnet_trt.scan.dicom.pixels import decode_slice, decode_slices, is_native, rescale
from darnet_trt.scan.loading.halving import halve
from darnet_trt.scan.loading.slice_hash import slice_hash
from darnet_trt.scan.pictures import assumed_offset, decode_grey, find_offset_hu
from darnet_trt.scan.plausibility.anatomy import Turn
from darnet_trt.scan.plausibility.lungs import (
    Grid,
    Lungs,
    averages,
    coarse,
    coarse_spacing,
    coarse_step,
    find_lungs,
    middles,
    settle,
)
from darnet_trt.scan.preprocessing import Preprocessing, halved, read_grid
from darnet_trt.scan.series import Series
from darnet_trt.scan.volume import Volume
from darnet_trt.scan.volume_files.series import read_image

Needed = tuple[int, npt.NDArray[np.generic], float, float]
"""A slice's number, its stored values (h, w), and the slope and intercept of Hounsfield units.

The values are halved (`halve`) where the specification says so and the slice is large enough."""
Stored = npt.NDArray[Any]

UNTURNED: Final = Turn(flip_d=False, flip_h=False)
REDUCED_FROM: Final = 128
"""Slices. In shorter series most of the slices looked at are needed for the input too, so they
are decoded once and kept; in longer ones a look at a lower resolution costs less."""


class Slices:
    """The slices of one series, each decoded once at most.

    Args:
        volume: What `read_image` gives for a volume file, where it was read already.
        identify: Whether slices that are decoded in full are hashed.

    Attributes:
        series: Which.
        spec: What makes the input: greys of pictures span its window.
        read_s: Time spent so far to read and decode.
        read_cpu_s: Processor time of the calling thread in it.
        probed: Slices that were looked at so far to find the lungs.
        halved: Whether they are halved.
        turn: What puts slices and rows in order, where the files do not say how the scan lies.
        hashes: `slice_hash` of the whole slices, whatever the network reads: so scans are known
            again by any bundle. None of an empty one.
        assumed: Warnings of what was assumed about the values that were decoded so far.
    """

    def __init__(
        self,
        series: Series,
        spec: Preprocessing,
        turn: Turn = UNTURNED,
        volume: Volume | None = None,
        *,
        identify: bool = False,
    ) -> None:
        if turn.flip_d:
            series = replace(series, files=series.files[::-1])
        self.series, self.spec, self.turn, self.identify = series, spec, turn, identify
        self.halved = halved(spec, series.matrix)
        self.read_s = self.read_cpu_s = 0.0
        self.probed = 0
        self.assumed: tuple[Finding, ...] = ()
        self.hashes: dict[int, int | None] = {}
        self._kept: dict[int, Stored] = {}
        self._decoded: set[int] = set()
        self.volume: Volume | None = None
        if series.stack is None and series.format != "slices":
            # first: a broken header can claim any number of slices
            with self._timing():
                volume = volume or read_image(series)
            self.volume = replace(volume, hu=volume.hu[:: -1 if turn.flip_d else 1, self._rows])

    @property
    def _rows(self) -> slice:
        return np.s_[:: -1 if self.turn.flip_h else 1]

    @cached_property
    def lungs(self) -> Lungs | None:
        """Return where the lungs lie; None where no slice shows lung.

        Raises:
            UnreadableScanError: A slice that was looked at is broken.
            RefusedScanError: It holds values that are not numbers.
        """
        series, grid_mm = self.series, self.grid_mm
        if not self._reduces or series.spacing_mm is None or grid_mm is None:
            return find_lungs(series.slices, self.look, grid_mm)
        d_mm, *pixel_mm = series.spacing_mm
        h_mm, w_mm = (mm * (2 << self._halvings) for mm in pixel_mm)  # of what `_glance` gives
        found = find_lungs(series.slices, self._glance, (d_mm, h_mm, w_mm))
        if found is None:
            return None
        found = replace(found, pixels=found.pixels * h_mm * w_mm / (grid_mm[1] * grid_mm[2]))
        return settle(series.slices, found, self.look)

    @property
    def grid_mm(self) -> tuple[float, float, float] | None:
        """Return the spacing (d, h, w) of what `look` gives; None where it is not known."""
        series = self.series
        if series.spacing_mm is None:
            return None
        return coarse_spacing(*read_grid(self.spec, series.spacing_mm, series.matrix))

    @property
    def origin_mm(self) -> float:
        """Return the place of a volume file's lowest slice along the body."""
        return 0.0 if self.volume is None else self.volume.origin_mm[2]

    @property
    def decoded(self) -> int:
        """Return how many slices were decoded in full."""
        return len(self._decoded)

    def look(self, indices: Sequence[int]) -> list[Grid]:
        """Return slices on the coarse grid, in Hounsfield units."""
        self.probed += len(indices)
        with self._timing():
            return self._look(indices)

    def stored(self, indices: Sequence[int]) -> Iterator[Needed]:
        """Decode slices in full, those that were kept first."""
        self._decoded.update(indices)
        wanted = iter(self._stored(indices))
        while True:
            with self._timing():
                item = next(wanted, None)
            if item is None:
                return
            yield item

    @contextmanager
    def _timing(self) -> Iterator[None]:
        start, cpu = time.perf_counter(), time.thread_time()
        try:
            yield
        finally:
            self.read_s += time.perf_counter() - start
            self.read_cpu_s += time.thread_time() - cpu

    @cached_property
    def _native(self) -> bool:
        return is_native(self.series.headers)

    @cached_property
    def _reduces(self) -> bool:
        headers = self.series.headers
        return len(headers) >= REDUCED_FROM and all(map(reducible, headers))

    @property
    def _halvings(self) -> int:
        """One fewer than the coarse grid has: wavelets overshoot at edges, so four are averaged."""
        return max(0, coarse_step(self.series.matrix).bit_length() - 2)

    def _look(self, indices: Sequence[int]) -> list[Grid]:
        series, headers = self.series, self.series.headers
        if series.stack is not None and self._native and not self.halved:
            turn = series.stack.turn
            parts = (decode_slice(headers[i], lambda whole: middles(turn(whole))) for i in indices)
            return [
                scaled(averages(part), *rescale(headers[i]))
                for i, part in zip(indices, parts, strict=True)
            ]
        if self.volume is None:
            fresh = [i for i in indices if i not in self._kept]
            self._kept |= {item[0]: item[1] for item in self._stored(fresh)}
            self._decoded.update(fresh)
        found = {item[0]: item for item in self._stored(indices)}
        return [scaled(coarse(found[i][1]), *found[i][2:]) for i in indices]

    def _glance(self, indices: Sequence[int]) -> list[Grid]:
        """Return slices on the coarse grid, about as `look` does, from a fraction of their data."""
        self.probed += len(indices)
        with self._timing():
            return self._reduced(indices)

    def _reduced(self, indices: Sequence[int]) -> list[Grid]:
        assert self.series.stack is not None
        headers, turn = self.series.headers, self.series.stack.turn

        def one(index: int) -> Grid:
            stored = turn(decode_reduced(headers[index], self._halvings))
            h, w = (size // 2 * 2 for size in stored.shape)
            quads = stored[:h, :w].reshape(h // 2, 2, w // 2, 2)
            return scaled(averages(quads), *rescale(headers[index]))

        with ThreadPoolExecutor(usable_cpus()) as pool:
            return list(pool.map(one, indices))

    def _stored(self, indices: Sequence[int]) -> Iterator[Needed]:
        kept = [(i, self._kept[i]) for i in indices if i in self._kept]
        rest = [i for i in indices if i not in self._kept]
        series = self.series
        if self.volume is not None:
            hu = self.volume.hu
            return (self._whole_or_half(i, hu[i], 1.0, 0.0) for i in rest)
        if series.stack is not None:
            return self._dicom(kept, rest)
        scale = self._picture_scale
        greys = (self._whole_or_half(i, self._grey(i), *scale) for i in rest)
        return chain(((i, grey, *scale) for i, grey in kept), greys)

    def _whole_or_half(self, index: int, whole: Stored, slope: float, intercept: float) -> Needed:
        self._hash(index, whole, slope, intercept)
        return index, halve(whole) if self.halved else whole, slope, intercept

    def _hash(self, index: int, whole: Stored, slope: float, intercept: float) -> None:
        if self.identify and index not in self.hashes:
            self.hashes[index] = slice_hash(whole, slope, intercept)

    def _grey(self, index: int) -> Stored:
        return decode_grey(self.series.files[index])[self._rows]

    @cached_property
    def _picture_scale(self) -> tuple[float, float]:
        """Return the slope and the intercept that make Hounsfield units of pictures' values."""
        series, spec = self.series, self.spec
        if not series.calibrated:
            return spec.window_width_hu / 255, spec.window_center_hu - spec.window_width_hu / 2
        samples = [series.slices * quarter // 4 for quarter in (1, 2, 3)]
        offset_hu = find_offset_hu(series, [self._grey(index) for index in samples])
        self.assumed = (assumed_offset(offset_hu),)
        return 1.0, float(offset_hu)

    def _dicom(self, kept: list[tuple[int, Stored]], rest: list[int]) -> Iterator[Needed]:
        assert self.series.stack is not None
        headers, stack = self.series.headers, self.series.stack
        for index, stored in kept:
            yield index, stored, *rescale(headers[index])

        def halves(header: Header) -> tuple[Stored | None, Stored]:
            """Return the whole slice, None where nobody needs it, and its half."""
            if self.identify:
                return decode_both(header, stack)
            return None, decode_half(header, stack)

        if self.halved:
            for index, (whole, half) in decode_slices(headers, rest, halves):
                scale = rescale(headers[index])
                if whole is not None:
                    self._hash(index, whole, *scale)
                yield index, half, *scale
            return
        for index, stored in decode_series(headers, rest):
            turned, scale = stack.turn(stored), rescale(headers[index])
            self._hash(index, turned, *scale)
            yield index, turned, *scale


def scaled(stored: Stored, slope: float, intercept: float) -> npt.NDArray[np.float32]:
    """Return Hounsfield units of stored values."""
    return np.float32(slope) * stored.astype(np.float32) + np.float32(intercept)
