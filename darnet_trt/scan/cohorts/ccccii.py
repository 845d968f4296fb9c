"""Read CC-CCII's folders: class/patient/scan/slice, as it is downloaded and unpacked.

`unzip_filenames.csv`, where it lies beside the class folders, tells what is missing. With
`CT_cleaned_v2.csv` beside them, the slices are put right as that table says. `lesions_slices.csv`
and `metadata.csv` are not needed to train.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, TypeVar

from darnet_trt.errors import UsageError, counted
from darnet_trt.scan.cohorts.classes import class_named
from darnet_trt.scan.cohorts.cohort import Entry
from darnet_trt.scan.cohorts.corrections import CORRECTIONS, Correction, read_corrections
from darnet_trt.scan.cohorts.data_tables import REPLACE, refuse_paths, rows_of

ARCHIVES: Final = "unzip_filenames.csv"
PICTURES: Final = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
_ARCHIVE_COLUMNS: Final = ("label", "patient_id", "scan_id", "n_slice")
NO_CLASSES: Final = ("ct_lesion_seg", "__MACOSX")
"""Folders beside those of the classes: CC-CCII's masks of lesions, and what macOS adds to zip."""

Place = tuple[str, str, str]
"""Which scan: its class, and the names of its folders of patient and scan."""
Row = tuple[str, str, str]
"""The class, patient and scan of a line of a table, as they stand there."""
_T = TypeVar("_T")


@dataclass(frozen=True)
class Found:
    """The scans of a cohort, in whichever form it was found.

    Attributes:
        entries: In the order of their paths.
        notes: What is missing, or was left out.
    """

    entries: tuple[Entry, ...]
    notes: tuple[str, ...] = ()


def class_folders(folder: Path, classes: tuple[str, ...]) -> dict[Path, str]:
    """Return the folders of classes in a folder, and each one's class; none where no scan is there.

    Args:
        folder: Where they are.
        classes: Their names, in any case or as CC-CCII says; () takes each as it stands.

    Raises:
        UsageError: Among folders of classes is one like them, whose name is no class.
    """
    below = [path for path in _folders(folder) if path.name not in NO_CLASSES]
    if not classes:
        return {path: path.name for path in below if _holds_scans(path)}
    named = {path: label for path in below if (label := class_named(path.name, classes))}
    if not any(map(_holds_scans, named)):
        return {}
    for path in below:
        if path not in named and _holds_scans(path):
            raise UsageError(
                f"the folder's name is no class, choose from {', '.join(classes)}",
                where=path,
                do="rename it, move it away, or name the cohort's classes with --classes",
            )
    return named


def read_folders(folder: Path, named: Mapping[Path, str]) -> Found:
    """Return the scans in the folders of classes.

    Args:
        folder: That holds them, and the tables.
        named: From `class_folders`.

    Raises:
        UsageError: A table cannot be read, or does not fit the files of a scan.
    """
    entries = [
        Entry(scan, patient.name, named[of_class])
        for of_class in sorted(named)
        for patient in _folders(of_class)
        for scan in _folders(patient)
    ]
    notes = _missing(folder / ARCHIVES, entries)
    table = folder / CORRECTIONS
    if not table.exists():
        return Found(tuple(entries), tuple(notes))
    corrections, strange = _by_place(read_corrections(table), entries)
    right, useless, short = [], 0, []
    for entry in entries:
        try:
            slices = _slices(entry.scan, corrections.get(_place(entry)))
        except LookupError as error:
            short.append(f"{entry.scan.relative_to(folder).as_posix()} ({error})")
            continue
        useless += slices is None
        right += [] if slices is None else [replace(entry, slices=slices)]
    if useless:
        notes.append(f"{_scans_are(useless)} left out: of no use, by {CORRECTIONS}")
    if short:
        notes.append(
            f"{_scans_are(len(short))} left out: slices are gone that {CORRECTIONS} does not leave "
            f"out, such as in {short[0]}"
        )
    if others := [entry.scan for entry in entries if _place(entry) not in corrections]:
        example = others[0].relative_to(folder).as_posix()
        notes.append(f"{_scans_are(len(others))} not in {CORRECTIONS}, such as {example}")
    if strange:
        lines = counted(len(strange), "line")
        notes.append(
            f"{lines} of {CORRECTIONS} not used: no such scan is here, such as {_path(strange)}"
        )
    return Found(tuple(right), tuple(notes))


def _place(entry: Entry) -> Place:
    return entry.label, entry.patient, entry.scan.name


def _by_place(
    rows: Mapping[Row, _T], entries: Iterable[Entry]
) -> tuple[dict[Place, _T], list[Row]]:
    """Return what a table says of the scans, whatever their classes are called, and of no scan."""
    here = {_place(entry) for entry in entries}
    classes = {label for label, _, _ in here}
    found: dict[Place, _T] = {}
    strange = []
    for row, content in rows.items():
        label, patient, scan = row
        place = class_named(label, classes) or label, patient, scan
        if place in here:
            found[place] = content
        else:
            strange.append(row)
    return found, strange


def _slices(scan: Path, correction: Correction | None) -> tuple[str, ...] | None:
    """Return the names of a scan's slices in their true order; None where none is of use.

    (): as they lie there, with nothing to put right.

    Raises:
        LookupError: A slice is gone that the correction does not leave out.
        UsageError: There is something to put right, and some files have no number of their own.
    """
    if correction is None or not correction.changes:
        return ()
    if correction.discard:
        return None
    names = pictures_in(scan)
    numbers = {int(stem): name for name in names if (stem := Path(name).stem).isdecimal()}
    if len(numbers) < len(names):
        raise UsageError(
            f"{CORRECTIONS} orders its slices, but not all their names are numbers",
            where=scan,
            do="copy the scan again",
        )
    present = sorted(numbers)
    if present and (gone := correction.gone(present)) is not None:
        raise LookupError(f"slice {gone}")
    return tuple(numbers[number] for number in correction.kept(present)) or None


def _missing(table: Path, entries: Sequence[Entry]) -> list[str]:
    """Return which scans are missing, or short of slices, by the table of the archives."""
    if not table.exists():
        return []
    expected, absent = _by_place(dict(_expected(table)), entries)
    short = [
        (entry.scan.parents[1].name, entry.patient, entry.scan.name)
        for entry in entries
        if len(pictures_in(entry.scan)) < expected.get(_place(entry), 0)
    ]
    return [
        f"{_scans_are(len(places))} {what}, by {ARCHIVES}, such as {_path(places)}"
        for places, what in ((absent, "missing"), (short, "short of slices"))
        if places
    ]


def _expected(table: Path) -> Iterator[tuple[Row, int]]:
    """Yield each scan of the archives, and how many slices it has."""
    for line, row in rows_of(table, _ARCHIVE_COLUMNS):
        label, patient, scan, count = (row[name] for name in _ARCHIVE_COLUMNS)
        try:
            refuse_paths((label, patient, scan))
            if not (count.isascii() and count.isdecimal() and len(count) < 10):
                raise ValueError(f"n_slice is {count!r}")
        except ValueError as error:
            raise UsageError(f"line {line}: {error}", where=table, do=REPLACE) from error
        yield (label, patient, scan), int(count)


def pictures_in(scan: Path) -> list[str]:
    """Return the names of a folder's pictures; none where it cannot be opened."""
    try:
        with os.scandir(scan) as files:
            return [f.name for f in files if f.name[0] != "." and f.name.lower().endswith(PICTURES)]
    except OSError:
        return []


def _holds_scans(folder: Path) -> bool:
    """Return whether pictures lie two folders below."""
    try:
        return any(pictures_in(scan) for patient in _folders(folder) for scan in _folders(patient))
    except UsageError:  # where it is a class's, reading it says so
        return False


def _folders(folder: Path) -> list[Path]:
    """Return the folders in a folder, sorted.

    Raises:
        UsageError: It cannot be opened.
    """
    try:
        return sorted(p for p in folder.iterdir() if p.name[0] != "." and p.is_dir())
    except OSError as error:
        raise UsageError(
            f"cannot be opened ({error.strerror})", where=folder, do="check its permissions"
        ) from error


def _scans_are(count: int) -> str:
    return counted(count, "scan is", "scans are")


def _path(places: Sequence[Row]) -> str:
    return "/".join(places[0])
