"""The folder that `predict` writes into: `results.jsonl`, a line a study, and the tables.

Each line is written whole and at once: a run that is interrupted, or fills the disk, keeps every
study that it finished, and a resumed run continues there. A study's new result replaces its old
one; both lines stand until the run ends, so that there always is one. The tables have the same
content, flat, and are written when the run ends, also when it is interrupted.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self

from darnet_trt.errors import DarnetError, OutputError, UsageError
from darnet_trt.machine.files import (
    cannot_write,
    keep_names,
    opener,
    remove_left_over,
    sole_writer,
    whole_file,
)
from darnet_trt.runtime.prediction.history.index import INDEX
from darnet_trt.runtime.prediction.results.lines import JSONL, Lines, open_lines, parsed
from darnet_trt.runtime.prediction.results.objects import (
    named,
    remove_objects,
    write_objects,
    written,
)
from darnet_trt.runtime.prediction.results.pseudonyms import Pseudonyms
from darnet_trt.runtime.prediction.results.result import Result, json_line
from darnet_trt.runtime.prediction.results.standing import Standing
from darnet_trt.runtime.prediction.results.tables import (
    CSV,
    PARQUET,
    need_pyarrow,
    write_csv,
    write_parquet,
)
from darnet_trt.scan.discovery import OVERLAY_SUFFIX

_BOM: Final = b"\xef\xbb\xbf"

_OVERLAY: Final = re.compile(rf"[A-Za-z0-9]_[0-9a-f]{{8}}{re.escape(OVERLAY_SUFFIX)}$")
"""How the names of our overlays end."""


class ResultFolder:
    """An output folder that is open for results; use it in a `with` statement.

    Args:
        folder: Made where absent.
        resume: Keep the results already in it, each until the same study has a new one. Without
            it a folder that has results is refused.
        durable: Have each result on the disk before `add` returns, so that a power cut keeps it.
            Without it a result survives the end of this process, however it ends.
        identifiers: Write the patient's fields as they are, into files that only their owner may
            read; False: write pseudonyms.
        pseudonym_key: The file of the pseudonyms' key; None: the user's own.
        parquet: Write `results.parquet`, too; a resumed folder that has one keeps it up to date.
        notify: Called with a line on what was repaired or is missing.

    Raises:
        UsageError: The folder already has results, holds lines that are no results, has patients'
            fields in the other form, or another process is writing into it.
        OutputError: It cannot be written.
        MissingPackageError: pyarrow is not installed, which Parquet needs.
    """

    def __init__(
        self,
        folder: Path,
        *,
        resume: bool = False,
        durable: bool = False,
        identifiers: bool = False,
        pseudonym_key: Path | None = None,
        parquet: bool = False,
        notify: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.folder = folder
        self._lines = folder / JSONL
        self._durable = durable
        self._identifiers = identifiers
        self._parquet = parquet or (resume and (folder / PARQUET).exists())
        self._notify = notify
        self._standing: dict[str, Standing] = {}
        self._classes: dict[str, None] = {}  # in the order in which they were met
        self._replaced = False
        if self._parquet:
            need_pyarrow()
        self._pseudonyms = None if identifiers else Pseudonyms(pseudonym_key, notify)
        with ExitStack() as opened:
            opened.enter_context(sole_writer(folder))
            try:
                self._open(resume)
            except OSError as error:
                raise cannot_write(self._lines, error) from error
            self._opened = opened.pop_all()

    def _open(self, resume: bool) -> None:
        remove_left_over(self.folder, _is_ours)
        present = os.path.lexists(self._lines)
        if present:
            with open_lines(self._lines) as old:
                if not resume and old.read(1):
                    raise UsageError(
                        "already holds results",
                        where=self.folder,
                        do="add --resume to continue that run, or choose another folder",
                    )
                lines = self._read(old)
        self._open_lines()
        try:
            if present:
                self._repair(lines)
            if self._identifiers:
                os.fchmod(self._file.fileno(), 0o600)
            if self._durable:
                os.fsync(self._file.fileno())
                keep_names(self.folder)
        except BaseException:
            self._file.close()
            raise

    def _read(self, old: BinaryIO) -> Lines:
        """Note the results that stand; remove files that a killed run wrote before their line."""
        objects = set(written(self.folder))
        kept: dict[str, list[str]] = {}
        overlays = set(filter(_OVERLAY.search, os.listdir(self.folder)))  # noqa: PTH208
        lines = Lines(old, self._lines)
        for result in lines:
            if result.pseudonymous is self._identifiers:
                held = "pseudonyms" if result.pseudonymous else "patients' identifiers"
                option = "without" if result.pseudonymous else "with"
                raise UsageError(
                    f"its results have {held}",
                    where=self.folder,
                    do=f"continue it {option} --identifiers, or choose another folder",
                )
            overlay = result.overlay if result.overlay in overlays else None
            gone = {each.kind for each in result.dicom if each.file not in objects}
            dicom = {each.kind for each in result.dicom} - gone
            place = lines.offset, lines.length
            self._keep(result, Standing.of(result, place, overlay=overlay, dicom=dicom))
            kept[result.key] = [each.file for each in result.dicom]
        remove_objects(self.folder, objects.difference(*kept.values()))
        if self._standing:
            for name in overlays - {standing.overlay for standing in self._standing.values()}:
                self._remove(name)
        return lines

    def _repair(self, lines: Lines) -> None:
        """Cut off what a killed run left of a line, and end the last one."""
        if lines.torn:
            self._file.truncate(lines.end)
            self._notify(f"warning: {self._lines}: cut off a last line that was not whole")
        if not lines.ended:
            self._file.write(b"\n")

    def key_check(self) -> str:
        """Return which key its pseudonyms come from; empty where there are none."""
        return self._pseudonyms.check() if self._pseudonyms else ""

    def standing(self, key: str) -> Standing | None:
        """Return the result that a study has, or None."""
        return self._standing.get(key)

    def result(self, key: str) -> Result | None:
        """Return the result that stands for a study, read from its line; None where none does.

        Raises:
            OutputError: The file was changed by another program.
        """
        standing = self._standing.get(key)
        return next(self._read_again((standing,))) if standing else None

    def add(self, result: Result) -> Result:
        """Append a result, in the file when this returns; return it as it was written.

        Its DICOM objects are written before its line, and those of the result that it replaces are
        removed after it.

        Raises:
            OutputError: The disk is full, or the folder was removed. No part of the line stays
                behind, and no object.
        """
        self._check_place()
        old = self.result(result.key)
        new = result.model_copy(
            update={
                "evidence": None,
                "made": (),
                "dicom": named(result),
                "replaces": old.content if old else None,
            }
        )
        if self._pseudonyms:
            new = self._pseudonyms.applied(new)
        line = json_line(new).encode()
        files, old_files = ({each.file for each in r.dicom} if r else set() for r in (new, old))
        try:
            write_objects(self.folder, new.dicom, result.made, durable=self._durable)
            offset = self._append(line)
        except (OSError, OutputError) as error:
            remove_objects(self.folder, files - old_files)
            if isinstance(error, OutputError):
                raise
            raise cannot_write(self._lines, error) from error
        replaced = self._standing.get(new.key)
        dicom = {each.kind for each in new.dicom}
        place = offset, len(line) - 1
        self._keep(new, Standing.of(new, place, overlay=new.overlay, dicom=dicom))
        remove_objects(self.folder, old_files - files)
        if replaced and replaced.overlay and replaced.overlay != new.overlay:
            self._remove(replaced.overlay)
        return new

    def _append(self, line: bytes) -> int:
        """Write a line at the end; return where it begins."""
        offset = os.fstat(self._file.fileno()).st_size
        try:
            written = self._file.write(line)
            while written < len(line):  # a full disk takes a part first, and fails then
                written += self._file.write(line[written:])
            if self._durable:
                os.fsync(self._file.fileno())
        except OSError:
            with suppress(OSError):
                self._file.truncate(offset)
            raise
        return offset

    def _check_place(self) -> None:
        """Check that the open file still has its name: what is written into another is lost.

        Raises:
            OutputError: It has not.
        """
        with suppress(OSError):
            if os.path.samestat(os.fstat(self._file.fileno()), self._lines.stat()):
                return
        raise self._changed()

    def _changed(self) -> OutputError:
        return OutputError(
            "was removed or changed by another program during the run",
            where=self._lines,
            do="start the same command again, with --resume where it still holds results",
        )

    def _keep(self, new: Result, standing: Standing) -> None:
        """Put a result last."""
        self._replaced |= self._standing.pop(new.key, None) is not None
        self._classes.update(dict.fromkeys(new.probabilities))
        self._standing[new.key] = standing

    def drop(self, keys: Iterable[str]) -> None:
        """Let results no longer stand; their lines go when the run ends."""
        for key in keys:
            result, old = self.result(key), self._standing.pop(key, None)
            if result is None or old is None:
                continue
            self._replaced = True
            remove_objects(self.folder, [each.file for each in result.dicom])
            if old.overlay:
                self._remove(old.overlay)

    def _remove(self, overlay: str) -> None:
        with suppress(OSError):  # a person may have removed it
            (self.folder / overlay).unlink()

    def __len__(self) -> int:
        """Return how many results stand."""
        return len(self._standing)

    def results(self) -> Iterator[Result]:
        """Yield the results that stand, read one at a time, in the order of their finish."""
        return self._read_again(tuple(self._standing.values()))

    def _read_again(self, standing: Iterable[Standing]) -> Iterator[Result]:
        for line in self._lines_of(standing):
            try:
                result = parsed(line)
            except (ValueError, RecursionError) as error:
                raise self._changed() from error
            yield result

    def _lines_of(self, standing: Iterable[Standing]) -> Iterator[bytes]:
        """Yield the lines of results, without their ends."""
        with open_lines(self._lines) as file:
            for each in standing:
                file.seek(each.offset)
                yield file.read(each.length).removeprefix(_BOM)

    def whole_file(self, name: str) -> AbstractContextManager[BinaryIO]:
        """Open another file of the folder, as private and as durable as the results."""
        return whole_file(self.folder / name, private=self._identifiers, durable=self._durable)

    def write_tables(self) -> None:
        """Write `results.csv`, and `results.parquet` where it is wanted.

        Raises:
            OutputError: They cannot be written; the old ones are kept.
        """
        with self.whole_file(CSV) as file:
            write_csv(file, self.results(), self._classes)
        if self._parquet:
            with self.whole_file(PARQUET) as file:
                write_parquet(file, self.results(), self._classes)

    def _tables_are_current(self) -> bool:
        """Return whether the tables were written after the last line: nothing is new."""
        lines = self._lines.stat().st_mtime_ns
        tables = (CSV, PARQUET) if self._parquet else (CSV,)
        with suppress(FileNotFoundError):
            return all((self.folder / name).stat().st_mtime_ns > lines for name in tables)
        return False

    def compact(self) -> None:
        """Leave only the lines that stand; for a run without an end.

        Raises:
            OutputError: The disk is full, or the folder was changed. No line that stands is lost.
        """
        self._check_place()
        self._rewrite()
        try:
            self._file.close()
        finally:
            self._open_lines()
        self._replaced = False

    def _open_lines(self) -> None:
        flags_of = opener(self._identifiers)
        self._file = open(  # noqa: SIM115 (closed in __exit__)
            self._lines, "ab", buffering=0, opener=flags_of
        )

    def _rewrite(self) -> None:
        """Write the lines of the results that stand, and no others."""
        places = {}
        with self.whole_file(JSONL) as file:
            lines = self._lines_of(self._standing.values())
            for key, line in zip(self._standing, lines, strict=True):
                places[key] = file.tell(), len(line)
                file.write(line + b"\n")
            file.flush()
            os.fsync(file.fileno())  # else a power cut could take what was long on the disk
        for key, (offset, length) in places.items():
            self._standing[key] = replace(self._standing[key], offset=offset, length=length)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._opened, closing(self._file):
            try:
                self._finish()
            except DarnetError:
                if not isinstance(error, OutputError):  # it says already what cannot be written
                    raise

    def _finish(self) -> None:
        """Write the tables, and leave only the lines that stand; without results leave nothing."""
        if self._standing:
            self._check_place()
        try:
            self._file.close()
        except OSError as error:  # a share reports here that its disk is full
            raise cannot_write(self._lines, error) from error
        if self._standing:
            if self._replaced:
                self._rewrite()
            if not self._tables_are_current():
                self.write_tables()
            return
        for name in (JSONL, INDEX, CSV, PARQUET) if self._replaced else (JSONL, INDEX):
            with suppress(OSError):
                (self.folder / name).unlink()


def _is_ours(name: str) -> bool:
    return name in (JSONL, CSV, PARQUET) or name.endswith(OVERLAY_SUFFIX)
