"""Turn a series into the network's input; decode only the slices that it needs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from darnet_trt.errors import Finding, RefusedScanError, ScanError, UnreadableScanError
from darnet_trt.scan.dicom.pixels import rescale
from darnet_trt.scan.loading.checks import (
    check_values,
    find_disorder,
    find_turned,
    refuse_interleaved,
    refuse_other_rows,
    small_share,
)
from darnet_trt.scan.loading.choice import View, by_lungs, none_loads, rank, skipped
from darnet_trt.scan.loading.passing import Passing
from darnet_trt.scan.loading.sampled import Sampled, describe, positions_mm
from darnet_trt.scan.loading.slice_hash import landmarks
from darnet_trt.scan.loading.slices import Slices, scaled
from darnet_trt.scan.preprocessing import (
    Preprocessing,
    Span,
    lung_span,
    needed_slices,
    preprocess_slices,
)
from darnet_trt.scan.series import Choice, Series, Study, Verdict
from darnet_trt.scan.volume import Volume
from darnet_trt.scan.volume_files.series import read_image


@dataclass(frozen=True, eq=False)
class LoadedInput:
    """The network's input for one series.

    Attributes:
        array: float32 (1, d, h, w), values 0…1.
        warnings: What only the pixels show; the verdict's warnings are not repeated.
        read_ms: Time to read and decode, other series of the study included.
        preprocess_ms: Time to find the lungs, window, resample and check.
        preprocess_cpu_ms: Processor time in it.
        decoded: Slices that were decoded in full.
        probed: Slices that were looked at on a coarse grid to find the lungs; 0 where the only
            series of a study is used whole.
        pixel_mm: In-plane size of the finest detail that the input can show; None where the
            spacing is not known.
        sampled: Which slices the input was made from, and what was left out.
        hashes: `slice_hash` of these slices and of `landmarks`, without empty ones; none unless
            the scan is to be identified.
    """

    array: npt.NDArray[np.float32]
    warnings: tuple[Finding, ...]
    read_ms: float
    preprocess_ms: float
    preprocess_cpu_ms: float
    decoded: int
    probed: int
    pixel_mm: float | None
    sampled: Sampled
    hashes: frozenset[int]


def load_study(
    study: Study, spec: Preprocessing, *, identify: bool = False
) -> tuple[Choice, LoadedInput]:
    """Choose a study's series and load its input; see `load_best`.

    Raises:
        UnreadableScanError: No series can be read.
        RefusedScanError: No series is usable.
    """
    return load_best(study, rank(study), spec, identify=identify)


def load_best(
    study: Study,
    ranked: Sequence[Choice],
    spec: Preprocessing,
    *,
    identify: bool = False,
    into: npt.NDArray[np.float32] | None = None,
) -> tuple[Choice, LoadedInput]:
    """Load the input of the series that shows the lungs best and whose pixels can be used.

    Args:
        study: Named in errors.
        ranked: From `rank(study)`: what the headers allow, best first.
        spec: What makes the input.
        identify: Whether to fill in `LoadedInput.hashes`.
        into: Where to put `LoadedInput.array`, (1, d, h, w); None: into an array of its own.

    Returns:
        The choice and its input; a warning of the input names each series that was skipped and
        the reason.

    Raises:
        UnreadableScanError: The best series has broken pixels, and no other one can be used.
        RefusedScanError: No series can be used; gives the best one's reason.
    """
    failed: list[tuple[Series, ScanError]] = []
    start = time.perf_counter()
    opened: dict[Series, Slices] = {}
    for choice in best_first(ranked, spec, opened, identify=identify):
        lost_ms = (time.perf_counter() - start) * 1e3
        try:
            slices = opened.get(choice.series) or Slices(choice.series, spec, identify=identify)
            loaded = _load(slices, into)
        except ScanError as error:
            failed.append((choice.series, error))
            continue
        warnings = (skipped(s, _finding(error, s)) for s, error in failed)
        return choice, replace(
            loaded, warnings=(*warnings, *loaded.warnings), read_ms=lost_ms + loaded.read_ms
        )
    first = failed[0][1]
    if len(failed) == 1:
        raise first
    reason = none_loads([(series, _finding(error, series)) for series, error in failed])
    raise type(first)(reason, where=study.path, do=first.do)


def best_first(
    ranked: Sequence[Choice],
    spec: Preprocessing,
    opened: dict[Series, Slices] | None = None,
    *,
    identify: bool = False,
) -> list[Choice]:
    """Return several series in the order in which they show the lungs.

    Args:
        ranked: From `rank(study)`; a single one is returned without a look at its pixels.
        spec: What makes the input.
        opened: Takes what was read of each series, so that it need not be read again.
        identify: As of `Slices`.
    """
    if len(ranked) == 1:
        return list(ranked)
    views: list[View | None] = []
    for choice in ranked:
        try:
            slices = Slices(choice.series, spec, identify=identify)
            views.append(View.of(slices.lungs, slices.grid_mm))
        except ScanError:  # it is raised again where the series is loaded
            views.append(None)
            continue
        if opened is not None:
            opened[choice.series] = slices
    return by_lungs(ranked, views)


def load_input(series: Series, spec: Preprocessing) -> LoadedInput:
    """Read, preprocess and check one series.

    Raises:
        UnreadableScanError: Broken files or pixels.
        RefusedScanError: By its verdict, or by its pixels: no Hounsfield units, not a chest.
    """
    _refuse(series)
    return _load(Slices(series, spec))


def _load(slices: Slices, into: npt.NDArray[np.float32] | None = None) -> LoadedInput:
    series, spec = slices.series, slices.spec
    start, read_s = time.perf_counter(), slices.read_s
    start_cpu, read_cpu_s = time.thread_time(), slices.read_cpu_s
    lungs = slices.lungs if spec.extent == "lungs" else None
    span = lung_span(spec, series.slices, lungs, series.spacing_mm and series.spacing_mm[0])
    indices = needed_slices(spec, series.slices, span).tolist()
    needed = Passing(slices.stored(indices))
    array = preprocess_slices(spec, series.slices, span, series.matrix, needed, into)
    grid = np.stack([needed.grids[i] for i in indices])
    refuse_other_rows(series, indices[len(indices) // 2])
    warnings = check_values(slices, indices, span, grid) + slices.assumed
    refuse_interleaved(slices, span, indices, grid)
    turn, more = find_turned(slices, span, grid)
    if turn != slices.turn:
        again = _load(Slices(series, spec, turn, slices.volume, identify=slices.identify), into)
        return replace(again, read_ms=again.read_ms + (time.perf_counter() - start) * 1e3)
    warnings += (*more, *find_disorder(series, indices, grid))
    shown = None if lungs is None else (lungs.bottom, lungs.top)
    if spec.extent == "scan":
        shown, more = small_share(indices, grid)
        warnings += more
    elif lungs is None:
        warnings += (
            Finding("lungs-not-found", "the lungs were not found: the whole scan was used"),
        )
    hashes = _hashes(slices, indices, span) if slices.identify else frozenset()
    total_s = time.perf_counter() - start
    read_s = slices.read_s - read_s
    cpu_s = time.thread_time() - start_cpu - (slices.read_cpu_s - read_cpu_s)
    return LoadedInput(
        array,
        warnings,
        read_ms=read_s * 1e3,
        preprocess_ms=(total_s - read_s) * 1e3,
        preprocess_cpu_ms=cpu_s * 1e3,
        decoded=slices.decoded,
        probed=slices.probed,
        pixel_mm=_pixel_mm(series, spec),
        sampled=describe(series, indices, span, shown, slices.origin_mm),
        hashes=hashes,
    )


def _hashes(slices: Slices, indices: Sequence[int], span: Span) -> frozenset[int]:
    """Return the hashes of the slices that the input was made from, and of the landmarks."""
    marks = landmarks(positions_mm(slices.series, range(*span), slices.origin_mm), span[0])
    known = slices.hashes
    for _ in slices.stored(sorted({*marks, *indices} - known.keys())):
        pass  # they are hashed as they are read
    hashes = (known[index] for index in {*marks, *indices})
    return frozenset(one for one in hashes if one is not None)


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
        slices = Slices(series, Preprocessing()).stored(range(series.slices))
        return Volume(np.stack([scaled(*item[1:]) for item in slices]), (1.0, 1.0, 1.0))
    if series.stack is None or series.spacing_mm is None:
        return read_image(series)
    scales = [rescale(header) for header in series.headers]
    whole = all(a == int(a) and b == int(b) for a, b in scales)
    dtype: Any = np.int16 if whole else np.float32
    info = np.iinfo(np.int16)
    hu = np.empty((series.slices, *series.matrix), dtype)
    for index, stored, *scale in Slices(series, Preprocessing()).stored(range(series.slices)):
        found = scaled(stored, *scale)
        hu[index] = np.clip(found, info.min, info.max) if whole else found
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


def judge_pixels(series: Series, spec: Preprocessing) -> Verdict:
    """Return the verdict that a prediction would come to: by headers and by pixels."""
    if not series.verdict.usable:
        return series.verdict
    try:
        loaded = load_input(series, spec)
    except ScanError as error:
        readable = not isinstance(error, UnreadableScanError)
        return Verdict(False, _finding(error, series), series.verdict.warnings, readable)
    known, left_out = series.verdict, loaded.sampled.left_out_mm
    reason = (
        f"{known.reason}, of which {left_out:.0f} mm are left out" if left_out else known.reason
    )
    return Verdict(True, Finding("usable", reason), (*known.warnings, *loaded.warnings))


def _finding(error: ScanError, series: Series) -> Finding:
    """Return what is wrong; name the place only if it is one file of the series."""
    if error.where is None or Path(error.where) == series.path:
        return error.what
    return Finding(error.code, f"{Path(error.where).name} {error.what}")
