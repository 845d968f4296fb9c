"""Make series of the pictures in a folder, and judge them.

Pictures carry neither positions nor, at 8 bits, Hounsfield units. So the reader assumes, and warns:
grey 0…255 spans the window of the network's preprocessing linearly (CC-CCII was windowed for the
lung before it was published; the window is not documented); rows go posterior and columns go left,
as on a screen. Values of 16 bits are read as Hounsfield units, plain or with an offset, where they
then show a body. Which end of the numbering is the head, the loader decides from the pixels.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np

from darnet_trt.errors import Finding, RefusedScanError, ScanError
from darnet_trt.scan.pictures.decoding import Grey, PictureHeader, read_header
from darnet_trt.scan.pictures.names import NamedScan, by_scan, is_mask_name, is_numbered
from darnet_trt.scan.plausibility.grid import too_few, too_small
from darnet_trt.scan.plausibility.hounsfield import judge_values
from darnet_trt.scan.series import Series, Verdict

OFFSETS_HU: Final = (0, -1024, -32768)
"""What is added to 16-bit values to make Hounsfield units: nothing, the usual RescaleIntercept of
stored values, or the middle of 16 bits. They lie too far apart for a body to fit two of them."""
WINDOW: Final = Finding(
    "assumed-window",
    "pictures of 8 bits hold no Hounsfield units: grey 0 to 255 was read as the network's window",
)
SIDES: Final = Finding(
    "assumed-left-right",
    "pictures do not say where left is: the patient's left was read as on the right",
)
_SAMPLED_PIXELS: Final = 128
"""Rows and columns on which a slice's values are judged."""


def slice_series(folder: Path, files: list[Path]) -> list[Series]:
    """Return the scans that the pictures of a folder make up, one for each prefix of their names.

    Each is judged by its names and headers; nothing is decoded.
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


def ordered_series(folder: Path, names: Sequence[str]) -> Series:
    """Return the scan that named pictures of a folder make up, in this order.

    It is judged as `slice_series` does, but for the numbers in the names.
    """
    return _series(folder, {folder / name: place for place, name in enumerate(names)}, [])


def _path(folder: Path, scan: NamedScan, *, alone: bool) -> Path:
    """Return the folder, or the picture in it that is alone; of several scans each its name."""
    if not alone:
        return folder / scan.name
    return folder if len(scan.numbers) > 1 else next(iter(scan.numbers))


def _series(path: Path, numbers: Mapping[Path, int | None], notes: list[Finding]) -> Series:
    files = list(numbers)[::-1]  # foot to head, if the numbering begins at the head as most do
    headers: dict[Path, PictureHeader] = {}
    broken: list[tuple[Path, ScanError]] = []
    for file in files:
        try:
            headers[file] = read_header(file)
        except ScanError as error:
            broken.append((file, error))
    deep = any(header.dtype != "uint8" for header in headers.values())
    verdict = _judge_headers(numbers, headers, broken)
    if verdict is None:
        assumed = (SIDES,) if deep else (WINDOW, SIDES)
        verdict = Verdict(True, Finding("usable", f"{len(files)} image slices"), assumed)
    verdict = replace(verdict, warnings=(*verdict.warnings, *notes))
    return Series(
        path=path,
        format="slices",
        files=tuple(files),
        description=path.name,
        slices=len(files),
        matrix=next((header.size for header in headers.values()), (0, 0)),
        verdict=verdict,
        oriented=False,
        calibrated=deep,
    )


def _judge_headers(
    numbers: Mapping[Path, int | None],
    headers: dict[Path, PictureHeader],
    broken: list[tuple[Path, ScanError]],
) -> Verdict | None:
    """Return why names and headers show no scan; None where they may."""
    if broken:
        unread = [found for found in broken if not isinstance(found[1], RefusedScanError)]
        path, error = (unread or broken)[0]
        text = f"{len(broken)} of {len(numbers)} pictures cannot be used: {path.name} {error.what}"
        text += f": {error.do}" if error.do else ""
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


def _judge_numbers(numbers: Mapping[Path, int | None]) -> Finding | None:
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
    text = (
        f"{missing} {what} from the numbering, {first}after {before}: "
        "add what is missing, or number the slices without gaps"
    )
    return Finding("missing-numbers", text)


def find_offset_hu(series: Series, planes: Sequence[Grey]) -> int:
    """Return what is added to values of 16 bits to make Hounsfield units.

    Args:
        series: Named where it is refused.
        planes: Some of its slices (h, w).

    Raises:
        RefusedScanError: They show a body with no usual offset, or lungs that were cut out.
    """
    step = max(1, min(series.matrix) // _SAMPLED_PIXELS)
    stored = np.stack([plane[::step, ::step] for plane in planes]).astype(np.float32)
    names = [f"sample {number}" for number in range(len(planes))]
    reason = Finding(
        "unknown-grey",
        f"values of 16 bits from {stored.min():.0f} to {stored.max():.0f}, which are not "
        "Hounsfield units with any usual offset: save Hounsfield units as int16 TIFF",
    )
    for offset in OFFSETS_HU:
        wrong = judge_values(stored + offset, names, calibrated=True)[0]
        if wrong is None:
            return offset
        if wrong.code == "segmented-lungs":
            reason = wrong
    raise RefusedScanError(reason, where=series.path)


def assumed_offset(offset_hu: int) -> Finding:
    """Return the warning that says how values of 16 bits were read."""
    added = f" after adding {offset_hu}" if offset_hu else ""
    return Finding("assumed-offset", f"values of 16 bits were read as Hounsfield units{added}")


def _listed(files: list[Path]) -> str:
    """Name the first file and count the others."""
    return files[0].name + (f" and {len(files) - 1} more" if len(files) > 1 else "")
