"""Join the slices of one scan whose files each got UIDs of their own.

Some anonymizers write an attribute anew for each file. Then every slice is a series of its own, or
a study. Slices are joined where everything else agrees and their positions form one stack.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from darnet_trt.errors import Finding
from darnet_trt.scan.dicom.grouping.group import LEAST, Group, distinct, even, positions, together
from darnet_trt.scan.dicom.grouping.stack import DUPLICATE_MM
from darnet_trt.scan.dicom.header import Header

_ALIKE: Final = ("Rows", "Columns")
IDENTITY: Final = (
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "FrameOfReferenceUID",
    "SeriesNumber",
    "SeriesDescription",
    "StackID",
    "ConvolutionKernel",
    "AcquisitionDate",
)
"""What says to which series a slice belongs, and is written anew by mistake."""
NEARLY: Final[dict[str, tuple[str, float, float]]] = {
    "PixelSpacing": ("pixel spacing", 1e-3, 0.0),
    "ImageOrientationPatient": ("orientation", 0.0, 0.01),  # cosines: 0.6°
}
"""What is one value within a relative and an absolute tolerance, after its name: writers round."""


@dataclass(frozen=True)
class Scan:
    """Slices found to be one scan.

    Attributes:
        members: Indices into what was searched.
        anew: Keywords of the attributes that differ in each file.
    """

    members: tuple[int, ...]
    anew: tuple[str, ...]

    @property
    def note(self) -> Finding:
        """Return what was found, with the remedy."""
        names = f"{' and '.join(self.anew)} {'differ' if len(self.anew) > 1 else 'differs'}"
        text = (
            f"{names} in each of {len(self.members)} slices, which were joined by their positions "
            "(export the scan again with one value for all)"
        )
        return Finding("joined-by-position", text)


def nearly(headers: Iterable[Header], keyword: str) -> list[int]:
    """Return a number for each header, the same where an attribute differs by rounding alone."""
    _, relative, absolute = NEARLY[keyword]
    numbers: dict[tuple[float, ...], int] = {}
    found: list[tuple[float, ...]] = []
    for value in (header.get(keyword) for header in headers):
        if value not in numbers:
            alike = (
                i for i, one in enumerate(found) if np.allclose(value, one, relative, absolute)
            )
            numbers[value] = next(alike, len(found))
            if numbers[value] == len(found):
                found.append(value)
    return [numbers[header.get(keyword)] for header in headers]


def find_scans(slices: Sequence[Header], identity: Sequence[str], *, one_study: bool) -> list[Scan]:
    """Find which slices, each alone under its UIDs, make a scan.

    Args:
        slices: One header of each, all of them possible CT slices.
        identity: Attributes that may differ in each file of a scan.
        one_study: Whether other attributes tell that all belong to one patient and one study.
            Then they are joined even if they form no stack, so that one series is refused,
            instead of each slice.
    """
    alike: dict[Hashable, list[int]] = defaultdict(list)
    spacing, orientation = (nearly(slices, keyword) for keyword in NEARLY)
    for index, header in enumerate(slices):
        kind = (*map(header.get, _ALIKE), spacing[index], orientation[index])
        alike[kind].append(index)
    scans = []
    for members in alike.values():
        values = {name: {slices[i].get(name) for i in members} for name in identity}
        anew = tuple(name for name in identity if len(values[name]) > len(members) / 2)
        kept = [name for name in identity if name not in anew]
        parts = together(members, lambda i: tuple(map(slices[i].get, kept)))  # noqa: B023
        for part in parts if anew else ():
            frame = "FrameOfReferenceUID" in kept and slices[part[0]].get("FrameOfReferenceUID")
            scans += [
                Scan(tuple(own), anew) for own in _stacks(slices, part, one_study, bool(frame))
            ]
    return scans


def _stacks(
    slices: Sequence[Header], part: Sequence[int], one_study: bool, one_frame: bool
) -> list[list[int]]:
    """Return the stacks that slices form, by folder where that makes them whole.

    Without one study or one frame of reference, two patients could be behind the slices. Then the
    folders are looked at first.
    """
    folders = together(part, lambda i: slices[i].path.parent)
    by_folder = folders if all(_is_stack(slices, own) for own in folders) else []
    whole = [list(part)] if _is_stack(slices, part) else []
    found = whole or by_folder if one_study or one_frame else by_folder or whole
    if found or not one_study:
        return found
    places = distinct(positions([slices[i] for i in part]))
    return [list(part)] if len(places) >= LEAST else []


def _is_stack(slices: Sequence[Header], part: Sequence[int]) -> bool:
    return even(distinct(positions([slices[i] for i in part])))


def join_slices(groups: Sequence[Group]) -> list[Group]:
    """Join groups of one study that hold one slice each; keep all others."""
    lone = [group for group in groups if group.unfit is None and _at_one_place(group.headers)]
    scans = find_scans([group.headers[0] for group in lone], IDENTITY, one_study=True)
    joined = {id(lone[i]) for scan in scans for i in scan.members}
    return [group for group in groups if id(group) not in joined] + [
        Group(tuple(h for i in scan.members for h in lone[i].headers), None, (scan.note,))
        for scan in scans
    ]


def _at_one_place(headers: Sequence[Header]) -> bool:
    """Return whether slices lie at one position: one slice, and copies of it."""
    return bool(np.ptp(positions(headers)) <= DUPLICATE_MM)
