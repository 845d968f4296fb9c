"""Turn a series into the network's input; decode only the slices that it needs."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from darnet_trt.errors import Finding, RefusedScanError, ScanError, UnreadableScanError
from darnet_trt.scan.choice import none_loads, rank, skipped
from darnet_trt.scan.dicom.pixels import decode_slices, rescale
from darnet_trt.scan.pictures import decode_grey
from darnet_trt.scan.plausibility.chest import judge_chest
from darnet_trt.scan.plausibility.hounsfield import judge_values
from darnet_trt.scan.plausibility.passes import interleaved
from darnet_trt.scan.preprocessing import Preprocessing, needed_slices, preprocess_slices
from darnet_trt.scan.series import Choice, Series, Study, Verdict
from darnet_trt.scan.volume import Volume
from darnet_trt.scan.volume_files.series import read_image

COARSE_PIXELS: Final = 64
"""Pixels a side of the grid that is searched for lungs: 5 to 8 mm each, finer than a chest wall."""

Needed = tuple[int, npt.NDArray[np.generic], float, float]


@dataclass(frozen=True, eq=False)
class LoadedInput:
    """The network's input for one series.

    Attributes:
        array: float32 (1, d, h, w), values 0…1.
        warnings: What only the pixels show; the verdict's warnings are not repeated.
        read_ms: Time to read and decode, skipped series included.
        preprocess_ms: Time to window, resample and check.
        decoded: Slices that were decoded.
        pixel_mm: In-plane size of the finest detail that the input can show; None where the
            spacing is not known.
    """

    array: npt.NDArray[np.float32]
    warnings: tuple[Finding, ...]
    read_ms: float
    preprocess_ms: float
    decoded: int
    pixel_mm: float | None


class _Timed:
    """Pass slices on to preprocessing; time their decoding and keep a coarse grid of them."""

    def __init__(self, slices: Iterator[Needed]) -> None:
        self.slices = slices
        self.read_s = 0.0
        self.coarse: list[npt.NDArray[np.float32]] = []
        self.places: list[int] = []

    def __iter__(self) -> Iterator[Needed]:
        while True:
            start = time.perf_counter()
            item = next(self.slices, None)
            self.read_s += time.perf_counter() - start
            if item is None:
                return
            index, stored, slope, intercept = item
            step = _coarse_step(stored.shape)
            part = stored[step // 2 :: step, step // 2 :: step]
            with np.errstate(over="ignore"):  # `judge_values` refuses an infinity
                self.coarse.append(_hounsfield((index, part, slope, intercept)))
            self.places.append(index)
            yield item


def load_study(study: Study, spec: Preprocessing) -> tuple[Choice, LoadedInput]:
    """Choose a study's series and load its input; see `load_best`.

    Raises:
        UnreadableScanError: No series can be read.
        RefusedScanError: No series is usable.
    """
    return load_best(study, rank(study), spec)


def load_best(
    study: Study, ranked: Sequence[Choice], spec: Preprocessing
) -> tuple[Choice, LoadedInput]:
    """Load the input of the first series whose pixels can be used.

    Args:
        study: Named in errors.
        ranked: From `rank(study)`: what the headers allow, best first.
        spec: What makes the input.

    Returns:
        The choice and its input; a warning of the input names each series that was skipped and
        the reason.

    Raises:
        UnreadableScanError: The best series has broken pixels, and no other one can be used.
        RefusedScanError: No series can be used; gives the best one's reason.
    """
    failed: list[tuple[Series, ScanError]] = []
    start = time.perf_counter()
    for choice in ranked:
        lost_ms = (time.perf_counter() - start) * 1e3
        try:
            loaded = load_input(choice.series, spec)
        except ScanError as error:
            failed.append((choice.series, error))
            continue
        warnings = (skipped(s, _without_place(error, s)) for s, error in failed)
        return choice, replace(
            loaded, warnings=(*warnings, *loaded.warnings), read_ms=lost_ms + loaded.read_ms
        )
    first = failed[0][1]
    if len(failed) == 1:
        raise first
    reason = none_loads([(series, _without_place(error, series)) for series, error in failed])
    raise type(first)(reason, where=study.path, do=first.do)


def load_input(series: Series, spec: Preprocessing) -> LoadedInput:
    """Read, preprocess and check one series.

    Raises:
        UnreadableScanError: Broken files or pixels.
        RefusedScanError: By its verdict, or by its pixels: no Hounsfield units, not a chest.
    """
    _refuse(series)
    start = time.perf_counter()
    timed = _Timed(_needed(series, spec))
    opened_s = time.perf_counter() - start
    array = preprocess_slices(spec, series.slices, timed)
    warnings = _check(series, timed)
    total_s = time.perf_counter() - start
    read_s = opened_s + timed.read_s
    return LoadedInput(
        array,
        warnings,
        read_ms=read_s * 1e3,
        preprocess_ms=(total_s - read_s) * 1e3,
        decoded=len(timed.places),
        pixel_mm=_pixel_mm(series, spec),
    )


def read_volume(series: Series) -> Volume:
    """Decode every slice of a series into memory.

    Picture files have no Hounsfield units: grey 0…255 is mapped to the default window, at a
    spacing of 1 mm.

    Raises:
        UnreadableScanError: Broken files or pixels.
        RefusedScanError: The series is refused, or holds NaN or infinity.
    """
    _refuse(series)
    if series.format == "slices":
        slices = _grey_slices(series, Preprocessing(), range(series.slices))
        return Volume(np.stack([_hounsfield(item) for item in slices]), (1.0, 1.0, 1.0))
    if series.stack is None or series.spacing_mm is None:
        return read_image(series)
    scales = [rescale(header) for header in series.headers]
    whole = all(a == int(a) and b == int(b) for a, b in scales)
    dtype: Any = np.int16 if whole else np.float32
    info = np.iinfo(np.int16)
    hu = np.empty((series.slices, *series.matrix), dtype)
    for item in _dicom_slices(series, range(series.slices)):
        hu[item[0]] = np.clip(_hounsfield(item), info.min, info.max) if whole else _hounsfield(item)
    return Volume(hu, series.spacing_mm, series.stack.origin_mm, series.stack.direction)


def _pixel_mm(series: Series, spec: Preprocessing) -> float | None:
    """Return the larger of the file's pixels and the input's, along the coarser axis."""
    if series.spacing_mm is None:
        return None
    axes = zip(series.spacing_mm[1:], series.matrix, spec.size[1:], strict=True)
    return max(mm * max(1.0, pixels / size) for mm, pixels, size in axes)


def _refuse(series: Series) -> None:
    """Raise the verdict's reason where the series cannot be used."""
    if not series.verdict.usable:
        kind = RefusedScanError if series.verdict.readable else UnreadableScanError
        raise kind(series.verdict.reason, where=series.path)


def _needed(series: Series, spec: Preprocessing) -> Iterator[Needed]:
    """Return an iterator that decodes the needed slices."""
    if series.stack is None and series.format != "slices":
        volume = read_image(series)  # first: a broken header can claim any number of slices
        return ((i, volume.hu[i], 1.0, 0.0) for i in needed_slices(spec, series.slices).tolist())
    indices = needed_slices(spec, series.slices).tolist()
    if series.stack is None:
        return _grey_slices(series, spec, indices)
    return _dicom_slices(series, indices)


def _dicom_slices(series: Series, indices: Sequence[int]) -> Iterator[Needed]:
    assert series.stack is not None
    for index, stored in decode_slices(series.headers, indices):
        slope, intercept = rescale(series.headers[index])
        yield index, series.stack.turn(stored), slope, intercept


def _grey_slices(series: Series, spec: Preprocessing, indices: Sequence[int]) -> Iterator[Needed]:
    slope = spec.window_width_hu / 255
    low = spec.window_center_hu - spec.window_width_hu / 2
    return ((i, decode_grey(series.files[i]), slope, low) for i in indices)


def _hounsfield(item: Needed) -> npt.NDArray[np.float32]:
    _, stored, slope, intercept = item
    return np.float32(slope) * stored.astype(np.float32) + np.float32(intercept)


def _coarse_step(shape: tuple[int, ...]) -> int:
    return max(1, min(shape) // COARSE_PIXELS)


def _check(series: Series, timed: _Timed) -> tuple[str, ...]:
    """Return warnings; refuse what is not a chest in Hounsfield units."""
    order = np.argsort(timed.places)
    coarse = np.stack([timed.coarse[i] for i in order])
    names = [_slice_name(series, timed.places[i]) for i in order]
    wrong, warnings = judge_values(coarse, names, calibrated=series.format != "slices")
    wrong = wrong or interleaved(coarse, sorted(timed.places))
    if wrong is None:
        spacing = None
        if series.spacing_mm is not None:
            d_mm, h_mm, w_mm = series.spacing_mm
            step = _coarse_step(series.matrix)
            spacing = (d_mm * series.slices / len(coarse), h_mm * step, w_mm * step)
        wrong, more = judge_chest(coarse, spacing)
        if wrong is None:
            return (*warnings, *more)
    raise RefusedScanError(wrong, where=series.path)


def _slice_name(series: Series, index: int) -> str:
    """Return a slice's file name; in a volume file its number, counted from the feet."""
    one_file = len(series.files) == 1
    return f"slice {index + 1} of {series.slices}" if one_file else series.files[index].name


def judge_pixels(series: Series, spec: Preprocessing) -> Verdict:
    """Return the verdict that a prediction would come to: by headers and by pixels."""
    if not series.verdict.usable:
        return series.verdict
    try:
        loaded = load_input(series, spec)
    except ScanError as error:
        readable = not isinstance(error, UnreadableScanError)
        return Verdict(False, _without_place(error, series), series.verdict.warnings, readable)
    known = series.verdict
    return Verdict(True, known.reason, (*known.warnings, *loaded.warnings))


def _without_place(error: ScanError, series: Series) -> str:
    """Return what is wrong; name the place only if it is one file of the series."""
    if error.where is None or Path(error.where) == series.path:
        return error.what
    return f"{Path(error.where).name} {error.what}"
