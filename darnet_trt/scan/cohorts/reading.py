"""Read a cohort in whichever form it is."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from darnet_trt.errors import UsageError, no_such_path
from darnet_trt.scan.cohorts.ccccii import Found, class_folders, read_folders
from darnet_trt.scan.cohorts.classes import PAPER_CLASSES
from darnet_trt.scan.cohorts.cohort import TABLE, Cohort, Entry, classes_of, plan_in, seed_of
from darnet_trt.scan.cohorts.corrections import CORRECTIONS
from darnet_trt.scan.cohorts.split_files import read_split, splits_in
from darnet_trt.scan.cohorts.table import read_table


def is_cohort(path: Path, classes: tuple[str, ...] = PAPER_CLASSES) -> bool:
    """Return whether a path has one of the forms of `read_cohort`.

    Raises:
        UsageError: Among folders of classes is one like them, whose name is no class.
    """
    if not path.is_dir():
        return path.suffix.lower() in (".csv", ".json")
    return (path / TABLE).is_file() or bool(splits_in(path) or class_folders(path, classes))


def orders_slices(folder: Path) -> bool:
    """Return whether a folder holds a cohort that names its scans' slices in their true order."""
    try:
        if (folder / TABLE).is_file():
            return False
        corrected = (folder / CORRECTIONS).is_file() and bool(class_folders(folder, ()))
        return corrected or bool(splits_in(folder))
    except OSError:  # the search of the folder says what is wrong with it
        return False


def read_cohort(path: Path, classes: tuple[str, ...] | None = None) -> Cohort:
    """Read a cohort: a table, the folders of CC-CCII, or a file that divides them.

    Args:
        path: The table (CSV) or the file that divides CC-CCII (JSON); or the folder that holds
            `cohort.csv`, or files that divide it (`SPLITS`), or the folders of classes.
        classes: Its classes; by default those that a synthetic cohort names itself, or the paper's.
            () takes every label as it stands.

    Raises:
        UsageError: There is no cohort, it names no scan, an unknown class or a scan twice, or a
            line of it cannot be read.
    """
    if not path.exists():
        raise no_such_path(path)
    plan = plan_in(path if path.is_dir() else path.parent)
    if classes is None:
        classes = classes_of(plan) or PAPER_CLASSES
    table, found = _found(path, classes)
    if not found.entries:
        raise UsageError("the cohort names no scan", where=table, do="add a line for each")
    _refuse_doubles(table, found.entries)
    classes = classes or tuple(dict.fromkeys(entry.label for entry in found.entries))
    return Cohort(table, found.entries, seed_of(plan), classes, found.notes)


def _found(path: Path, classes: tuple[str, ...]) -> tuple[Path, Found]:
    """Return what was read, and its scans."""
    if path.suffix.lower() == ".json" and path.is_file():
        return path, read_split(path, classes)
    if not path.is_dir():
        return path, Found(read_table(path, classes))
    if not (path / TABLE).is_file():
        if splits := splits_in(path):
            parts = [read_split(split, classes, side) for split, side in splits.items()]
            entries = (entry for part in parts for entry in part.entries)
            return path, Found(tuple(entries), tuple(n for part in parts for n in part.notes))
        if named := class_folders(path, classes):
            return path, read_folders(path, named)
    return path / TABLE, Found(read_table(path / TABLE, classes))


def _refuse_doubles(table: Path, entries: Iterable[Entry]) -> None:
    """Raise UsageError where a scan occurs twice, however its path is written."""
    seen: set[str] = set()
    for entry in entries:
        place = os.path.abspath(entry.scan)  # noqa: PTH100 (keeps links, resolves "//" and ".")
        if place in seen:
            raise UsageError(
                f"the scan {entry.scan} occurs twice", where=table, do="keep one of its lines"
            )
        seen.add(place)
