"""Where a search begins, which folder its results are named by, and which part a shard takes."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from darnet_trt.errors import counted
from darnet_trt.scan.cohorts import orders_slices, read_cohort
from darnet_trt.scan.discovery.distinct import distinct_paths
from darnet_trt.scan.discovery.walk import ignored_by_name


@dataclass(frozen=True)
class Place:
    """A file, a folder or a zip archive to search.

    Attributes:
        path: What is searched; absolute.
        root: The folder that was given, or that holds the file or the table that was given;
            absolute. Names of scans are relative to it.
        only: The folders whose files are searched, relative to the path, in order, and nothing
            below them; None: all.
        part: Whether it is what a shard takes of a folder: that no scan lies in it says nothing.
        among: What tells the root from others that were given; empty where it is the only one.
        slices: Names of the pictures in this folder that make up its scan, in their true order,
            where a cohort says so; (): as their names say.
    """

    path: Path
    root: Path
    only: tuple[str, ...] | None = None
    part: bool = False
    among: str = ""
    slices: tuple[str, ...] = field(default=(), repr=False)

    @classmethod
    def given(cls, path: Path) -> Place:
        """Return the place that a person gave."""
        absolute = _absolute(path)
        is_folder = os.path.isdir(absolute)  # noqa: PTH112 (never fails)
        return cls(absolute, absolute if is_folder else absolute.parent)

    def name(self, scan: Path) -> str:
        """Return a scan's path relative to the root; of the root itself its last part."""
        relative = os.path.relpath(scan, self.root)
        return self.root.name if relative == os.curdir else relative


def told_apart(found: Iterable[Place]) -> list[Place]:
    """Return places with what tells their roots apart: a name, or the path where names repeat."""
    listed = list(found)
    roots = {place.root for place in listed}
    if len(roots) == 1:
        return listed
    names = Counter(root.name for root in roots)
    marks = {root: root.name if names[root.name] == 1 else str(root) for root in roots}
    return [replace(place, among=marks[place.root]) for place in listed]


def places(
    paths: Iterable[Path],
    shard: tuple[int, int] | None = None,
    *,
    tell: Callable[[str], None] = lambda line: None,
) -> list[Place]:
    """Return the places to search, each once.

    Args:
        paths: Files, folders and zip archives. Of a cohort each scan is a place, also one that does
            not exist: of a table or a split file (.csv, .json), and of a folder whose cohort orders
            the slices of its scans.
        shard: (3, 16) takes the third of sixteen parts. The parts have nothing in common, and
            together are the whole. A place's part follows from its path relative to what was given
            and from nothing else, so that every machine divides alike, wherever the files are
            mounted. A folder goes into one part as a whole, with all series of a study, unless the
            first files lie two levels or more below it. The folder that was given is always
            divided.
        tell: Called with a line on each cohort that orders slices, and on what is missing of it.

    Raises:
        UsageError: A table or a file that is no cohort.
    """
    given: dict[Path, Place] = {}
    of_tables: set[Path] = set()
    for path in paths:
        if not _is_cohort(path):
            given.setdefault(path, Place.given(path))
            continue
        cohort = read_cohort(path, ())
        ordered = sum(bool(entry.slices) for entry in cohort.entries)
        if ordered or cohort.table.is_dir():
            scans = counted(len(cohort.entries), "scan")
            tell(f"{path}: {scans} of this cohort, which orders the slices of {ordered}")
            for note in cohort.notes:
                tell(note)
        for entry in cohort.entries:
            only = (os.curdir,) if entry.slices else None
            root = _absolute(cohort.root)
            place = Place(_absolute(entry.scan), root, only, slices=entry.slices)
            if given.setdefault(entry.scan, place) is place:
                of_tables.add(entry.scan)
    distinct = distinct_paths(given)
    whole = dict(zip(distinct, told_apart(given[path] for path in distinct), strict=True))
    if shard is None:
        return list(whole.values())
    number, of = shard
    return [
        part
        for path, place in whole.items()
        for part in ([place] if path in of_tables else _parts(place))
        if _hash(part) % of == number - 1
    ]


def _is_cohort(path: Path) -> bool:
    if os.path.isdir(path):  # noqa: PTH112 (never fails)
        return orders_slices(path)
    suffix = path.suffix.lower()
    return suffix in (".csv", ".json") and os.path.isfile(path)  # noqa: PTH113 (never fails)


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(path))  # noqa: PTH100 (keeps links, resolves "..")


def _hash(place: Place) -> int:
    """Return a number of 64 bits that follows from the place's path relative to its root."""
    name = os.fsencode(os.path.relpath(place.path, place.root))
    return int.from_bytes(hashlib.sha256(name).digest()[:8], "big")


def _parts(place: Place) -> Iterator[Place]:
    """Yield what a place is divided into, in the order of a walk; reads no file.

    Looks into the folders down to the first that hold files, and no deeper.
    """
    if not os.path.isdir(place.path):  # noqa: PTH112 (never fails)
        yield place
        return
    seen: set[tuple[int, int]] = set()
    folders = [place.path]
    while folders:
        folder = folders.pop()
        try:
            entered = folder.stat()
            if (entered.st_dev, entered.st_ino) in seen:  # a circle of links, or a second link
                continue
            seen.add((entered.st_dev, entered.st_ino))
            below, holds_files = _look_into(folder)
        except OSError:  # the walk will say what is wrong with it
            yield replace(place, path=folder, part=True)
            continue
        if folder == place.path:
            if holds_files:
                yield replace(place, path=folder, only=(os.curdir,), part=True)
            folders += reversed(below)
        elif below and not holds_files and not any(map(_holds_files, below)):
            folders += reversed(below)
        else:
            yield replace(place, path=folder, part=True)


def _look_into(folder: Path) -> tuple[list[Path], bool]:
    """Return the folders in a folder, in order, and whether it holds anything else.

    Raises:
        OSError: It cannot be opened.
    """
    with os.scandir(folder) as listing:
        entries = [entry for entry in listing if ignored_by_name(entry.name) is None]
    below = sorted(entry.name for entry in entries if _is_folder(entry))
    return [folder / name for name in below], len(below) < len(entries)


def _holds_files(folder: Path) -> bool:
    """Return whether a folder holds anything but folders, or cannot be opened."""
    try:
        with os.scandir(folder) as listing:
            return any(ignored_by_name(e.name) is None and not _is_folder(e) for e in listing)
    except OSError:
        return True


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a circle of links
        return False
