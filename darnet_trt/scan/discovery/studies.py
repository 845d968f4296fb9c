"""Make studies of what was found: of DICOM headers, of pictures, and of what cannot be read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from darnet_trt.errors import (
    Finding,
    InternalError,
    RefusedScanError,
    ScanError,
    UnreadableScanError,
)
from darnet_trt.scan.dicom.grouping.studies import by_study, one_scan_of_many
from darnet_trt.scan.dicom.header import Header
from darnet_trt.scan.dicom.patients import by_patient, in_one_place
from darnet_trt.scan.dicom.series import dicom_series, folder_of
from darnet_trt.scan.discovery.kinds import PICTURES, promise
from darnet_trt.scan.isolated import out_of_memory
from darnet_trt.scan.pictures import slice_series
from darnet_trt.scan.series import Series, Study, Verdict
from darnet_trt.scan.volume_files.series import image_format

Broken = Mapping[Path, Sequence[ScanError]]
"""Folder → what is wrong with each of its files that cannot be read."""


def dicom_studies(
    headers: Iterable[Header], broken: Broken, pictures: Mapping[Path, int]
) -> list[Study]:
    """Return a study for each StudyInstanceUID (each folder, where UIDs are emptied) and patient.

    Args:
        headers: Of every DICOM file.
        broken: By folder; named as the likely cause of gaps.
        pictures: Folder → how many of its pictures are ignored.
    """
    studies: list[Study] = []
    for members in _grouped(list(headers)):
        try:
            studies += _of_one_group(members, broken, pictures)
        except Exception as error:
            files = [header.path for header in members]
            studies.append(failed_study(unexpected(folder_of(files), error), files))
    return studies


def _grouped(headers: list[Header]) -> list[list[Header]]:
    try:
        return by_study(headers)
    except Exception:  # then one study's headers must not end the others
        declared: dict[str, list[Header]] = defaultdict(list)
        for header in headers:
            declared[str(header.get("StudyInstanceUID") or header.path.parent)].append(header)
        return list(declared.values())


def _of_one_group(
    members: list[Header], broken: Broken, pictures: Mapping[Path, int]
) -> list[Study]:
    patients = by_patient(members)
    series = {
        patient: [_with_neighbours(s, broken, pictures) for s in dicom_series(own)]
        for patient, own in patients.items()
    }
    reason = one_scan_of_many(patients.values())
    if not reason and len(patients) > 1 and in_one_place(patients.values()):
        reason = Finding(  # a result could belong to either
            "several-patients",
            f"slices of {len(patients)} patients (PatientID) under one StudyInstanceUID "
            "(put each patient's files into a separate folder)",
        )
    if reason:
        every = [
            replace(s, verdict=Verdict(False, reason, s.verdict.warnings))
            for own in series.values()
            for s in own
        ]
        patients, series = {"": members}, {"": every}
    return [
        Study(
            folder_of([header.path for header in own]),
            own[0].get("StudyInstanceUID", ""),
            patient,
            tuple(series[patient]),
        )
        for patient, own in patients.items()
    ]


def _with_neighbours(series: Series, broken: Broken, pictures: Mapping[Path, int]) -> Series:
    """Add what lies in the series' folders and was not read to its verdict."""
    if not broken and not pictures:
        return series
    notes, unread = [], []
    for folder in sorted({file.parent for file in series.files}):
        slices = [e for e in broken.get(folder, ()) if promise(_place(e)) in ("dicom", None)]
        if slices:
            unread.append(_listed(slices))
        if folder in pictures:
            what = "picture was ignored" if pictures[folder] == 1 else "pictures were ignored"
            text = f"{pictures[folder]} {what} beside the DICOM files"
            notes.append(Finding("pictures-ignored", text))
    verdict = series.verdict
    if series.stack is not None and not verdict.usable:  # unread slices are the likely cause
        verdict = _because(verdict, unread)
    else:
        notes = [*unread, *notes]
    return replace(series, verdict=replace(verdict, warnings=(*verdict.warnings, *notes)))


def picture_studies(folder: Path, files: list[Path], broken: Broken) -> list[Study]:
    """Return a study for each scan that the pictures of a folder make up."""
    try:
        every = slice_series(folder, files)
    except Exception as error:
        return [failed_study(unexpected(folder, error), files)]
    lost = [e for e in broken.get(folder, ()) if _place(e).suffix.lower() in PICTURES]
    studies = []
    for series in every:
        if lost and not series.verdict.usable:
            series = replace(series, verdict=_because(series.verdict, [_listed(lost)]))
        patient = folder.parent.name if series.path == folder else ""
        studies.append(replace(alone(series), patient_id=patient))
    return studies


def _because(verdict: Verdict, unread: Sequence[Finding]) -> Verdict:
    """Add the likely cause of a refusal."""
    if not unread:
        return verdict
    reason = Finding(verdict.reason.code, "; ".join([verdict.reason, *unread]))
    return replace(verdict, reason=reason, readable=False)


def _listed(errors: Sequence[ScanError]) -> Finding:
    more = f", and {len(errors) - 1} more" if len(errors) > 1 else ""
    first = errors[0]
    return Finding(first.code, f"{_place(first).name} {first.what}{more}")


def _place(error: ScanError) -> Path:
    return Path(str(error.where))


def failed_study(error: ScanError, files: Sequence[Path] = ()) -> Study:
    """Return what cannot be read as a study that failed.

    Args:
        error: Names the file, or the folder of the files.
        files: Where they are several.
    """
    path = _place(error)
    kind = image_format(path)
    reason = Finding(error.code, f"{error.what}; {error.do}") if error.do else error.what
    return alone(
        Series(
            path=path,
            format=kind or "dicom",
            files=tuple(files) or (path,),
            description=path.name,
            slices=len(files) or 1,
            verdict=Verdict(False, reason, readable=isinstance(error, RefusedScanError)),
        )
    )


def unexpected(path: Path, error: Exception) -> UnreadableScanError:
    """Return the error for an exception that no reader should raise: it ends one scan alone."""
    if isinstance(error, MemoryError):
        return out_of_memory(path)
    what = Finding("internal-error", InternalError(error).what)
    return UnreadableScanError(what, where=path, do="please report it")


def alone(series: Series) -> Study:
    """Return a series as a study of its own."""
    return Study(path=series.path, uid="", patient_id="", series=(series,))
