"""Read a cohort in whichever form it is."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from darnet_trt.errors import UsageError, no_such_path
from darnet_trt.scan.cohorts.ccccii import Found, class_folders, read_folders
from darnet_trt.scan.cohorts.classes import PAPER_CLASSES
from darnet_trt.scan.cohorts.cohort import PLAN, TABLE, Cohort, classes_of, plan_in, seed_of
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
        corrected = (folder / CORRECTIONS).exists() and bool(class_folders(folder, ()))
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
    if plan is not None and path.name == PLAN:
        raise UsageError(
            "says how the phantoms were made, and does not list them",
            where=path,
            do="give the folder that it lies in",
        )
    if classes is None:
        classes = classes_of(plan) or PAPER_CLASSES
    table, parts = _found(path, classes)
    entries = tuple(entry for found in parts.values() for entry in found.entries)
    if not entries:
        raise UsageError("the cohort names no scan", where=table, do="add a line for each")
    _refuse_doubles(table, parts)
    classes = classes or tuple(dict.fromkeys(entry.label for entry in entries))
    notes = tuple(note for found in parts.values() for note in found.notes)
    return Cohort(table, entries, seed_of(plan), classes, notes)


def _found(path: Path, classes: tuple[str, ...]) -> tuple[Path, dict[Path, Found]]:
    """Return what was read, and the scans that each of its files names."""
    if path.suffix.lower() == ".json" and path.is_file():
        return path, {path: read_split(path, classes)}
    if not path.is_dir():
        return path, {path: Found(read_table(path, classes))}
    table = path / TABLE
    if not table.is_file():
        if splits := splits_in(path):
            return path, {file: read_split(file, classes, side) for file, side in splits.items()}
        if named := class_folders(path, classes):
            return path, {path: read_folders(path, named)}
    return table, {table: Found(read_table(table, classes))}


def _refuse_doubles(table: Path, parts: Mapping[Path, Found]) -> None:
    """Raise UsageError where a scan occurs twice, however its path is written."""
    seen: dict[str, Path] = {}
    for file, found in parts.items():
        for entry in found.entries:
            place = os.path.abspath(entry.scan)  # noqa: PTH100 (keeps links, resolves "//" and ".")
            if place in seen and seen[place] != file:
                raise UsageError(
                    f"the scan {entry.scan} is in {seen[place].name} and in {file.name}",
                    where=table,
                    do="remove it from one of them",
                )
            if place in seen:
                raise UsageError(
                    f"the scan {entry.scan} occurs twice", where=table, do="keep one of its lines"
                )
            seen[place] = file
