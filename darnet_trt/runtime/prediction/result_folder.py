"""The folder `predict` writes into: `results.jsonl` grows a line a scan, `results.csv` ends it.

A line is written whole and at once, so that a run that is interrupted, or fills the disk, keeps
every scan it finished; a resumed run goes on from there. A new result for a scan that has one
replaces it: both lines stand until the run ends, so that there always is one. The CSV has the same
content, flat, and is written when the run ends, also when it is interrupted.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from darnet_trt.errors import UsageError
from darnet_trt.machine.files import cannot_write, sole_writer, whole_file
from darnet_trt.runtime.prediction.results import Result, json_line, record
from darnet_trt.scan.discovery import OVERLAY_SUFFIX

__all__ = ["ResultFolder", "overlay_name"]

_JSONL: Final = "results.jsonl"
_CSV: Final = "results.csv"

# A spreadsheet takes a cell that begins so for a formula, and DICOM text is not ours.
_FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r")

_Key = tuple[str, str]


class ResultFolder:
    """An output folder that is open for results; use it in a `with` statement.

    Args:
        folder: Made where absent.
        resume: Keep the results already in it, each until the same scan has a new one. Without
            it a folder that has results is refused.
        asked: The files and folders that this run goes through. What was refused or failed in
            them before, and does not come again, is dropped when the run ends uninterrupted.

    Raises:
        UsageError: The folder already has results, its results are not ours, or another process
            is writing into it.
        OutputError: It cannot be written.
    """

    def __init__(self, folder: Path, *, resume: bool, asked: Iterable[Path] = ()) -> None:
        self.folder = folder
        self._records: dict[_Key, dict[str, Any]] = {}
        self._not_ok_before: set[_Key] = set()
        self._asked = [os.path.abspath(place) for place in asked]  # noqa: PTH100 (as a result's)
        self._replaced = False
        with ExitStack() as opened:
            opened.enter_context(sole_writer(folder))
            try:
                self._open(folder / _JSONL, resume)
            except OSError as error:
                raise cannot_write(folder, error) from error
            self._opened = opened.pop_all()

    def _open(self, lines: Path, resume: bool) -> None:
        if lines.exists():
            if not resume:
                raise UsageError(
                    "it already holds results",
                    where=self.folder,
                    do="add --resume to go on with them, or choose another folder",
                )
            for known in _read(lines):
                self._keep(known)
            self._not_ok_before = {k for k, r in self._records.items() if r["status"] != "ok"}
            self._rewrite()
        self._file = lines.open("ab", buffering=0)

    def finished(self, bundle: str, artifact: str) -> frozenset[tuple[str, str]]:
        """(scan, study_uid) of what this engine of this bundle classified."""
        return frozenset(
            key
            for key, r in self._records.items()
            if (r["bundle"], r["artifact"]) == (bundle, artifact) and r["status"] == "ok"
        )

    def add(self, result: Result) -> None:
        """Append a result, on disk when this returns.

        Raises:
            OutputError: The disk is full; no part of the line stays behind.
        """
        line = json_line(result).encode()
        end = self._file.seek(0, os.SEEK_END)
        try:
            written = self._file.write(line)
            while written < len(line):  # a full disk takes a part first, and fails then
                written += self._file.write(line[written:])
        except OSError as error:
            with suppress(OSError):
                self._file.truncate(end)
            raise cannot_write(self.folder / _JSONL, error) from error
        old = self._keep(record(result))
        if old is not None and result.overlay is None:
            with suppress(OSError):  # there need not be one
                (self.folder / overlay_name(result)).unlink()

    def _keep(self, new: dict[str, Any]) -> dict[str, Any] | None:
        """Put it last; gives back what it replaces."""
        key = _key(new)
        old = self._records.pop(key, None)
        self._records[key] = new
        self._not_ok_before.discard(key)
        self._replaced = self._replaced or old is not None
        return old

    def _drop_what_was_tried_again(self) -> None:
        """What was not classified before and was not met again: mended, moved or gone."""
        for key in self._not_ok_before:
            if any(Path(key[0]).is_relative_to(place) for place in self._asked):
                del self._records[key]
                self._replaced = True

    def _rewrite(self) -> None:
        """The lines of the results that stand, and no others."""
        with whole_file(self.folder / _JSONL) as file:
            file.writelines(json.dumps(r).encode() + b"\n" for r in self._records.values())
        self._replaced = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._opened:
            self._file.close()
            if kind is None:
                self._drop_what_was_tried_again()
            if self._records:
                if self._replaced:
                    self._rewrite()
                with whole_file(self.folder / _CSV) as file:
                    file.write(_as_csv(list(self._records.values())))
            else:  # nothing came out: leave nothing behind
                with suppress(OSError):
                    (self.folder / _JSONL).unlink()


def _key(r: dict[str, Any]) -> _Key:
    return r["scan"], r["study_uid"]


def _read(file: Path) -> list[dict[str, Any]]:
    """The records of a results file; a last line that was cut off is left out."""
    found = []
    *lines, rest = file.read_bytes().split(b"\n")
    for number, line in enumerate([*lines, rest], 1):
        try:
            content = json.loads(line)
            _ = _flat(content, ["any class"]), hash(_key(content))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            if number == len(lines) + 1:
                break
            raise UsageError(
                f"line {number} is not a result of predict", where=file, do="choose another folder"
            ) from error
        found.append(content)
    return found


def _as_csv(records: list[dict[str, Any]]) -> bytes:
    classes = list(dict.fromkeys(name for r in records for name in r["probabilities"]))
    rows = [_flat(r, classes) for r in records]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode("utf-8", "backslashreplace")  # names may be no UTF-8


def _flat(r: dict[str, Any], classes: list[str]) -> dict[str, Any]:
    series = r["series"] or {}
    spacing = series.get("spacing_mm") or (None, None, None)
    row = {
        "scan": r["scan"],
        "study_uid": r["study_uid"],
        "status": r["status"],
        "class": r["class"],
        **{f"probability_{name}": r["probabilities"].get(name) for name in classes},
        "reason": r["reason"],
        "warnings": "; ".join(r["warnings"]),
        "series_uid": series.get("uid"),
        "series_description": series.get("description"),
        "series_why": series.get("why"),
        "slices": series.get("slices"),
        **{f"spacing_{axis}_mm": value for axis, value in zip("dhw", spacing, strict=True)},
        **{f"{stage}_ms": value for stage, value in r["stages_ms"].items()},
        **{k: r[k] for k in ("artifact", "precision", "bundle", "trained_on", "overlay")},
        "intended_use": r["intended_use"],
        "toolkit": r["toolkit"],
    }
    return {column: _harmless(value) for column, value in row.items()}


def _harmless(value: object) -> object:
    if isinstance(value, str) and value.startswith(_FORMULA_STARTS):
        return f"'{value}"
    return value


def overlay_name(result: Result) -> str:
    """File name for a scan's overlay: readable, and the same again for the same scan only."""
    readable = "".join(c if c.isascii() and c.isalnum() else "-" for c in Path(result.scan).name)
    key = hashlib.sha256(f"{result.scan}\0{result.study_uid}".encode("utf-8", "surrogateescape"))
    return f"{readable[:60].strip('-') or 'scan'}-{key.hexdigest()[:8]}{OVERLAY_SUFFIX}"
