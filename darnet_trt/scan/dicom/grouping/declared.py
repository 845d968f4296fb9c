"""Find every series among some headers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import replace
from typing import Final

from darnet_trt.errors import Finding
from darnet_trt.scan.dicom.fitness import unfit
from darnet_trt.scan.dicom.grouping.copies import without_copies
from darnet_trt.scan.dicom.grouping.group import Group
from darnet_trt.scan.dicom.grouping.joining import NEARLY, join_slices, nearly
from darnet_trt.scan.dicom.grouping.passes import separated, split_passes
from darnet_trt.scan.dicom.header import Header

_MUST_MATCH: Final[dict[str, Callable[[Header], Hashable]]] = {
    "series number": lambda h: h.get("SeriesNumber"),
    "frame of reference": lambda h: h.get("FrameOfReferenceUID"),
    "matrix size": lambda h: (h.get("Rows"), h.get("Columns")),
    "convolution kernel": lambda h: h.get("ConvolutionKernel"),
    "stack": lambda h: h.get("StackID"),
    "description": lambda h: h.get("SeriesDescription"),
}


def group_slices(headers: Iterable[Header]) -> list[Group]:
    """Find every series among the headers of one study.

    A series shares its SeriesInstanceUID, or its folder where that is emptied, and whatever else
    must be the same within one series. Where one of these differs in each file, slices are joined
    by their positions. Files of one ConcatenationUID are parts of one image, whatever their UIDs.
    """
    declared: dict[Hashable, list[Header]] = defaultdict(list)
    concatenations: dict[Hashable, Hashable] = {}
    for header in headers:
        own, image = _declared(header), header.get("ConcatenationUID")
        declared[concatenations.setdefault(image, own) if image else own].append(header)
    groups = [group for members in declared.values() for group in _tell_apart(members)]
    series: list[Group] = []
    for group in _noted(join_slices(groups)):
        series += [group] if group.unfit else split_passes(without_copies(group))
    return series


def _declared(header: Header) -> Hashable:
    """Return what the file says about the series that it belongs to."""
    uid, study = header.get("SeriesInstanceUID"), header.get("StudyInstanceUID", "")
    return (study, uid) if uid else (study, str(header.path.parent))


def _tell_apart(headers: Sequence[Header]) -> list[Group]:
    """Split what shares one series UID although it cannot be one series."""
    unfit_parts: dict[Hashable, list[Header]] = defaultdict(list)
    fit: list[Header] = []
    for header in headers:
        reason = unfit(header)
        if reason is None:
            fit.append(header)
        else:  # only the reason matters
            unfit_parts[reason, header.get("SeriesNumber")].append(header)
    parts: dict[Hashable, list[Header]] = defaultdict(list)
    near = zip(*(nearly(fit, keyword) for keyword in NEARLY), strict=True)
    for header, numbers in zip(fit, near, strict=True):
        parts[(*(of(header) for of in _MUST_MATCH.values()), *numbers)].append(header)
    return [Group(tuple(p), None) for p in parts.values()] + [
        Group(tuple(p), unfit(p[0])) for p in unfit_parts.values()
    ]


def _noted(groups: Sequence[Group]) -> list[Group]:
    """Note on groups what else has their series UID."""
    sharing: dict[Hashable, list[Group]] = defaultdict(list)
    for group in groups:
        sharing[_declared(group.headers[0])].append(group)
    noted = []
    for group in groups:
        others = sharing[_declared(group.headers[0])]
        firsts = [other.headers[0] for other in others if other.unfit is None]
        notes = [separated(len(firsts), _differing(firsts))] if len(firsts) > 1 else []
        notes += [_left_out(other) for other in others if other.unfit is not None]
        noted.append(group if group.unfit else replace(group, notes=(*group.notes, *notes)))
    return noted


def _left_out(group: Group) -> Finding:
    count = len(group.headers)
    what = "image of this series was left out" if count == 1 else "images of it were left out"
    return Finding("left-out", f"{count} {what}: {group.unfit}")


def _differing(headers: Sequence[Header]) -> str:
    names = [name for name, of in _MUST_MATCH.items() if len(set(map(of, headers))) > 1]
    names += [name for key, (name, *_) in NEARLY.items() if len(set(nearly(headers, key))) > 1]
    return ", ".join(names)
