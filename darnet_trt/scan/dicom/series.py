"""Turn DICOM headers into series, each sorted and judged."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from darnet_trt.scan.dicom.geometry import stack_slices
from darnet_trt.scan.dicom.grouping import Group, group_slices
from darnet_trt.scan.dicom.header import Header
from darnet_trt.scan.dicom.stack import judge_stack
from darnet_trt.scan.series import Series, Verdict


def folder_of(paths: Sequence[Path]) -> Path:
    """Return the deepest folder that holds all the files; where there is only one, that file."""
    return paths[0] if len(paths) == 1 else Path(os.path.commonpath(paths))


def dicom_series(headers: Iterable[Header]) -> list[Series]:
    """Return every series among some headers, in a fixed order, each with its verdict."""
    series = [_judge(group) for group in group_slices(headers)]
    series.sort(key=lambda s: (s.number is None, s.number or 0, s.uid, str(s.files[0])))
    return series


def _judge(group: Group) -> Series:
    """Return one series with its verdict."""
    first = group.headers[0]
    paths = [header.path for header in group.headers]
    series = Series(
        path=folder_of(paths),
        format="dicom",
        files=tuple(sorted(paths)),
        uid=first.get("SeriesInstanceUID", ""),
        description=str(first.get("SeriesDescription", "")),
        kernel="\\".join(filter(None, first.get("ConvolutionKernel", ()))),
        matrix=(first.get("Rows", 0), first.get("Columns", 0)),
        verdict=Verdict(False, ""),
        number=first.get("SeriesNumber"),
        slices=len(paths),
        headers=group.headers,
    )
    if group.unfit is not None:
        # An attribute may be absent because the file is cut; every other reason is a refusal.
        readable = not (first.defect and first.defect in group.unfit)
        return replace(series, verdict=Verdict(False, group.unfit, group.notes, readable))
    whole = [header for header in group.headers if not header.defect]
    broken = [header for header in group.headers if header.defect]
    notes = list(group.notes)
    if broken:
        names = ", ".join(f"{h.name} ({h.defect})" for h in broken[:3])
        more = f" and {len(broken) - 3} more" if len(broken) > 3 else ""
        what = "files is damaged" if len(broken) == 1 else "files are damaged"
        notes.append(f"{len(broken)} of {len(paths)} {what} and left out: {names}{more}")
    if not whole:
        return replace(series, verdict=Verdict(False, f"no complete slice: {notes[-1]}", (), False))
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
    if broken and not verdict.usable:  # the damaged files are the likely cause
        verdict = replace(verdict, reason=f"{verdict.reason}; {notes[-1]}", readable=False)
    return replace(
        series,
        files=tuple(header.path for header in ordered),
        headers=ordered,
        slices=len(ordered),
        matrix=series.matrix[::-1] if stack.transpose else series.matrix,
        spacing_mm=None if step is None else (step, *stack.pixel_mm),
        stack=stack,
        verdict=verdict,
    )
