"""Make studies of what was found: of DICOM headers, of pictures, and of what cannot be read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
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
from darnet_trt.scan.pictures import ordered_series, slice_series
from darnet_trt.scan.series import Series, Study, Verdict
from darnet_trt.scan.volume_files.series import image_format

Broken = Mapping[Path, Sequence[ScanError]]
"""Folder → what is wrong with its files that cannot be read."""


@dataclass(frozen=True)
class Beside:
    """What lies beside the slices of one folder, and belongs to no series.

    Attributes:
        first: The first file that cannot be read; None where all can.
        unread: How many files cannot be read.
        pictures: How many pictures are ignored.
    """

    first: ScanError | None = None
    unread: int = 0
    pictures: int = 0

    def __add__(self, other: Beside) -> Beside:
        first, pictures = self.first or other.first, self.pictures + other.pictures
        return Beside(first, self.unread + other.unread, pictures)


def beside_slices(failed: Iterable[ScanError], pictures: Mapping[Path, int]) -> dict[Path, Beside]:
    """Return what lies beside slices, by folder.

    Args:
        failed: Files that cannot be read; those that are named as slices count.
        pictures: Folder → how many of its pictures are ignored.
    """
    beside: defaultdict[Path, Beside] = defaultdict(Beside)
    for error in failed:
        if promise(path := _place(error)) in ("dicom", None):
            beside[path.parent] += Beside(error, 1)
    for folder, count in pictures.items():
        beside[folder] += Beside(pictures=count)
    return dict(beside)


def dicom_studies(
    headers: Iterable[Header], beside: Mapping[Path, Beside], *, mixed: bool = False
) -> list[tuple[Study, list[Header]]]:
    """Return a study for each StudyInstanceUID (each folder, where UIDs are emptied) and patient.

    Args:
        headers: Of every DICOM file.
        beside: What else lies in their folders; named as the likely cause of gaps.
        mixed: As of `gather`.

    Returns:
        Each with the headers of all its files, those that are left out too; none where an
        unexpected exception made it fail.
    """
    studies: list[tuple[Study, list[Header]]] = []
    for members in _grouped(list(headers)):
        try:
            studies += of_one_study(members, beside, mixed=mixed)
        except Exception as error:
            files = [header.path for header in members]
            studies.append((failed_study(unexpected(folder_of(files), error), files), []))
    return studies


def _grouped(headers: list[Header]) -> list[list[Header]]:
    try:
        return by_study(headers)
    except Exception:  # then one study's headers must not end the others
        declared: dict[str, list[Header]] = defaultdict(list)
        for header in headers:
            declared[str(header.get("StudyInstanceUID") or header.path.parent)].append(header)
        return list(declared.values())


def of_one_study(
    members: list[Header], beside: Mapping[Path, Beside], *, mixed: bool = False
) -> list[tuple[Study, list[Header]]]:
    """Return the study that DICOM files make up; of several patients one for each."""
    patients = by_patient(members)
    series = {
        patient: [_with_neighbours(s, beside) for s in dicom_series(own)]
        for patient, own in patients.items()
    }
    reason = one_scan_of_many(patients.values())
    if not reason and not mixed and len(patients) > 1 and in_one_place(patients.values()):
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
    return [(_study(patient, own, series[patient]), own) for patient, own in patients.items()]


def _study(patient: str, headers: Sequence[Header], series: Iterable[Series]) -> Study:
    path = folder_of([header.path for header in headers])
    return Study(path, headers[0].get("StudyInstanceUID", ""), patient, tuple(series))


def _with_neighbours(series: Series, beside: Mapping[Path, Beside]) -> Series:
    """Add what lies in the series' folders and was not read to its verdict."""
    if not beside:
        return series
    notes, unread = [], []
    for folder in sorted({file.parent for file in series.files}.intersection(beside)):
        found = beside[folder]
        if found.first:
            unread.append(_listed(found.first, found.unread))
        if found.pictures:
            what = "picture was ignored" if found.pictures == 1 else "pictures were ignored"
            text = f"{found.pictures} {what} beside the DICOM files"
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
            likely = [_listed(lost[0], len(lost))]
            series = replace(series, verdict=_because(series.verdict, likely))
        patient = folder.parent.name if series.path == folder else ""
        studies.append(replace(alone(series), patient_id=patient))
    return studies


def ordered_study(folder: Path, names: Sequence[str]) -> Study:
    """Return the study that named pictures of a folder make up, in this order."""
    return replace(alone(ordered_series(folder, names)), patient_id=folder.parent.name)


def _because(verdict: Verdict, unread: Sequence[Finding]) -> Verdict:
    """Add the likely cause of a refusal."""
    if not unread:
        return verdict
    reason = Finding(verdict.reason.code, "; ".join([verdict.reason, *unread]))
    return replace(verdict, reason=reason, readable=False)


def _listed(first: ScanError, count: int) -> Finding:
    more = f", and {count - 1} more" if count > 1 else ""
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
