"""Join result folders, such as the shards of one run, into one."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from darnet_trt.errors import UsageError
from darnet_trt.machine.files import cannot_write, sole_writer, whole_file
from darnet_trt.runtime.prediction.results.lines import JSONL
from darnet_trt.runtime.prediction.results.objects import remove_objects, written
from darnet_trt.runtime.prediction.results.result import Result, json_line
from darnet_trt.runtime.prediction.results.tables import (
    CSV,
    PARQUET,
    need_pyarrow,
    write_csv,
    write_parquet,
)
from darnet_trt.runtime.prediction.shards.choice import Choice, choose
from darnet_trt.runtime.prediction.shards.shard import Mark, Shard, named, read_mark


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
    choice = choose(folders, marks)
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
    keys = {mark.key: folder for folder, mark in zip(folders, marks, strict=True) if mark}
    keys.pop("", None)
    if len(keys) > 1:
        one, other = tuple(keys.values())[:2]
        raise UsageError(
            f"has pseudonyms of another key than {one}: one patient would have several",
            where=other,
            do="run it again into an empty folder, with the --pseudonym-key of the others",
        )
    whole = [(number, of) for of in numbers for number in range(1, of + 1)]
    ended = {mark.shard for mark in marks if mark and mark.ended}
    missing = tuple(shard for shard in whole if shard not in shards)
    return missing, tuple(shard for shard in shards if shard not in ended)


def _write(out: Path, choice: Choice, parquet: bool) -> None:
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
            table = opened.enter_context(whole_file(out / CSV, private=choice.private))
            results = (_written(lines, result) for result in choice.results(files))
            write_csv(table, results, choice.classes)
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


def _written(lines: BinaryIO, result: Result) -> Result:
    lines.write(json_line(result).encode())
    return result


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
