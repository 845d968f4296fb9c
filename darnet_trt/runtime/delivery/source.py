"""What the objects of a result take over from its study, small enough to travel with the result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from darnet_trt.errors import Finding
from darnet_trt.runtime.delivery.attributes import is_uid, taken_over
from darnet_trt.runtime.delivery.grid import Grid, Point, grid_of
from darnet_trt.runtime.prediction.results.result import NO_OBJECTS
from darnet_trt.scan.dicom.header import Header
from darnet_trt.scan.preprocessing import Preprocessing, Span
from darnet_trt.scan.series import Series


@dataclass(frozen=True)
class Instance:
    """A DICOM file that was read; an enhanced (multi-frame) one counts once.

    Attributes:
        sop_class: SOPClassUID (0008,0016).
        sop_uid: SOPInstanceUID (0008,0018).
        series_uid: SeriesInstanceUID (0020,000E).
    """

    sop_class: str
    sop_uid: str
    series_uid: str


@dataclass(frozen=True)
class Slice:
    """Where a slice comes from.

    Attributes:
        instance: Its file, a number of `Source.instances`.
        frame: Number of its frame, from 1; None for a classic image.
        position_mm: ImagePositionPatient (0020,0032); None where the file gives none.
    """

    instance: int
    frame: int | None
    position_mm: Point | None


@dataclass(frozen=True)
class Source:
    """The identity of a study, and the files and the geometry of its chosen series.

    Attributes:
        header: A DICOM data set (Explicit VR Little Endian, UTF-8) of what the objects take over.
        instances: The files of the series, in the order of their lowest slices.
        slices: The slices of the series, foot to head.
        grid: Of the network's input; None where there is none, or the files do not say where it
            lies in a frame of reference.
        span: First slice that the input covers, and the one after the last.
        mended: Keywords of the attributes that were missing or invalid, and were mended.
    """

    header: bytes
    instances: tuple[Instance, ...]
    slices: tuple[Slice, ...]
    grid: Grid | None = None
    span: Span = (0, 0)
    mended: tuple[str, ...] = ()

    @property
    def remark(self) -> Finding | None:
        """Return what was mended; None: nothing."""
        if not self.mended:
            return None
        named = ", ".join(self.mended)
        return Finding("dicom-mended", f"missing or invalid, mended in the DICOM objects: {named}")

    def slice_at(self, voxel: int, depth: int) -> Slice:
        """Return the slice that a voxel of the input's depth lies on, or next to.

        Args:
            voxel: From 0.
            depth: Voxels of the input along the body.
        """
        first, after = self.span
        at = first + (voxel + 0.5) * (after - first) / depth - 0.5
        return self.slices[min(max(round(at), first), after - 1)]


def source_of(
    series: Series, spec: Preprocessing | None = None, span: Span | None = None
) -> Source | Finding:
    """Return what objects need of a series, or why there can be none.

    One of its files is read again, for the attributes that a `Header` does not keep.

    Args:
        series: The chosen one; of a refused study, any of its DICOM series.
        spec: What makes the input; None where none was made.
        span: First slice that the input covers, and the one after the last.
    """
    if not series.headers:
        return _none("only DICOM files give DICOM objects")
    headers = series.headers
    instances = _instances(headers)
    if isinstance(instances, Finding):
        return instances
    found = taken_over(headers)
    if isinstance(found, str):
        return _none(found)
    places = {instance.sop_uid: place for place, instance in enumerate(instances)}
    slices = tuple(
        Slice(places[h.get("SOPInstanceUID")], h.frame, h.get("ImagePositionPatient"))
        for h in headers
    )
    grid = grid_of(series, spec, span) if spec and span and found.placed else None
    return Source(found.header, instances, slices, grid, span or (0, 0), found.mended)


def _instances(headers: Sequence[Header]) -> tuple[Instance, ...] | Finding:
    """Return the files of some slices, or why they cannot be referred to."""
    files: dict[str, Header] = {}
    for header in headers:
        uids = [header.get(k, "") for k in ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID")]
        if not all(map(is_uid, uids)):
            return _none(f"{header.name} has no valid UIDs of its instance and its series")
        first = files.setdefault(uids[1], header)
        if first.path != header.path:
            return _none(f"{first.name} and {header.name} have one SOPInstanceUID")
    return tuple(
        Instance(h.get("SOPClassUID"), uid, h.get("SeriesInstanceUID")) for uid, h in files.items()
    )


def _none(why: str) -> Finding:
    return Finding(NO_OBJECTS, f"no DICOM objects: {why}")
