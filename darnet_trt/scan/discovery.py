"""Find the studies under a path, in any mixture of formats."""

from __future__ import annotations

import functools
import os
import stat
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

from darnet_trt.errors import ScanError, UnreadableScanError, UsageError, cannot_open
from darnet_trt.scan.dicom.header import Header, read_headers
from darnet_trt.scan.dicom.patients import by_patient, in_one_place
from darnet_trt.scan.dicom.series import dicom_series, folder_of
from darnet_trt.scan.pictures import SUFFIXES, natural_key, slice_series
from darnet_trt.scan.series import Series, Study, Verdict
from darnet_trt.scan.volume_files.series import image_format, image_series

OVERLAY_SUFFIX: Final = ".overlay.png"
"""Pictures with this ending show a result and are never slices."""

# fmt: off
_STRAY_SUFFIXES: Final = frozenset({
    ".txt", ".text", ".md", ".rst", ".csv", ".tsv", ".json", ".jsonl", ".xml", ".yaml", ".yml",
    ".toml", ".ini", ".cfg", ".log", ".html", ".htm", ".css", ".js", ".pdf", ".doc", ".docx",
    ".xls", ".xlsx", ".ppt", ".pptx", ".py", ".ipynb", ".sh", ".bat", ".exe", ".dll", ".inf",
    ".lnk", ".db", ".sqlite", ".zip", ".gz", ".bz2", ".xz", ".tar", ".tgz", ".7z", ".rar", ".raw",
    ".zraw", ".bin", ".npy", ".npz", ".h5", ".bmp", ".gif", ".tif", ".tiff", ".svg", ".webp",
    ".bak", ".tmp", ".md5", ".sha256",
})
"""Files that accompany scans; the search of a folder skips them."""
_STRAY_NAMES: Final = frozenset({
    "dicomdir", "readme", "license", "lockfile", "version", "makefile", "thumbs.db", "desktop.ini",
})
# fmt: on
_KNOWN = "give DICOM, NIfTI, NRRD or MHA files, or PNG or JPEG slices"
_DICOMDIR = "1.2.840.10008.1.3.10"  # under another name: neither an image nor a failure


def find_studies(path: str | os.PathLike[str]) -> list[Study]:
    """Find every study under a file or folder, the unusable ones with their reason.

    DICOM files form one study for each StudyInstanceUID (for each folder, where UIDs are emptied)
    and patient; every volume file and every folder of image slices is a study of its own. A file
    that should be readable but is not becomes a warning on the series beside it, or a failed
    series where there is none.

    Raises:
        UsageError: There is no such path.
        UnreadableScanError: Nothing there can be read.
    """
    path = Path(path)
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UsageError("no such file or folder", where=path) from error
    except OSError as error:  # in a folder that may not be looked into, or a loop of links
        raise cannot_open(path, error) from error
    if stat.S_ISREG(mode):
        return _single_file(path)
    if not stat.S_ISDIR(mode):
        raise UnreadableScanError("is neither a file nor a folder", where=path)
    headers: list[Header] = []
    broken: dict[Path, list[UnreadableScanError]] = defaultdict(list)
    pictures: dict[Path, list[Path]] = defaultdict(list)
    studies: list[Study] = []
    for file in _walk(path, broken):
        if _is_stray(file):
            continue
        if file.suffix.lower() in SUFFIXES:
            pictures[file.parent].append(file)
            continue
        try:
            if image_format(file):
                studies.append(_alone(image_series(file)))
            else:
                found = read_headers(file)
                headers += [h for h in found if h.get("SOPClassUID") != _DICOMDIR]
        except UnreadableScanError as error:
            broken[file.parent].append(error)

    beside_dicom = {header.path.parent for header in headers}
    ignored = {f: len(pictures.pop(f)) for f in list(pictures) if f in beside_dicom}
    studies += _dicom_studies(headers, broken, ignored)
    for folder, files in pictures.items():
        series = slice_series(folder, files)
        studies.append(replace(_alone(series), patient_id=folder.parent.name))
    claimed = {file.parent for study in studies for series in study.series for file in series.files}
    studies += [_alone(_refused(errors)) for f, errors in broken.items() if f not in claimed]
    if not studies:
        raise UnreadableScanError("no scan in this folder", where=path, do=_KNOWN)
    if all(not s.matrix[0] and s.path in broken for study in studies for s in study.series):
        only = [error for errors in broken.values() for error in errors]
        if len(only) == 1:
            raise only[0]
        raise UnreadableScanError(_none_of(only), where=path)
    return sorted(studies, key=lambda study: (natural_key(study.path), study.uid))


def _single_file(path: Path) -> list[Study]:
    if image_format(path):
        return [_alone(image_series(path))]
    if path.suffix.lower() in SUFFIXES:
        return [_alone(slice_series(path.parent, [path]))]
    try:
        headers = read_headers(path)
    except UnreadableScanError as error:
        if error.what != "is not a DICOM file":
            raise
        raise UnreadableScanError("is in no known format", where=path, do=_KNOWN) from error
    return _dicom_studies(headers, {}, {})


def _walk(root: Path, broken: dict[Path, list[UnreadableScanError]]) -> Iterator[Path]:
    """Yield every file below, in order; follow links, but no circle of them twice."""
    seen: set[str] = set()

    def note(error: OSError) -> None:
        place = Path(str(error.filename))
        broken[place].append(cannot_open(place, error))

    for folder, folders, files in os.walk(root, onerror=note, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            file = Path(folder) / name
            if file.is_file():  # neither sockets nor dangling links
                yield file


def _is_stray(file: Path) -> bool:
    """Return whether the search of a folder skips this file, judged by its name."""
    name = file.name.lower()
    if name.startswith(".") or name.endswith(OVERLAY_SUFFIX):
        return True
    if image_format(file):
        return False
    return name in _STRAY_NAMES or file.suffix.lower() in _STRAY_SUFFIXES


def _dicom_studies(
    headers: list[Header],
    broken: dict[Path, list[UnreadableScanError]],
    ignored: dict[Path, int],
) -> list[Study]:
    by_study: dict[str, list[Header]] = defaultdict(list)
    for header in headers:
        by_study[header.get("StudyInstanceUID") or str(header.path.parent)].append(header)
    studies = []
    for members in by_study.values():
        patients = by_patient(members)
        series = {
            patient: [_with_neighbours(s, broken, ignored) for s in dicom_series(own)]
            for patient, own in patients.items()
        }
        if len(patients) > 1 and in_one_place(patients.values()):
            reason = (  # a result could belong to either
                f"slices of {len(patients)} patients (PatientID) under one StudyInstanceUID "
                "(put each patient's files into a separate folder)"
            )
            every = [
                replace(s, verdict=Verdict(False, reason, s.verdict.warnings))
                for own in series.values()
                for s in own
            ]
            patients, series = {"": members}, {"": every}
        for patient, own in patients.items():
            path = folder_of([header.path for header in own])
            uid = own[0].get("StudyInstanceUID", "")
            studies.append(Study(path, uid, patient, tuple(series[patient])))
    return studies


def _with_neighbours(
    series: Series, broken: dict[Path, list[UnreadableScanError]], ignored: dict[Path, int]
) -> Series:
    """Add what lies in the series' folders and was not read to its verdict."""
    notes, unread = [], []
    for folder in sorted({file.parent for file in series.files}):
        errors = broken.get(folder, [])
        if errors:
            more = f", and {len(errors) - 1} more" if len(errors) > 1 else ""
            unread.append(f"{_named(errors[0])}{more}")
        if folder in ignored:
            what = "image was ignored" if ignored[folder] == 1 else "images were ignored"
            notes.append(f"{ignored[folder]} PNG or JPEG {what} beside the DICOM files")
    verdict = series.verdict
    if series.stack is not None and not verdict.usable:  # unread slices are the likely cause
        readable = verdict.readable and not unread
        verdict = replace(verdict, reason="; ".join([verdict.reason, *unread]), readable=readable)
    else:
        notes = [*unread, *notes]
    return replace(series, verdict=replace(verdict, warnings=(*verdict.warnings, *notes)))


def _refused(errors: list[UnreadableScanError]) -> Series:
    """Return files with nothing readable beside them as a failed series."""
    files = tuple(Path(str(error.where)) for error in errors)
    reason = errors[0].what if len(files) == 1 else _none_of(errors)
    path = folder_of(files)
    return Series(
        path=path,
        format=image_format(files[0]) or "dicom",
        files=files,
        description=path.name,
        slices=len(files),
        verdict=Verdict(False, reason, readable=False),
    )


def _none_of(errors: list[UnreadableScanError]) -> str:
    return f"none of {len(errors)} files can be read, the first: {_named(errors[0])}"


def _named(error: ScanError) -> str:
    return f"{Path(str(error.where)).name} {error.what}"


def _alone(series: Series) -> Study:
    return Study(path=series.path, uid="", patient_id="", series=(series,))


def distinct_paths(paths: Iterable[Path]) -> list[Path]:
    """Return the paths, in their order, without those that the search of another one reaches.

    Those are the same place under another name, and what lies in a folder that is named too.
    """
    places: dict[Path, Path] = {}
    for path in paths:
        places.setdefault(Path(os.path.realpath(path)), path)
    folders = {place for place in places if os.path.isdir(place)}  # noqa: PTH112 (never fails)
    return [path for place, path in places.items() if not _is_reached(place, folders)]


def _is_reached(place: Path, folders: set[Path]) -> bool:
    """Return whether the search of one of the folders reaches this place and looks at it."""
    looked_at = os.path.isfile(place) and not _is_stray(place)  # noqa: PTH113 (never fails)
    if not (looked_at or place in folders):
        return False
    below = place
    while not below.name.startswith(".") and below != below.parent:
        below = below.parent
        if below in folders:
            return True
    return False


def unseen(studies: Iterable[Study], seen: set[str]) -> list[Study]:
    """Return the studies with a file that no earlier study had; links lead to a file in many ways.

    Args:
        studies: From `find_studies`.
        seen: Files of the earlier studies, links resolved; this call adds those of `studies`.
    """
    new = []
    for study in studies:
        files = _real_files(study)
        if not files <= seen:
            new.append(study)
            seen |= files
    return new


def _real_files(study: Study) -> set[str]:
    real_folder = functools.cache(os.path.realpath)
    return {
        os.path.realpath(file)
        if os.path.islink(file)  # noqa: PTH114 (a Path takes three times as long)
        else f"{real_folder(os.path.dirname(file))}/{os.path.basename(file)}"  # noqa: PTH119, PTH120
        for series in study.series
        for file in map(str, series.files)
    }
