"""Separate acquisitions and reconstructions of one range that are stored as one series.

Two passes at half the spacing look like one series of thin slices, and two phases lie at the same
positions. Both show in an attribute, or in the order in which the slices were made: one that runs
along the body, jumps back and runs along it again is that of two passes.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from itertools import combinations
from typing import Any, Final

import numpy as np

from darnet_trt.errors import Finding
from darnet_trt.scan.dicom.geometry import Vector
from darnet_trt.scan.dicom.grouping.group import (
    LEAST,
    Group,
    even,
    positions,
    regular,
    shared,
    together,
)
from darnet_trt.scan.dicom.grouping.stack import DUPLICATE_MM, SPACING_TOLERANCE
from darnet_trt.scan.dicom.header import Header
from darnet_trt.scan.plausibility.grid import MIN_SLICES

OVERLAP: Final = 0.3
"""Two passes share at least this part of the shorter one's range; with less in common it is one
scan that changes its slice thickness, or its acquisition, on the way."""
WHOLE_OVERLAP: Final = 0.8
"""The same where all slices together are evenly spaced: then passes of different ranges would
leave uneven steps at their ends."""
MOST_PASSES: Final = 40
"""Perfusion scans repeat a range some thirty times."""

MOST_UNTOLD: Final = 4
"""Passes to look for where only the places tell."""


def _attribute(keyword: str) -> Callable[[Header], Any]:
    return lambda header: header.get(keyword)


def _acquired(header: Header) -> str | None:
    moment = header.get("AcquisitionDateTime") or header.get("AcquisitionTime")
    return moment and f"{header.get('AcquisitionDate', '')} {moment}"


def _temporal_position(header: Header) -> Any:
    return header.get("TemporalPositionIdentifier", header.get("TemporalPositionIndex"))


def _instance(header: Header) -> int | None:
    try:
        return int(header.get("InstanceNumber"))
    except (TypeError, ValueError):
        return None


def _logical_image(header: Header) -> Hashable:
    """Return the file of a frame, or what its files are a concatenation of (PS3.3 C.7.6.16.2.2)."""
    return header.get("ConcatenationUID", header.path) if header.frame else None


def _in_plane(header: Header) -> Hashable:
    """Return where the first pixel lies in the plane, in whole mm."""
    cosines = np.array(header.get("ImageOrientationPatient"), float).reshape(2, 3)
    return tuple(np.rint(cosines @ header.get("ImagePositionPatient")).tolist())


_KINDS: Final[dict[str, Callable[[Header], Hashable]]] = {  # the clearest sign first
    "slice thickness": _attribute("SliceThickness"),
    "acquisition number": _attribute("AcquisitionNumber"),
    "irradiation event": _attribute("IrradiationEventUID"),
    "tube voltage": _attribute("KVP"),
    "temporal position": _temporal_position,
    "cardiac phase": _attribute("NominalPercentageOfCardiacPhase"),
    "trigger time": _attribute("TriggerTime"),
    "image type": _attribute("ImageType"),
    "contrast agent": _attribute("ContrastBolusAgent"),
    "acquisition time": _acquired,
    "content time": _attribute("ContentTime"),
    "lossy compression": _attribute("LossyImageCompression"),
    "transfer syntax": lambda header: header.transfer_syntax,
    "place in the plane": _in_plane,
    "file": _logical_image,
}
_ORDERS: Final[dict[str, Callable[[Header], Any]]] = {
    "acquisition time": _acquired,
    "content time": _attribute("ContentTime"),
    "instance number": _instance,
}


def split_passes(group: Group) -> list[Group]:
    """Split a group into its passes; return it alone where there is only one, or no sign of more.

    The signs must give parts that are each evenly spaced and that run through each other. So an
    attribute that changes with every slice or from one stretch to the next tears nothing apart.
    """
    places = positions(group.headers)
    whole = regular(places)
    for name, parts in _partitions(group.headers, places):
        if _are_passes([places[part] for part in parts], whole):
            note = separated(len(parts), name)
            return [
                Group(tuple(group.headers[i] for i in part), None, (*group.notes, note))
                for part in parts
            ]
    return [group]


def separated(count: int, names: str) -> Finding:
    """Return the note on series that share a SeriesInstanceUID."""
    text = f"{count} series share one SeriesInstanceUID and were separated by {names}"
    return Finding("shared-series-uid", text)


def _partitions(headers: Sequence[Header], places: Vector) -> Iterator[tuple[str, list[list[int]]]]:
    """Yield an attribute's name and the indices of the slices of each part."""
    values = {name: [of(header) for header in headers] for name, of in _KINDS.items()}
    values = {name: own for name, own in values.items() if 1 < len(set(own)) <= MOST_PASSES}
    for name, own in values.items():
        yield name, _of_one_value(own)
    for name, of in _ORDERS.items():
        if runs := _runs([of(header) for header in headers], places):
            yield name, runs
    if repeated := _repeated([_instance(header) for header in headers], places):
        yield "instance number", repeated
    if alternating := _alternating(places):
        yield "position", alternating
    for pair in combinations(values, 2):  # such as two phases at two tube voltages
        yield " and ".join(pair), _of_one_value(list(zip(*(values[n] for n in pair), strict=True)))


def _of_one_value(values: Sequence[Hashable]) -> list[list[int]]:
    """Return the indices of equal values together."""
    return together(range(len(values)), values.__getitem__)


def _runs(values: Sequence[Any], places: Vector) -> list[list[int]]:
    """Return the slices of each run along the body, where `values` say in which order they came."""
    if None in values or len(set(values)) < 2:
        return []
    moments = _of_one_value(values)  # the slices of one rotation can have one time
    moments.sort(key=lambda part: values[part[0]])
    means = [float(places[part].mean()) for part in moments]
    runs: list[list[list[int]]] = [[moments[0]]]
    steps: list[float] = []  # of the last run
    for part, step in zip(moments[1:], np.diff(means).tolist(), strict=True):
        if steps and (steps[0] or steps[-1]) * step < 0:
            runs.append([])
            if len(steps) > 1 and abs(steps[-1] - steps[-2]) > SPACING_TOLERANCE * abs(steps[-2]):
                runs[-1].append(runs[-2].pop())  # the turn: its slice is the first of the way back
                steps = [step]
            else:
                steps = []
        else:
            steps.append(step)
        runs[-1].append(part)
    return [[index for part in run for index in part] for run in runs]


def _repeated(numbers: Sequence[int | None], places: Vector) -> list[list[int]]:
    """Return the lower and the upper slice of each number, where every number occurs twice.

    The same for three and more. A series has each InstanceNumber once; two that run the same way
    put the slice of the one always on the same side of that of the other.
    """
    numbered = _of_one_value(numbers)
    times = {len(part) for part in numbered}
    if None in numbers or len(times) > 1 or times == {1}:
        return []
    ordered = [sorted(part, key=lambda index: places[index]) for part in numbered]
    if min(np.diff(places[part]).min() for part in ordered) <= DUPLICATE_MM:
        return []  # which of two at one place belongs to which pass?
    return [list(part) for part in zip(*ordered, strict=True)]


def _alternating(places: Vector) -> list[list[int]]:
    """Return passes that are shifted by another part of their step than a half, third or fourth.

    The steps of all slices then alternate, and each slice belongs to one pass by its place alone.
    """
    order = np.argsort(places, kind="stable")
    steps = np.diff(places[order])
    if len(steps) < 2 or steps.min() <= DUPLICATE_MM or regular(places):
        return []
    for count in range(2, MOST_UNTOLD + 1):
        parts = [order[start::count].tolist() for start in range(count)]
        if all(regular(places[part]) for part in parts):
            return parts
    return []


def _are_passes(parts: Sequence[Vector], whole: bool) -> bool:
    """Return whether parts of a series are passes through one range.

    Args:
        parts: Places of the slices of each part.
        whole: Whether all of them together are evenly spaced.
    """
    if not 2 <= len(parts) <= MOST_PASSES or max(map(len, parts)) < MIN_SLICES:
        return False
    if whole:
        if min(map(len, parts)) < LEAST:
            return False
        longest = max(np.ptp(part) for part in parts)
        common = min(part.max() for part in parts) - max(part.min() for part in parts)
        return all(map(regular, parts)) and bool(common >= WHOLE_OVERLAP * longest)
    return all(map(even, parts)) and all(
        any(shared(a, b) >= OVERLAP for b in parts if b is not a) for a in parts
    )
