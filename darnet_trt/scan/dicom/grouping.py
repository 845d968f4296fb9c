"""Sort slices into series, by what must be the same in one series, not by UIDs alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from darnet_trt.scan.dicom.fitness import unfit
from darnet_trt.scan.dicom.geometry import Vector
from darnet_trt.scan.dicom.header import Header
from darnet_trt.scan.dicom.stack import DUPLICATE_MM, RESCALE, SPACING_TOLERANCE

SAME_COSINES: Final = 0.01
"""Direction cosines closer than this (0.6°) are one orientation, rounded differently."""
OVERLAP: Final = 0.8
"""Two reconstructions in one series share at least this part of their range along the body; with
less in common it is one scan that changes its slice thickness on the way."""
_APART: Final = {  # what separates reconstructions of one range, the clearest sign first
    "SliceThickness": "slice thickness",
    "AcquisitionNumber": "acquisition number",
    "ImageType": "image type",
    "TemporalPositionIndex": "temporal position",
}
_MUST_MATCH: Final[dict[str, Callable[[Header], Hashable]]] = {
    "fitness": unfit,
    "series number": lambda h: h.get("SeriesNumber"),
    "frame of reference": lambda h: h.get("FrameOfReferenceUID"),
    "matrix size": lambda h: (h.get("Rows"), h.get("Columns")),
    "pixel spacing": lambda h: tuple(round(v, 4) for v in h.get("PixelSpacing", ())),
    "convolution kernel": lambda h: h.get("ConvolutionKernel"),
    "stack": lambda h: h.get("StackID"),
    "description": lambda h: h.get("SeriesDescription"),
}


@dataclass(frozen=True)
class Group:
    """Slices that belong to one series.

    Attributes:
        headers: Theirs, in no order.
        unfit: Why they cannot be slices of an axial CT; None where they may be.
        notes: What was unusual about finding them; becomes warnings.
    """

    headers: tuple[Header, ...]
    unfit: str | None
    notes: tuple[str, ...] = ()


def group_slices(headers: Iterable[Header]) -> list[Group]:
    """Find every series among some headers.

    A series shares its SeriesInstanceUID, or its folder where that is emptied, and whatever else
    must be the same within one series.
    """
    declared: dict[Hashable, list[Header]] = defaultdict(list)
    for header in headers:
        uid = header.get("SeriesInstanceUID")
        study = header.get("StudyInstanceUID", "")
        declared[(study, uid) if uid else (study, str(header.path.parent))].append(header)
    groups = []
    for members in declared.values():
        for group in _tell_apart(members):
            groups += [group] if group.unfit else _split_repeated(_without_copies(group))
    return groups


def _tell_apart(headers: Sequence[Header]) -> list[Group]:
    """Split what shares one series UID although it cannot be one series."""
    orientations: list[Vector] = []
    parts: dict[tuple[Hashable, ...], list[Header]] = defaultdict(list)
    for header in headers:
        values = tuple(of(header) for of in _MUST_MATCH.values())
        if values[0] is not None:  # unfit: only the reason matters
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
        notes = (_shared_uid(len(fit), ", ".join(by)),)
    return [
        Group(tuple(members), unfit(members[0]), notes if key[0] is None else ())
        for key, members in parts.items()
    ]


def _shared_uid(count: int, names: str) -> str:
    return f"{count} series share one SeriesInstanceUID and were separated by {names}"


def _positions(headers: Sequence[Header]) -> Vector:
    """Return places along the normal of the first header's plane, in the order given."""
    cosines = np.array(headers[0].get("ImageOrientationPatient"), float)
    normal = np.cross(cosines[:3], cosines[3:])
    origins = np.array([h.get("ImagePositionPatient") for h in headers], float)
    return np.asarray(origins @ normal)


def _without_copies(group: Group) -> Group:
    """Drop files that hold the same slice again."""
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
    what = "duplicate file was left out" if dropped == 1 else "duplicate files were left out"
    return replace(group, headers=headers, notes=(*group.notes, f"{dropped} {what}"))


def _same_image(a: Header, b: Header) -> bool:
    if a.defect or b.defect or a.pixels is None or b.pixels is None:
        return False
    if any(a.get(keyword) != b.get(keyword) for keyword in (*_APART, *RESCALE)):
        return False
    if [length for _, length in a.pixels] != [length for _, length in b.pixels]:
        return False
    return a.read_pixels() == b.read_pixels()


def _split_repeated(group: Group) -> list[Group]:
    """Split two reconstructions or acquisitions of the same range, stored as one series."""
    if _regular(group.headers):
        return [group]
    for keyword, name in _APART.items():
        parts: dict[Hashable, list[Header]] = defaultdict(list)
        for header in group.headers:
            parts[header.get(keyword)].append(header)
        if len(parts) > 1 and all(_regular(p) for p in parts.values()) and _overlap(parts.values()):
            notes = (*group.notes, _shared_uid(len(parts), name))
            return [Group(tuple(p), None, notes) for p in parts.values()]
    return [group]


def _regular(headers: Sequence[Header]) -> bool:
    """Return whether the slices lie at one distance from each other."""
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
