"""A labelled cohort: the table with each scan's path, patient and class."""

from __future__ import annotations

import csv
import hashlib
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from darnet_trt.errors import UsageError, no_such_path
from darnet_trt.scan.cohorts.classes import PAPER_CLASSES, class_named
from darnet_trt.scan.series import Series

TABLE = "cohort.csv"
PLAN = "cohort.json"  # beside a synthetic cohort's table: what it was made from
COLUMNS = ("scan", "patient", "label")
PHANTOM_MODEL = "synthetic phantom"
"""ManufacturerModelName (0008,1090) of the phantoms' DICOM files."""

_NO_PATIENTS = "not real patients"


@dataclass(frozen=True)
class Entry:
    """A row of the table: a scan's path, its patient and its class."""

    scan: Path
    patient: str
    label: str


@dataclass(frozen=True)
class Cohort:
    """A labelled cohort.

    Attributes:
        table: The CSV it was read from.
        entries: In the table's order.
        seed: Of the phantoms when the cohort is synthetic, else None.
        classes: In the order of a network's logits; the first is the positive one.
    """

    table: Path
    entries: tuple[Entry, ...]
    seed: int | None
    classes: tuple[str, ...] = PAPER_CLASSES

    def describe(self, entries: tuple[Entry, ...]) -> str:
        """Describe in one sentence what a network trained on these entries has seen."""
        if self.seed is not None:
            return (
                f"{len(entries)} synthetic phantoms (darnet-trt phantom, seed {self.seed}); "
                + _NO_PATIENTS
            )
        patients = len({e.patient for e in entries})
        digest = hashlib.sha256(self.table.read_bytes()).hexdigest()[:12]
        return (
            f"{len(entries)} scans of {patients} patients of the cohort "
            f"{self.table.resolve().parent.name} (table's SHA-256 {digest}…)"
        )


def describes_phantoms(trained_on: str) -> bool:
    """Return whether a sentence of `Cohort.describe` is about phantoms alone."""
    return trained_on.endswith(_NO_PATIENTS)


def is_phantom(series: Series) -> bool:
    """Return whether darnet-trt made a series: by its header, or by its cohort's folder.

    Only DICOM headers can say so. Other formats are recognized where they lie in the folder of a
    synthetic cohort.
    """
    if series.headers:
        return bool(series.headers[0].get("ManufacturerModelName") == PHANTOM_MODEL)
    cohorts = series.path.resolve().parents[:2]  # cohort/P0001/1.nii.gz, cohort/P0001/1/
    return any(_seed_of(_plan(folder / PLAN)) is not None for folder in cohorts)


def read_cohort(path: Path, classes: tuple[str, ...] | None = None) -> Cohort:
    """Read `cohort.csv`: columns scan (relative to the table), patient, label.

    Args:
        path: The table, or the folder that holds it.
        classes: Its classes; by default those that a synthetic cohort names itself, or the paper's.
            () takes every label as it stands.

    Raises:
        UsageError: No table, a missing column, an unknown label, an empty field, a scan twice.
    """
    if not path.exists():
        raise no_such_path(path)
    table = path / TABLE if path.is_dir() else path
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
            if missing:
                raise UsageError(
                    f"the table has no column {', '.join(missing)}",
                    where=table,
                    do=f"its first line must be {','.join(COLUMNS)}",
                )
            plan = _plan(table.with_name(PLAN))
            if classes is None:
                classes = _classes_of(plan) or PAPER_CLASSES
            entries = tuple(_entry(table, reader.line_num, row, classes) for row in reader)
    except FileNotFoundError as error:
        raise UsageError(
            "there is no cohort table here",
            where=table,
            do="make one with darnet-trt phantom, or write scan,patient,label for your own scans",
        ) from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        what = f"the table cannot be read ({error})"
        raise UsageError(what, where=table, do="save it as UTF-8 CSV") from error
    if not entries:
        raise UsageError("the table names no scan", where=table, do="add a line for each scan")
    twice = [scan for scan, count in Counter(e.scan for e in entries).items() if count > 1]
    if twice:
        raise UsageError(
            f"the scan {twice[0]} occurs twice", where=table, do="keep one of its lines"
        )
    return Cohort(table, entries, _seed_of(plan), classes or _found(entries))


def _entry(table: Path, line: int, row: dict[str, str], classes: tuple[str, ...]) -> Entry:
    scan, patient, label = ((row[name] or "").strip() for name in COLUMNS)
    if not (scan and patient and label):
        raise UsageError(f"line {line} has an empty field", where=table, do="fill it in")
    named = class_named(label, classes) if classes else label
    if named is None:
        raise UsageError(
            f"line {line}: unknown class {label!r}",
            where=table,
            do=f"choose from {', '.join(classes)}, or name the cohort's own with --classes",
        )
    return Entry(table.parent / scan, patient, named)


def _found(entries: tuple[Entry, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(entry.label for entry in entries))


def _plan(path: Path) -> Any:
    """Return what a synthetic cohort was made from; None for another cohort."""
    try:
        content = json.loads(path.read_text("utf-8"))
        return content if content["synthetic"] else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _seed_of(plan: Any) -> int | None:
    try:
        return int(plan["seed"])
    except (ValueError, KeyError, TypeError):
        return None


def _classes_of(plan: Any) -> tuple[str, ...] | None:
    """Return the classes that a plan names; plans of older versions name none."""
    try:
        return tuple(map(str, plan["classes"]))
    except (KeyError, TypeError):
        return None
