"""Make series of the pictures in a folder, and judge them.

Pictures carry neither positions nor, at 8 bits, Hounsfield units. So the reader assumes, and warns:
grey 0…255 spans the window of the network's preprocessing linearly (CC-CCII was windowed for the
lung before it was published; the window is not documented); rows go posterior and columns go left,
as on a screen. Values of 16 bits are read as Hounsfield units, plain or with an offset, where they
then show a body. Which end of the numbering is the head, the loader decides from the pixels.
"""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np

from darnet_trt.errors import Finding, RefusedScanError, ScanError
from darnet_trt.scan.pictures.decoding import Grey, PictureHeader, decode_grey, read_header
from darnet_trt.scan.pictures.names import NamedScan, by_scan, is_mask_name, is_numbered
from darnet_trt.scan.plausibility.grid import too_few, too_small
from darnet_trt.scan.plausibility.hounsfield import judge_values
from darnet_trt.scan.series import Series, Verdict

OFFSETS_HU: Final = (0, -1024, -32768)
"""What is added to 16-bit values to make Hounsfield units: nothing, the usual RescaleIntercept of
stored values, or the middle of 16 bits. They lie too far apart for a body to fit two of them."""
_SAMPLED_PIXELS: Final = 128
"""Rows and columns on which a slice's values are judged."""


def slice_series(folder: Path, files: list[Path]) -> list[Series]:
    """Return the scans that the pictures of a folder make up, one for each prefix of their names.

    Each is judged by its names, its headers and three decoded slices.
    """
    masks = [file for file in files if is_mask_name(file)]
    kept = [file for file in files if not is_mask_name(file)] or files
    numbered = [file for file in kept if is_numbered(file)]
    others = [file for file in kept if not is_numbered(file)] if numbered else []
    scans = by_scan(numbered) or [NamedScan("", "", dict.fromkeys(kept))]
    notes = []
    if len(kept) < len(files):
        notes.append(Finding("masks-left-out", f"masks were left out: {_listed(masks)}"))
    if others:
        text = f"pictures without a number in their names were left out: {_listed(others)}"
        notes.append(Finding("pictures-left-out", text))
    return [
        _series(_path(folder, scan, alone=len(scans) == 1), scan.numbers, notes) for scan in scans
    ]


def _path(folder: Path, scan: NamedScan, *, alone: bool) -> Path:
    """Return the folder, or the picture in it that is alone; of several scans each its name."""
    if not alone:
        return folder / scan.name
    return folder if len(scan.numbers) > 1 else next(iter(scan.numbers))


def _series(path: Path, numbers: dict[Path, int | None], notes: list[Finding]) -> Series:
    files = list(numbers)[::-1]  # foot to head, if the numbering begins at the head as most do
    headers: dict[Path, PictureHeader] = {}
    broken: list[tuple[Path, ScanError]] = []
    for file in files:
        try:
            headers[file] = read_header(file)
        except ScanError as error:
            broken.append((file, error))
    offset_hu = None
    verdict = _judge_headers(numbers, headers, broken)
    if verdict is None:
        verdict, offset_hu = _judge_samples(files)
    verdict = Verdict(verdict.usable, verdict.reason, (*verdict.warnings, *notes), verdict.readable)
    return Series(
        path=path,
        format="slices",
        files=tuple(files),
        description=path.name,
        slices=len(files),
        matrix=next((header.size for header in headers.values()), (0, 0)),
        verdict=verdict,
        oriented=False,
        offset_hu=offset_hu,
    )


def _judge_headers(
    numbers: dict[Path, int | None],
    headers: dict[Path, PictureHeader],
    broken: list[tuple[Path, ScanError]],
) -> Verdict | None:
    """Return why names and headers show no scan; None where they may."""
    if broken:
        unread = [found for found in broken if not isinstance(found[1], RefusedScanError)]
        path, error = (unread or broken)[0]
        text = f"{len(broken)} of {len(numbers)} pictures cannot be used: {path.name} {error.what}"
        return Verdict(False, Finding(error.code, text), readable=not unread)
    refusal = too_few(len(numbers)) or _judge_numbers(numbers)
    if refusal is None:
        kinds = Counter(headers.values())
        if len(kinds) > 1:
            listed = ", ".join(f"{n} of {h}×{w} {dtype}" for ((h, w), dtype), n in kinds.items())
            text = f"pictures of different sizes or types ({listed})"
            refusal = Finding("different-pictures", text)
        else:
            refusal = too_small(*next(iter(kinds)).size)
    return None if refusal is None else Verdict(False, refusal)


def _judge_numbers(numbers: dict[Path, int | None]) -> Finding | None:
    """Return why the slices' numbers give no order, or not a whole scan."""
    known = [number for number in numbers.values() if number is not None]
    if len(known) < len(numbers):
        text = f"the names give no order, such as {_listed(list(numbers))}: number the slices"
        return Finding("no-slice-numbers", text)
    for (one, number), (other, following) in pairwise(zip(numbers, known, strict=True)):
        if number == following:
            text = f"two pictures have the number {number}: {one.name} and {other.name}"
            return Finding("repeated-number", text)
    missing = known[-1] - known[0] + 1 - len(known)
    if not missing:
        return None
    before = next(low for low, high in pairwise(known) if high - low > 1)
    what = "slice is missing" if missing == 1 else "slices are missing"
    first = "" if missing == 1 else "the first "
    text = f"{missing} {what} from the numbering, {first}after {before}"
    return Finding("missing-numbers", text)


def _judge_samples(files: list[Path]) -> tuple[Verdict, int | None]:
    """Return the verdict by three slices, and what makes Hounsfield units of their values."""
    samples = [files[len(files) * quarter // 4] for quarter in (2, 1, 3)]
    planes = []
    for path in samples:
        try:
            planes.append(decode_grey(path))
        except ScanError as error:
            found = Finding(error.code, f"{path.name} {error.what}")
            return Verdict(False, found, readable=isinstance(error, RefusedScanError)), None
    usable = Finding("usable", f"{len(files)} image slices")
    sides = Finding(
        "assumed-left-right",
        "pictures do not say where left is: the patient's left was read as on the right",
    )
    if planes[0].dtype == np.uint8:
        window = Finding(
            "assumed-window",
            "pictures of 8 bits hold no Hounsfield units: grey 0 to 255 was read as the network's "
            "window",
        )
        return Verdict(True, usable, (window, sides)), None
    offset_hu = _offset_hu(planes, [path.name for path in samples])
    if offset_hu is None:
        unknown = Finding(
            "unknown-grey",
            f"values of 16 bits from {min(p.min() for p in planes)} to "
            f"{max(p.max() for p in planes)}, which are not Hounsfield units with any usual offset",
        )
        return Verdict(False, unknown), None
    added = f" after adding {offset_hu}" if offset_hu else ""
    offset = Finding("assumed-offset", f"values of 16 bits were read as Hounsfield units{added}")
    return Verdict(True, usable, (offset, sides)), offset_hu


def _offset_hu(planes: list[Grey], names: list[str]) -> int | None:
    """Return the offset with which slices show a body, or None."""
    step = max(1, min(planes[0].shape) // _SAMPLED_PIXELS)
    stored = np.stack([plane[::step, ::step] for plane in planes]).astype(np.float32)
    for offset in OFFSETS_HU:
        if judge_values(stored + offset, names, calibrated=True)[0] is None:
            return offset
    return None


def grey_scale(series: Series, center_hu: float, width_hu: float) -> tuple[float, float]:
    """Return the slope and the intercept that make Hounsfield units of a series' grey values.

    Args:
        series: From `slice_series`.
        center_hu: Centre of the window that grey 0…255 is read as.
        width_hu: Width of that window.
    """
    if series.offset_hu is not None:
        return 1.0, float(series.offset_hu)
    return width_hu / 255, center_hu - width_hu / 2


def _listed(files: list[Path]) -> str:
    """Name the first file and count the others."""
    return files[0].name + (f" and {len(files) - 1} more" if len(files) > 1 else "")
