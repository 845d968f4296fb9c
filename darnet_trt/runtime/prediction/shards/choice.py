"""Choose which results of several folders stand in the joined one."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from sys import intern
from typing import BinaryIO, Final

from darnet_trt.errors import OutputError, UsageError, no_such_path
from darnet_trt.machine.files import refuse_being_written
from darnet_trt.runtime.prediction.results.lines import JSONL, Lines, open_lines, parsed
from darnet_trt.runtime.prediction.results.result import Result
from darnet_trt.runtime.prediction.shards.shard import Mark

_RANK: Final = {"ok": 0, "refused": 1, "failed": 2}
_LISTED: Final = 3


@dataclass(frozen=True, slots=True)
class Line:
    """What is kept in memory of a result; its line is read again when it is written.

    Attributes:
        folder: Number of its folder.
        offset: Where its line begins, in bytes.
        files: Its overlay and DICOM objects.
    """

    folder: int
    offset: int
    scan: str
    content: str
    status: str
    files: tuple[str, ...]
    bundle: str
    engine: str
    pseudonymous: bool
    classes: tuple[str, ...]

    @classmethod
    def of(cls, result: Result, folder: int, offset: int) -> Line:
        """Keep a result."""
        return cls(
            folder,
            offset,
            result.scan,
            result.content,
            intern(result.status),
            (*filter(None, [result.overlay]), *(one.file for one in result.dicom)),
            intern(result.bundle_sha256[:12]),
            intern(result.artifact),
            result.pseudonymous,
            tuple(map(intern, result.probabilities)),
        )


@dataclass(frozen=True)
class Choice:
    """The results that are taken.

    Attributes:
        folders: Where they lie.
        taken: Key → which line.
        classes: Of all results.
        private: Whether they name patients.
        repeated: How many were met again.
    """

    folders: Sequence[Path]
    taken: dict[str, Line]
    classes: tuple[str, ...]
    private: bool
    repeated: int

    def results(self, files: set[str]) -> Iterator[Result]:
        """Yield them, folder by folder; each names those of its files that are in `files`.

        Raises:
            OutputError: A line is no longer there.
        """
        in_order = sorted(self.taken.items(), key=lambda item: (item[1].folder, item[1].offset))
        for number, own in groupby(in_order, key=lambda item: item[1].folder):
            path = self.folders[number] / JSONL
            with open_lines(path) as file:
                for key, line in own:
                    result = _reread(file, path, line)
                    overlay = result.overlay if result.overlay in files else None
                    dicom = tuple(one for one in result.dicom if one.file in files)
                    changes = {"key": key, "overlay": overlay, "dicom": dicom}
                    yield result.model_copy(update=changes)


def choose(folders: Sequence[Path], marks: Sequence[Mark | None]) -> Choice:
    """Return which results are taken."""
    taken: dict[str, Line] = {}
    classes: dict[str, None] = {}
    differing: list[str] = []
    repeated = 0
    first: Line | None = None
    for index, folder in enumerate(folders):
        for key, line in _standing(folder, index, marks[index]).items():
            first = first or line
            _check_alike(folders[first.folder], first, folder, line)
            classes.update(dict.fromkeys(line.classes))
            old = taken.get(key)
            if old and old.content != line.content:
                if marks[old.folder] is None and marks[index] is not None:
                    repeated += 1
                    continue
                if not key.startswith("path:"):
                    differing.append(f"{line.scan} ({folders[old.folder]}, {folder})")
                    continue
                key = _key_of_both(key, line.content)
                old = taken.get(key)
            if old is None or _RANK[line.status] < _RANK[old.status]:
                taken[key] = line
            repeated += old is not None
    if differing:
        raise _split(differing)
    if first is None:
        raise UsageError("holds no results, nor do the others", where=folders[0], do="run them")
    return Choice(folders, taken, tuple(classes), not first.pseudonymous, repeated)


def _key_of_both(key: str, content: str) -> str:
    """Return a key for what cannot be read and lies at the same place below another folder."""
    return f"path:{hashlib.sha256(f'{key} {content}'.encode()).hexdigest()[:32]}"


def _standing(folder: Path, index: int, mark: Mark | None) -> dict[str, Line]:
    """Return the newest line of each study of a folder."""
    if not folder.is_dir():
        raise no_such_path(folder)
    refuse_being_written(folder)
    path = folder / JSONL
    if not os.path.lexists(path):
        if mark is None:
            raise UsageError("holds no results", where=folder, do="name what predict wrote")
        return {}  # a shard may have nothing to classify
    with open_lines(path) as file:
        lines = Lines(file, path)
        return {result.key: Line.of(result, index, lines.offset) for result in lines}


def _reread(file: BinaryIO, path: Path, line: Line) -> Result:
    """Return the result of a line.

    Raises:
        OutputError: It is no longer there.
    """
    try:
        file.seek(line.offset)
        result = parsed(file.readline())
        if (result.scan, result.content) == (line.scan, line.content):
            return result
        reason: Exception | None = None
    except (OSError, ValueError, RecursionError) as error:
        reason = error
    raise OutputError(
        "was changed by another program while it was joined", where=path, do="join again"
    ) from reason


def _check_alike(first_folder: Path, first: Line, folder: Path, line: Line) -> None:
    """Check that two results may stand in one folder."""
    for what, one, other in (
        ("bundle", first.bundle, line.bundle),
        ("engine", first.engine, line.engine),
    ):
        if one != other:
            raise UsageError(
                f"has results of {what} {other}, and {first_folder} of {what} {one}",
                where=folder,
                do="join results of one engine of one bundle",
            )
    if first.pseudonymous != line.pseudonymous:
        clear, hidden = (folder, first_folder) if first.pseudonymous else (first_folder, folder)
        raise UsageError(
            f"has patients' identifiers, and {hidden} has pseudonyms",
            where=clear,
            do="run all shards with --identifiers, or all without",
        )


def _split(differing: Sequence[str]) -> UsageError:
    more = f" and {len(differing) - _LISTED} more" if len(differing) > _LISTED else ""
    count = f"{len(differing)} {'studies have' if len(differing) > 1 else 'study has'}"
    return UsageError(
        f"{count} other files in one shard than in another: {', '.join(differing[:_LISTED])}{more}",
        do="classify each once more with all its folders, without --shard, into a folder of its "
        "own, and join that, too: its results stand in place of the shards'",
    )
