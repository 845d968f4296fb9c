"""Read the plain table: a line for each scan, with its path, patient and class."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from darnet_trt.errors import UsageError
from darnet_trt.scan.cohorts.classes import class_named
from darnet_trt.scan.cohorts.cohort import Entry, Side
from darnet_trt.scan.cohorts.data_tables import unreadable_table

COLUMNS: Final = ("scan", "patient", "label")
SIDE_COLUMNS: Final = ("side", "split")
FOLD_COLUMN: Final = "fold"
_SIDES: Final[dict[str, Side]] = {
    "": "",
    "train": "train",
    "training": "train",
    "held-out": "held-out",
    "val": "held-out",
    "valid": "held-out",
    "validation": "held-out",
    "test": "test",
}


def read_table(table: Path, classes: tuple[str, ...]) -> tuple[Entry, ...]:
    """Return a table's entries, in its order.

    Args:
        table: CSV with the columns scan (absolute, or relative to the table), patient, label; also
            fold, side or split, where it has them.
        classes: Its classes; () takes every label as it stands.

    Raises:
        UsageError: No table, a missing column, an unknown label, an empty field, a bad path.
    """
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            names = reader.fieldnames or ()
            missing = [name for name in COLUMNS if name not in names]
            if missing:
                raise UsageError(
                    f"the table has no column {', '.join(missing)}",
                    where=table,
                    do=f"its first line must be {','.join(COLUMNS)}",
                )
            lines = ((reader.line_num, row) for row in reader)
            return tuple(_Line(table, n, row).entry(classes) for n, row in lines)
    except FileNotFoundError as error:
        raise UsageError(
            "there is no cohort table here",
            where=table,
            do="make one with darnet-trt phantom, or write scan,patient,label for your own scans",
        ) from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise unreadable_table(table, error, "save it as UTF-8 CSV") from error


@dataclass(frozen=True)
class _Line:
    """A line of the table."""

    table: Path
    number: int
    row: Mapping[str, str | None]

    def entry(self, classes: tuple[str, ...]) -> Entry:
        scan, patient, label = map(self._field, COLUMNS)
        if not (scan and patient and label):
            raise self._wrong("has an empty field", "fill it in")
        if "\0" in scan or ".." in Path(scan).parts:
            raise self._wrong(
                f"the path {scan!r} holds a NUL or '..'",
                "give an absolute path, or one below the table's folder",
            )
        named = class_named(label, classes) if classes else label
        if named is None:
            raise self._wrong(
                f"unknown class {label!r}",
                f"choose from {', '.join(classes)}, or name the cohort's own with --classes",
            )
        side, fold = self._side(), self._fold()
        if side == "test" and fold is not None:
            raise self._wrong("a scan of the test side is in no fold", "empty one of the two")
        return Entry(self.table.parent / scan, patient, named, side=side, fold=fold)

    def _field(self, name: str) -> str:
        return (self.row.get(name) or "").strip()

    def _side(self) -> Side:
        sides: dict[str, Side] = {}
        for column in SIDE_COLUMNS:
            given = self._field(column)
            side = _SIDES.get(given.casefold().replace("_", "-"))
            if side is None:
                raise self._wrong(f"unknown side {given!r}", "choose from train, held-out and test")
            if side:
                sides[column] = side
        if len(set(sides.values())) > 1:
            both = " and ".join(f"{column} {side}" for column, side in sides.items())
            raise self._wrong(f"{both} contradict", "empty one of the two")
        return next(iter(sides.values()), "")

    def _fold(self) -> int | None:
        given = self._field(FOLD_COLUMN)
        if given and not (given.isascii() and given.isdigit() and len(given) < 4):
            raise self._wrong(f"{given!r} is no fold", "number the folds from 0")
        return int(given) if given else None

    def _wrong(self, what: str, do: str) -> UsageError:
        colon = "" if what.startswith("has") else ":"
        return UsageError(f"line {self.number}{colon} {what}", where=self.table, do=do)
