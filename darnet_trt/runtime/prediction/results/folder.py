"""The folder that `predict` writes into: `results.jsonl`, a line a scan, and `results.csv`.

Each line is written whole and at once: a run that is interrupted, or fills the disk, keeps every
scan that it finished, and a resumed run continues there. A scan's new result replaces its old one;
both lines stand until the run ends, so that there always is one. The CSV has the same content,
flat, and is written when the run ends, also when it is interrupted.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
from collections.abc import Collection, Iterable
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from darnet_trt.errors import UsageError
from darnet_trt.machine.files import cannot_write, sole_writer, whole_file
from darnet_trt.runtime.prediction.results.result import SCHEMA_VERSION, Result, json_line
from darnet_trt.scan.discovery import OVERLAY_SUFFIX

JSONL: Final = "results.jsonl"
CSV: Final = "results.csv"

# A spreadsheet takes a cell that begins so for a formula; DICOM text may hold anything.
_FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r")

_Key = tuple[str, str]


class ResultFolder:
    """An output folder that is open for results; use it in a `with` statement.

    Args:
        folder: Made where absent.
        resume: Keep the results already in it, each until the same scan has a new one. Without
            it a folder that has results is refused.
        asked: The files and folders that this run classifies. A scan in them that was refused or
            failed before and is not met again is dropped when the run ends uninterrupted.

    Raises:
        UsageError: The folder already has results, holds lines that are no results, or another
            process is writing into it.
        OutputError: It cannot be written.
    """

    def __init__(self, folder: Path, *, resume: bool, asked: Iterable[Path] = ()) -> None:
        self.folder = folder
        self._results: dict[_Key, Result] = {}
        self._not_ok_before: set[_Key] = set()
        self._asked = [os.path.abspath(place) for place in asked]  # noqa: PTH100 (as a result's)
        self._replaced = False
        with ExitStack() as opened:
            opened.enter_context(sole_writer(folder))
            try:
                self._open(folder / JSONL, resume)
            except OSError as error:
                raise cannot_write(folder, error) from error
            self._opened = opened.pop_all()

    def _open(self, lines: Path, resume: bool) -> None:
        if lines.exists():
            if not resume:
                raise UsageError(
                    "already holds results",
                    where=self.folder,
                    do="add --resume to continue that run, or choose another folder",
                )
            for known in _read(lines):
                self._keep(known)
            self._not_ok_before = {k for k, r in self._results.items() if r.status != "ok"}
            self._rewrite()
        self._file = lines.open("ab", buffering=0)

    def finished(self, bundle: str, artifact: str) -> frozenset[tuple[str, str]]:
        """Return (scan, study_uid) of the scans that this engine of this bundle classified."""
        return frozenset(
            key
            for key, r in self._results.items()
            if (r.bundle, r.artifact, r.status) == (bundle, artifact, "ok")
        )

    def add(self, result: Result) -> str:
        """Append a result, on disk when this returns; return its line.

        Raises:
            OutputError: The disk is full; no part of the line stays behind.
        """
        text = json_line(result)
        line = text.encode()
        end = self._file.seek(0, os.SEEK_END)
        try:
            written = self._file.write(line)
            while written < len(line):  # a full disk takes a part first, and fails then
                written += self._file.write(line[written:])
        except OSError as error:
            with suppress(OSError):
                self._file.truncate(end)
            raise cannot_write(self.folder / JSONL, error) from error
        replaced = self._keep(result.model_copy(update={"evidence": None}))  # arrays of megabytes
        if replaced and result.overlay is None:
            with suppress(OSError):  # there need not be one
                (self.folder / overlay_name(result)).unlink()
        return text

    def _keep(self, new: Result) -> bool:
        """Put a result last; return whether it replaces one."""
        key = (new.scan, new.study_uid)
        replaces = self._results.pop(key, None) is not None
        self._results[key] = new
        self._not_ok_before.discard(key)
        self._replaced = self._replaced or replaces
        return replaces

    def _drop_what_is_gone(self) -> None:
        """Drop scans that were refused or failed before and not met again: moved or mended."""
        for key in self._not_ok_before:
            if any(Path(key[0]).is_relative_to(place) for place in self._asked):
                del self._results[key]
                self._replaced = True

    def _rewrite(self) -> None:
        """Write the lines of the results that stand, and no others."""
        with whole_file(self.folder / JSONL) as file:
            file.writelines(json_line(r).encode() for r in self._results.values())
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
                self._drop_what_is_gone()
            if self._results:
                if self._replaced:
                    self._rewrite()
                with whole_file(self.folder / CSV) as file:
                    file.write(_as_csv(self._results.values()))
            else:  # no results: leave nothing behind
                with suppress(OSError):
                    (self.folder / JSONL).unlink()


def _read(file: Path) -> list[Result]:
    """Read a results file; leave out a last line that was cut off."""
    found = []
    *lines, rest = file.read_bytes().split(b"\n")
    for number, line in enumerate([*lines, rest], 1):
        try:
            # pydantic's own parser refuses paths that are not UTF-8
            found.append(Result.model_validate(json.loads(line)))
        except (ValueError, RecursionError) as error:  # of JSON, or of pydantic
            if number == len(lines) + 1:
                break
            raise UsageError(
                f"line {number} is not a result that this version reads (schema {SCHEMA_VERSION})",
                where=file,
                do="choose another folder",
            ) from error
    return found


def _as_csv(results: Collection[Result]) -> bytes:
    classes = list(dict.fromkeys(name for r in results for name in r.probabilities))
    rows = [_flat(r, classes) for r in results]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode("utf-8", "backslashreplace")  # names may be no UTF-8


def _flat(result: Result, classes: list[str]) -> dict[str, Any]:
    r = result.model_dump(by_alias=True)
    series = r["series"] or {}
    spacing = series.get("spacing_mm") or (None, None, None)
    row = {
        **{k: r[k] for k in ("scan", "study_uid", "status", "class")},
        **{f"probability_{name}": r["probabilities"].get(name) for name in classes},
        "reason": r["reason"],
        "code": r["code"],
        "warnings": "; ".join(result.warnings),
        **{f"series_{k}": series.get(k) for k in ("uid", "description", "why")},
        "slices": series.get("slices"),
        **{f"spacing_{axis}_mm": value for axis, value in zip("dhw", spacing, strict=True)},
        **{f"{stage}_ms": value for stage, value in r["stages_ms"].items()},
        **{k: r[k] for k in ("artifact", "precision", "bundle", "trained_on", "overlay")},
        **{k: r[k] for k in ("intended_use", "toolkit")},
    }
    return {column: _harmless(value) for column, value in row.items()}


def _harmless(value: object) -> object:
    if isinstance(value, str) and value.startswith(_FORMULA_STARTS):
        return f"'{value}"
    return value


def scan_name(scan: str) -> str:
    """Return the last two parts of a scan's path: the last one alone is often only a number."""
    return "/".join(part for part in Path(scan).parts[-2:] if part != os.sep)


def overlay_name(result: Result) -> str:
    """Return the file name of a scan's overlay: readable, and different for each scan."""
    shown = scan_name(result.scan)[-60:]
    readable = "".join(c if c.isascii() and c.isalnum() else "-" for c in shown)
    key = hashlib.sha256(f"{result.scan}\0{result.study_uid}".encode("utf-8", "surrogateescape"))
    return f"{readable.strip('-') or 'scan'}-{key.hexdigest()[:8]}{OVERLAY_SUFFIX}"
