"""Read CT_cleaned_v2.csv: what is wrong with the slices of CC-CCII's scans.

He et al. looked through all scans of CC-CCII (medRxiv 2020, 10.1101/2020.06.08.20125963), and name
those whose files are repeated, in disorder or of no use. Their table has the columns cls, pid,
scan_id, is_seg, is_repeat, repeat_ids and re_order. Slices are named by the numbers of their files:

- `re_order` is "reverse", or the true order: "16-52+0-15" takes 16 to 52, then 0 to 15.
- `repeat_ids` names files to leave out, "0-46;132;143", or is "discard" for a whole scan.
- `is_seg` is 1 where all but the lungs is black, which the reading of the scan finds by itself.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from darnet_trt.errors import UsageError
from darnet_trt.scan.cohorts.data_tables import REPLACE, refuse_paths, rows_of

CORRECTIONS: Final = "CT_cleaned_v2.csv"
_COLUMNS: Final = ("cls", "pid", "scan_id", "is_repeat", "repeat_ids", "re_order")
_REVERSE, _DISCARD = "reverse", "discard"
_SPAN: Final = re.compile(r"(\d{1,9})(?:-(\d{1,9}))?", re.ASCII)

Span = tuple[int, int]
"""The first and the last number of files."""


@dataclass(frozen=True)
class Correction:
    """What is wrong with the slices of one scan.

    Attributes:
        order: Spans of files in their true order; None: as they are numbered.
        reverse: Whether they are numbered from the other end.
        repeated: Spans of files to leave out.
        discard: Whether the scan is of no use.
    """

    order: tuple[Span, ...] | None = None
    reverse: bool = False
    repeated: tuple[Span, ...] = ()
    discard: bool = False

    @property
    def changes(self) -> bool:
        """Whether anything is wrong."""
        return self != Correction()

    def kept(self, numbers: Sequence[int]) -> list[int]:
        """Return which files to use of those with these ascending numbers, in their true order."""
        order = list(numbers[:: -1 if self.reverse else 1])
        if self.order is not None:
            spans = (n for first, last in self.order for n in numbers if first <= n <= last)
            order = list(dict.fromkeys(spans))  # scan 2418's order names slice 106 twice
        return [n for n in order if not any(first <= n <= last for first, last in self.repeated)]

    def gone(self, numbers: Sequence[int]) -> int | None:
        """Return the first file to use that is not among these ascending numbers; None for none.

        Without `order`, the files from the first to the last number are to be used.
        """
        here = set(numbers)
        for first, last in self.order or ((numbers[0], numbers[-1]),):
            number = first
            while number <= last:
                end = next((b for a, b in self.repeated if a <= number <= b), None)
                if end is None and number not in here:
                    return number
                number = (number if end is None else end) + 1
        return None


def read_corrections(table: Path) -> dict[tuple[str, str, str], Correction]:
    """Return the correction of each scan, by class, patient and scan as the table writes them.

    Raises:
        UsageError: The table cannot be read, or a line of it; or two lines contradict.
    """
    found: dict[tuple[str, str, str], Correction] = {}
    for line, row in rows_of(table, _COLUMNS):
        place = row["cls"], row["pid"], row["scan_id"]
        try:
            refuse_paths(place)
            correction = _correction(row["re_order"], row["repeat_ids"])
            if (row["is_repeat"] == "1") != bool(row["repeat_ids"]):
                raise ValueError("is_repeat and repeat_ids do not agree")
            if found.setdefault(place, correction) != correction:
                raise ValueError(f"an earlier line says something else of {'/'.join(place)}")
        except ValueError as error:
            raise UsageError(f"line {line}: {error}", where=table, do=REPLACE) from error
    return found


def _correction(re_order: str, repeat_ids: str) -> Correction:
    order = None if re_order in ("", _REVERSE) else _spans(re_order, "+")
    discard = repeat_ids == _DISCARD
    repeated = () if discard or not repeat_ids else _spans(repeat_ids, ";")
    return Correction(order, re_order == _REVERSE, repeated, discard)


def _spans(text: str, between: str) -> tuple[Span, ...]:
    """Return spans of numbers, "3" or "5-9"."""
    spans = []
    for part in text.split(between):
        match = _SPAN.fullmatch(part.strip())
        if match is None:
            raise ValueError(f"{part!r} names no slices")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise ValueError(f"{part!r} ends before it begins")
        spans.append((first, last))
    return tuple(spans)
