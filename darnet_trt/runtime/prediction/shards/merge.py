"""Join result folders, such as the shards of one run, into one."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from darnet_trt.errors import UsageError, no_such_path
from darnet_trt.machine.files import cannot_write, refuse_being_written, sole_writer, whole_file
from darnet_trt.runtime.prediction.results.lines import JSONL, read_results
from darnet_trt.runtime.prediction.results.objects import remove_objects, written
from darnet_trt.runtime.prediction.results.result import Result, json_line
from darnet_trt.runtime.prediction.results.tables import (
    CSV,
    PARQUET,
    need_pyarrow,
    write_csv,
    write_parquet,
)
from darnet_trt.runtime.prediction.shards.shard import Mark, Shard, named, read_mark

_RANK: Final = {"ok": 0, "refused": 1, "failed": 2}
_LISTED: Final = 3


@dataclass(frozen=True)
class Merged:
    """What was joined.

    Attributes:
        statuses: Status → how many results of the joined folder have it.
        repeated: Results that stood in several folders, and were taken once.
        missing: Shards of which there is no folder.
        unended: Shards whose run has not come to its end: what they have was taken.
    """

    statuses: Counter[str]
    repeated: int
    missing: tuple[Shard, ...]
    unended: tuple[Shard, ...]


@dataclass(frozen=True, slots=True)
class _Taken:
    """Which folder's result of a study is taken, and the files that it names."""

    folder: int
    content: str
    status: str
    files: tuple[str, ...]


@dataclass(frozen=True)
class _Choice:
    """The results that are taken.

    Attributes:
        folders: Where they lie.
        taken: Key → which one.
        classes: Of all results.
        private: Whether they name patients.
        repeated: How many were met again.
    """

    folders: Sequence[Path]
    taken: dict[str, _Taken]
    classes: tuple[str, ...]
    private: bool
    repeated: int

    def results(self, files: set[str]) -> Iterator[Result]:
        """Yield them, folder by folder; each names those of its files that are in `files`."""
        for index, folder in enumerate(self.folders):
            if not os.path.lexists(folder / JSONL):
                continue
            for result in read_results(folder):
                each = self.taken.get(result.key)  # none: written since
                if each is not None and each.folder == index:
                    overlay = result.overlay if result.overlay in files else None
                    dicom = tuple(one for one in result.dicom if one.file in files)
                    yield result.model_copy(update={"overlay": overlay, "dicom": dicom})


def merge(
    out: Path, folders: Sequence[Path], *, parquet: bool = False, again: bool = False
) -> Merged:
    """Join result folders into one, and leave them as they are.

    A study that has the same content in several is taken once. A result of a folder that is no
    shard stands in place of a shard's: so a study whose files lie in several shards is set right.
    `results.jsonl` appears last: before it does, nothing is joined.

    Args:
        out: The folder to write into; made where absent. Overlays and DICOM objects are linked, or
            copied.
        folders: Of runs with one engine of one bundle.
        parquet: Write `results.parquet`, too.
        again: Replace the results in `out`, which come from the same folders.

    Raises:
        UsageError: A folder holds no results, they do not belong together, studies have different
            contents in different shards, or `out` has results.
        OutputError: It cannot be written.
        MissingPackageError: pyarrow is not installed, which Parquet needs.
    """
    if parquet:
        need_pyarrow()
    folders, marks = _ordered(out, folders)
    missing, unended = _about_shards(folders, marks)
    choice = _choose(folders, marks)
    with sole_writer(out):
        if not again and os.path.lexists(out / JSONL):
            raise UsageError(
                "already holds results", where=out, do="remove it, or choose another folder"
            )
        _write(out, choice, parquet)
    statuses = Counter(each.status for each in choice.taken.values())
    return Merged(statuses, choice.repeated, missing, unended)


def _ordered(out: Path, folders: Sequence[Path]) -> tuple[list[Path], list[Mark | None]]:
    """Return each folder once, those that are no shards first; and their marks."""
    distinct: dict[str, Path] = {}
    for folder in folders:
        distinct.setdefault(os.path.realpath(folder), folder)
    if os.path.realpath(out) in distinct:
        raise UsageError("is to be joined itself", where=out, do="choose another folder for it")
    found = [(folder, read_mark(folder)) for folder in distinct.values()]
    found.sort(key=lambda each: each[1] is not None)
    return [folder for folder, _ in found], [mark for _, mark in found]


def _about_shards(
    folders: Sequence[Path], marks: Sequence[Mark | None]
) -> tuple[tuple[Shard, ...], tuple[Shard, ...]]:
    """Return the shards that are missing, and those whose run has not come to its end."""
    shards = {mark.shard: folder for folder, mark in zip(folders, marks, strict=True) if mark}
    numbers = sorted({of for _, of in shards})
    if len(numbers) > 1:
        first, second = (next(s for s in shards if s[1] == of) for of in numbers[:2])
        raise UsageError(
            f"holds shard {named(second)}, and {shards[first]} holds shard {named(first)}",
            where=shards[second],
            do="join shards of one division",
        )
    whole = [(number, of) for of in numbers for number in range(1, of + 1)]
    ended = {mark.shard for mark in marks if mark and mark.ended}
    missing = tuple(shard for shard in whole if shard not in shards)
    return missing, tuple(shard for shard in shards if shard not in ended)


def _choose(folders: Sequence[Path], marks: Sequence[Mark | None]) -> _Choice:
    """Return which results are taken."""
    taken: dict[str, _Taken] = {}
    classes: dict[str, None] = {}
    differing: list[str] = []
    repeated = 0
    first: tuple[Path, Result] | None = None
    for index, folder in enumerate(folders):
        for result in _results(folder, marks[index]):
            first = first or (folder, result)
            _check_alike(*first, folder, result)
            classes.update(dict.fromkeys(result.probabilities))
            old = taken.get(result.key)
            same = old is not None and old.content == result.content
            if old is None or (same and _RANK[result.status] < _RANK[old.status]):
                files = (*filter(None, [result.overlay]), *(one.file for one in result.dicom))
                taken[result.key] = _Taken(index, result.content, result.status, files)
            elif not same and (marks[old.folder] is None) == (marks[index] is None):
                differing.append(f"{result.scan} ({folders[old.folder]}, {folder})")
            repeated += old is not None
    if differing:
        raise _split(differing)
    if first is None:
        raise UsageError("holds no results, nor do the others", where=folders[0], do="run them")
    return _Choice(folders, taken, tuple(classes), not first[1].pseudonymous, repeated)


def _results(folder: Path, mark: Mark | None) -> Iterator[Result]:
    if not folder.is_dir():
        raise no_such_path(folder)
    refuse_being_written(folder)
    if mark is None or os.path.lexists(folder / JSONL):  # a shard may have nothing to classify
        yield from read_results(folder)


def _check_alike(first_folder: Path, first: Result, folder: Path, result: Result) -> None:
    """Check that two results may stand in one folder."""
    for what, one, other in (
        ("bundle", first.bundle_sha256[:12], result.bundle_sha256[:12]),
        ("engine", first.artifact, result.artifact),
    ):
        if one != other:
            raise UsageError(
                f"has results of {what} {other}, and {first_folder} of {what} {one}",
                where=folder,
                do="join results of one engine of one bundle",
            )
    if first.pseudonymous != result.pseudonymous:
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


def _write(out: Path, choice: _Choice, parquet: bool) -> None:
    """Write the joined folder: overlays and objects, tables, and last of all the lines."""
    brought: set[str] = set()
    files: set[str] = set()
    try:
        for each in choice.taken.values():
            for name in each.files:
                new = not os.path.lexists(out / name)  # else a result that stands in `out` has it
                if _bring(choice.folders[each.folder] / name, out / name):
                    files.add(name)
                    if new:
                        brought.add(name)
        with ExitStack() as opened:  # the last one that is opened gets its name first
            lines = opened.enter_context(whole_file(out / JSONL, private=choice.private))
            for result in choice.results(files):
                lines.write(json_line(result).encode())
            table = opened.enter_context(whole_file(out / CSV, private=choice.private))
            write_csv(table, choice.results(files), choice.classes)
            if parquet:
                table = opened.enter_context(whole_file(out / PARQUET, private=choice.private))
                write_parquet(table, choice.results(files), choice.classes)
    except BaseException:
        for name in brought:
            with suppress(OSError):
                (out / name).unlink()
        remove_objects(out, brought)
        raise
    remove_objects(out, set(written(out)) - files)  # of results that were joined before


def _bring(file: Path, place: Path) -> bool:
    """Link a file, or copy it; return whether there is one."""
    temporary = place.with_name(f".{place.name}.{os.getpid()}")
    try:
        place.parent.mkdir(0o700, parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            temporary.unlink()
        try:
            os.link(file, temporary)
        except OSError:  # on another file system, or on one without links
            shutil.copy(file, temporary)
        temporary.replace(place)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise cannot_write(place, error) from error
    finally:
        with suppress(OSError):  # `replace` leaves a second link to the same file alone
            temporary.unlink()
    return True
