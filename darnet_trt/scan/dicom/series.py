"""Turn DICOM headers into series, each sorted and judged."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from darnet_trt.errors import Finding
from darnet_trt.scan.dicom.geometry import stack_slices
from darnet_trt.scan.dicom.grouping.declared import group_slices
from darnet_trt.scan.dicom.grouping.group import Group
from darnet_trt.scan.dicom.grouping.stack import judge_stack
from darnet_trt.scan.dicom.header import Header
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
    files = tuple(sorted({header.path for header in group.headers}))
    series = Series(
        path=folder_of(files),
        format="dicom",
        files=files,
        uid=first.get("SeriesInstanceUID", ""),
        description=str(first.get("SeriesDescription", "")),
        kernel="\\".join(filter(None, first.get("ConvolutionKernel", ()))),
        matrix=(first.get("Rows", 0), first.get("Columns", 0)),
        verdict=Verdict(False, group.unfit or Finding("usable", "")),
        number=first.get("SeriesNumber"),
        slices=len(group.headers),
        headers=group.headers,
    )
    if group.unfit is not None:
        # An attribute may be absent because the file is cut; every other reason is a refusal.
        readable = not (first.defect and first.defect in group.unfit)
        return replace(series, verdict=Verdict(False, group.unfit, group.notes, readable))
    whole = [header for header in group.headers if not header.defect]
    damage = _damage(group.headers)
    if not whole:
        reason = Finding("no-complete-slice", f"no complete slice: {damage}")
        return replace(series, verdict=Verdict(False, reason, (), False))
    notes = (*group.notes, damage) if damage else group.notes
    try:
        stack = stack_slices(
            [h.get("ImagePositionPatient") for h in whole],
            whole[0].get("ImageOrientationPatient"),
            whole[0].get("PixelSpacing"),
            series.matrix,
        )
    except ValueError as error:
        reason = Finding("bad-orientation", str(error))
        return replace(series, verdict=Verdict(False, reason, notes))
    ordered = tuple(whole[i] for i in stack.order)
    verdict, step = judge_stack(stack, ordered, notes)
    if damage and not verdict.usable:  # the likely cause
        reason = Finding(verdict.reason.code, f"{verdict.reason}; {damage}")
        verdict = replace(verdict, reason=reason, readable=False)
    return replace(
        series,
        files=tuple(dict.fromkeys(header.path for header in ordered)),
        headers=ordered,
        slices=len(ordered),
        matrix=series.matrix[::-1] if stack.transpose else series.matrix,
        spacing_mm=None if step is None else (step, *stack.pixel_mm),
        stack=stack,
        verdict=verdict,
    )


def _damage(headers: Sequence[Header]) -> Finding | None:
    """Return which files are left out because they are damaged."""
    broken = {header.name: header.defect for header in headers if header.defect}
    if not broken:
        return None
    names = ", ".join(f"{name} ({defect})" for name, defect in list(broken.items())[:3])
    more = f" and {len(broken) - 3} more" if len(broken) > 3 else ""
    what = "files is damaged" if len(broken) == 1 else "files are damaged"
    total = len({header.name for header in headers})
    text = f"{len(broken)} of {total} {what} and left out: {names}{more}"
    return Finding("damaged-files", text)
