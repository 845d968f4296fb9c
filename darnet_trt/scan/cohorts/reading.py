"""Read a cohort in whichever form it is."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from darnet_trt.errors import UsageError, no_such_path
from darnet_trt.scan.cohorts.classes import PAPER_CLASSES
from darnet_trt.scan.cohorts.cohort import TABLE, Cohort, Entry, classes_of, plan_in, seed_of
from darnet_trt.scan.cohorts.table import read_table


def read_cohort(path: Path, classes: tuple[str, ...] | None = None) -> Cohort:
    """Read a cohort.

    Args:
        path: The table, or the folder that holds it as `cohort.csv`.
        classes: Its classes; by default those that a synthetic cohort names itself, or the paper's.
            () takes every label as it stands.

    Raises:
        UsageError: There is no cohort, it names no scan, an unknown class or a scan twice, or a
            line of it cannot be read.
    """
    if not path.exists():
        raise no_such_path(path)
    table = path / TABLE if path.is_dir() else path
    plan = plan_in(table.parent)
    if classes is None:
        classes = classes_of(plan) or PAPER_CLASSES
    entries = read_table(table, classes)
    if not entries:
        raise UsageError("the table names no scan", where=table, do="add a line for each scan")
    _refuse_doubles(table, entries)
    return Cohort(table, entries, seed_of(plan), classes or _found(entries))


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


def _found(entries: tuple[Entry, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(entry.label for entry in entries))
