"""DICOM headers → series, each told apart, sorted and judged."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from darnet_trt.scan.geometry import stack_slices
from darnet_trt.scan.header import Header
from darnet_trt.scan.positions import DUPLICATE_MM, MIN_MATRIX, SPACING_TOLERANCE, judge_stack
from darnet_trt.scan.series import Series, Verdict

__all__ = ["dicom_series", "folder_of"]

SAME_COSINES: Final = 0.01
"""Direction cosines closer than this (0.6°) are one orientation, rounded differently."""
OVERLAP: Final = 0.8
"""Two reconstructions in one series cover the same range of the body at least by this share;
less means that one scan changes its slice thickness on the way."""
_NEEDED = (
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "RescaleSlope",
    "RescaleIntercept",
)
_APART: Final = {  # what tells reconstructions of one range apart, most telling first
    "SliceThickness": "slice thickness",
    "AcquisitionNumber": "acquisition number",
    "ImageType": "image type",
}
_CT = "1.2.840.10008.5.1.4.1.1.2"
_ENHANCED_CT = frozenset({"1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.5.1.4.1.1.2.2"})
_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_RADIOGRAPHS = frozenset({"CR", "DX", "DR", "RG", "PX", "MG", "XA", "RF"})
_REFORMATS = ("MPR", "MIP", "MINIP", "AVERAGE", "VRT", "3D", "PROJECTION", "REFORMAT", "SCREEN")


@dataclass(frozen=True)
class _Group:
    """Slices that belong to one series, and what was unusual about telling so."""

    headers: tuple[Header, ...]
    notes: tuple[str, ...] = ()


def folder_of(paths: Sequence[Path]) -> Path:
    """The deepest folder that holds all the files; the file itself where there is only one."""
    return paths[0] if len(paths) == 1 else Path(os.path.commonpath(paths))


def dicom_series(headers: Iterable[Header]) -> list[Series]:
    """Every series among some headers, in a fixed order, each with its verdict.

    Files belong together by SeriesInstanceUID, or by their folder where it is emptied; then by
    whatever else must be the same within one series.
    """
    declared: dict[Hashable, list[Header]] = defaultdict(list)
    for header in headers:
        uid = header.get("SeriesInstanceUID")
        study = header.get("StudyInstanceUID", "")
        declared[(study, uid) if uid else (study, str(header.path.parent))].append(header)
    series = [
        _judge(group)
        for members in declared.values()
        for apart in _tell_apart(members)
        for group in _split_repeated(_without_copies(apart))
    ]
    series.sort(key=lambda s: (s.number is None, s.number or 0, s.uid, str(s.files[0])))
    return series


def _unfit(header: Header) -> str | None:
    """Why an image cannot be a slice of an axial CT, whatever its neighbours; None: it can."""
    modality, sop = header.get("Modality", ""), header.get("SOPClassUID", "")
    image_type = tuple(str(part).upper() for part in _parts(header.get("ImageType")))
    if modality in _RADIOGRAPHS:
        return f"a radiograph (modality {modality}), not a CT"
    if modality and modality != "CT":
        return f"modality {modality}, not CT"
    if sop.startswith(_SECONDARY_CAPTURE):
        return "a secondary capture (screenshot or scanned film), not CT slices"
    if sop in _ENHANCED_CT or header.get("NumberOfFrames", 1) > 1:
        return "enhanced multi-frame CT is not supported; export it as classic single-frame CT"
    if not modality and sop != _CT:
        return "says neither by modality nor by SOP class that it is a CT"
    if "LOCALIZER" in image_type or "SCOUT" in image_type:
        return "a localizer (scout view), not axial slices"
    if image_type[1:2] == ("SECONDARY",):
        return "derived images (ImageType SECONDARY), not the original slices"
    if image_type[:1] == ("DERIVED",) and any(
        word in part for part in image_type for word in _REFORMATS
    ):
        return f"derived images ({'/'.join(image_type)}), not the original slices"
    photometric = header.get("PhotometricInterpretation", "")
    if header.get("SamplesPerPixel", 1) != 1 or not photometric.startswith("MONOCHROME"):
        return f"colour images ({photometric or 'no photometric interpretation'}), not grey CT"
    for keyword in _NEEDED:
        if header.get(keyword) is None:
            return f"no valid {keyword} in the header"
    allocated, stored = header.get("BitsAllocated"), header.get("BitsStored")
    if allocated not in (8, 16, 32) or not 1 <= stored <= allocated:
        return f"{stored} of {allocated} bits a pixel: no pixels of a CT"
    if min(header.get("Rows"), header.get("Columns")) < MIN_MATRIX:
        return f"slices of {header.get('Rows')}×{header.get('Columns')} pixels"
    if header.get("RescaleSlope") == 0:
        return "RescaleSlope is 0, so there are no Hounsfield units"
    if min(header.get("PixelSpacing")) <= 0:
        return "PixelSpacing is not positive"
    return None


def _parts(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else () if value is None else (value,)


_MUST_MATCH: Final[dict[str, Callable[[Header], Hashable]]] = {
    "fitness": _unfit,
    "series number": lambda h: h.get("SeriesNumber"),
    "frame of reference": lambda h: h.get("FrameOfReferenceUID"),
    "matrix size": lambda h: (h.get("Rows"), h.get("Columns")),
    "pixel spacing": lambda h: tuple(round(v, 4) for v in h.get("PixelSpacing", ())),
    "convolution kernel": lambda h: h.get("ConvolutionKernel"),
    "description": lambda h: h.get("SeriesDescription"),
}


def _tell_apart(headers: Sequence[Header]) -> list[_Group]:
    """Split what shares one series UID although it cannot be one series."""
    orientations: list[np.ndarray[Any, Any]] = []
    parts: dict[tuple[Hashable, ...], list[Header]] = defaultdict(list)
    for header in headers:
        values = tuple(of(header) for of in _MUST_MATCH.values())
        if values[0] is not None:  # unfit: why is all that matters
            parts[values[:2]].append(header)
            continue
        cosines = np.array(header.get("ImageOrientationPatient"))
        alike = (i for i, c in enumerate(orientations) if np.abs(cosines - c).max() < SAME_COSINES)
        number = next(alike, len(orientations))
        if number == len(orientations):
            orientations.append(cosines)
        parts[(*values, number)].append(header)
    fit = [key for key in parts if key[0] is None]
    notes: tuple[str, ...] = ()
    if len(fit) > 1:
        names = [*_MUST_MATCH, "orientation"]
        by = [name for i, name in enumerate(names) if len({key[i] for key in fit}) > 1]
        notes = (f"{len(fit)} series share one SeriesInstanceUID, told apart by {', '.join(by)}",)
    return [
        _Group(tuple(members), notes if key[0] is None else ()) for key, members in parts.items()
    ]


def _positions(headers: Sequence[Header]) -> np.ndarray[Any, Any]:
    """Places along the normal of the first header's plane, in the order given."""
    cosines = np.array(headers[0].get("ImageOrientationPatient"), float)
    normal = np.cross(cosines[:3], cosines[3:])
    origins = np.array([h.get("ImagePositionPatient") for h in headers], float)
    return np.asarray(origins @ normal)


def _without_copies(group: _Group) -> _Group:
    """Drop files that hold the same slice again."""
    if _unfit(group.headers[0]) is not None:
        return group
    places = _positions(group.headers)
    kept: list[int] = []
    for index in np.argsort(places, kind="stable").tolist():
        rivals = []
        for other in reversed(kept):
            if places[index] - places[other] > DUPLICATE_MM:
                break
            rivals.append(other)
        if not any(_same_image(group.headers[index], group.headers[r]) for r in rivals):
            kept.append(index)
    dropped = len(group.headers) - len(kept)
    if not dropped:
        return group
    headers = tuple(group.headers[i] for i in sorted(kept))
    note = f"{dropped} duplicate {'file was' if dropped == 1 else 'files were'} left out"
    return replace(group, headers=headers, notes=(*group.notes, note))


def _same_image(a: Header, b: Header) -> bool:
    if a.defect or b.defect or a.pixels is None or b.pixels is None:
        return False
    if any(a.get(keyword) != b.get(keyword) for keyword in _APART):
        return False
    if [length for _, length in a.pixels] != [length for _, length in b.pixels]:
        return False
    return _pixel_bytes(a) == _pixel_bytes(b)


def _pixel_bytes(header: Header) -> list[bytes]:
    with header.path.open("rb") as stream:
        return [
            stream.read(length) for offset, length in header.pixels or () if stream.seek(offset)
        ]


def _split_repeated(group: _Group) -> list[_Group]:
    """Two reconstructions or acquisitions of the same range, stored as one series."""
    if _unfit(group.headers[0]) is not None or len(group.headers) < 2:
        return [group]
    if _regular(group.headers):
        return [group]
    for keyword, name in _APART.items():
        parts: dict[Hashable, list[Header]] = defaultdict(list)
        for header in group.headers:
            parts[header.get(keyword)].append(header)
        if len(parts) > 1 and all(_regular(p) for p in parts.values()) and _overlap(parts.values()):
            note = f"{len(parts)} series share one SeriesInstanceUID, told apart by {name}"
            return [_Group(tuple(p), (*group.notes, note)) for p in parts.values()]
    return [group]


def _regular(headers: Sequence[Header]) -> bool:
    """Slices at one distance from each other."""
    steps = np.diff(np.sort(_positions(headers)))
    if len(steps) == 0:
        return False
    typical = np.median(steps)
    return bool(
        typical > DUPLICATE_MM and np.abs(steps - typical).max() <= SPACING_TOLERANCE * typical
    )


def _overlap(parts: Iterable[Sequence[Header]]) -> bool:
    ranges = [(p.min(), p.max()) for p in map(_positions, parts)]
    shared = min(high for _, high in ranges) - max(low for low, _ in ranges)
    return bool(shared >= OVERLAP * max(high - low for low, high in ranges))


def _judge(group: _Group) -> Series:
    """One series with its verdict."""
    first = group.headers[0]
    paths = [header.path for header in group.headers]
    kernel = _parts(first.get("ConvolutionKernel"))
    series = Series(
        path=folder_of(paths),
        format="dicom",
        files=tuple(sorted(paths)),
        uid=first.get("SeriesInstanceUID", ""),
        description=str(first.get("SeriesDescription", "")),
        kernel="\\".join(str(part) for part in kernel if part is not None),
        matrix=(first.get("Rows", 0), first.get("Columns", 0)),
        spacing_mm=None,
        verdict=Verdict(False, ""),
        number=first.get("SeriesNumber"),
        slice_count=len(paths),
        headers=group.headers,
    )
    unfit = _unfit(first)
    if unfit is not None:
        return replace(series, verdict=Verdict(False, unfit, group.notes))
    whole = [header for header in group.headers if not header.defect]
    broken = [header for header in group.headers if header.defect]
    notes = list(group.notes)
    if broken:
        names = ", ".join(f"{h.path.name} ({h.defect})" for h in broken[:3])
        more = f" and {len(broken) - 3} more" if len(broken) > 3 else ""
        notes.append(f"{len(broken)} of {len(paths)} files left out: {names}{more}")
    if not whole:
        return replace(series, verdict=Verdict(False, f"no whole slice: {notes[-1]}"))
    try:
        stack = stack_slices(
            [h.get("ImagePositionPatient") for h in whole],
            whole[0].get("ImageOrientationPatient"),
            whole[0].get("PixelSpacing"),
            series.matrix,
        )
    except ValueError as error:
        return replace(series, verdict=Verdict(False, str(error), tuple(notes)))
    ordered = tuple(whole[i] for i in stack.order)
    verdict, step = judge_stack(stack, ordered, notes)
    if broken and not verdict.usable:  # most likely the cause: a prediction reports this alone
        verdict = replace(verdict, reason=f"{verdict.reason}; {notes[-1]}")
    return replace(
        series,
        files=tuple(header.path for header in ordered),
        headers=ordered,
        slice_count=len(ordered),
        matrix=series.matrix[::-1] if stack.in_plane.transpose else series.matrix,
        spacing_mm=None if step is None else (step, *stack.pixel_mm),
        stack=stack,
        verdict=verdict,
    )
