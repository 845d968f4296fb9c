"""Walk through a folder: give every regular file once, and tell what else is there."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from darnet_trt.errors import Finding, UnreadableScanError, cannot_open
from darnet_trt.scan.discovery.kinds import OVERLAY_SUFFIX, promise

Fail = Callable[[UnreadableScanError], None]
Ignore = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Listed:
    """A file as its folder lists it.

    Attributes:
        path: Absolute.
        size: In bytes.
        mtime_ns: When it was changed last, in nanoseconds.
    """

    path: Path
    size: int
    mtime_ns: int


@dataclass(frozen=True)
class Listing:
    """The files of one folder, or some of a large folder's.

    Attributes:
        folder: Absolute; where a file was named itself, that file.
        files: In the order of their names.
        last: Whether no more of this folder follows.
        ignored: Kind → how many were ignored for their name or kind.
        failed: What is wrong with each entry, or with the folder, that cannot be opened.
    """

    folder: Path
    files: tuple[Listed, ...] = field(repr=False)
    last: bool = True
    ignored: Counter[str] = field(default_factory=Counter)
    failed: tuple[UnreadableScanError, ...] = ()


def walk(root: Path, ignore: Ignore, fail: Fail) -> Iterator[Path]:
    """Yield every regular file below a folder, in order; links are followed.

    Args:
        root: The folder.
        ignore: Called with the kind of each file and folder that is ignored.
        fail: Called with the error for each that cannot be opened.
    """
    seen: set[tuple[int, int]] = set()
    folders = [root]
    while folders:
        folder = folders.pop()
        try:
            entered = os.stat(os.path.join(folder, "."))  # noqa: PTH116, PTH118 (drops the dot)
            place = (entered.st_dev, entered.st_ino)
            if place in seen:  # a circle of links, or a second link
                continue
            seen.add(place)
            with os.scandir(folder) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except OSError as error:
            fail(cannot_open(folder, error))
            continue
        below = []
        for entry in entries:
            path = folder / entry.name
            if (kind := ignored_by_name(entry.name)) is not None:
                ignore(kind)
            elif _is_folder(entry):
                below.append(path)
            elif _is_regular(path, entry, ignore, fail):
                yield path
        folders += reversed(below)


def ignored_by_name(name: str) -> str | None:
    """Return the kind of a file or folder that is ignored for its name; None where it is not."""
    if name.startswith("."):
        return "hidden"
    return "result picture" if name.lower().endswith(OVERLAY_SUFFIX) else None


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a circle of links
        return False


def _is_regular(path: Path, entry: os.DirEntry[str], ignore: Ignore, fail: Fail) -> bool:
    """Return whether this is a file that can be opened; tell what it is otherwise."""
    try:
        if entry.is_file():
            return True
        mode = entry.stat().st_mode
    except OSError as error:  # a link to nothing
        if promise(path):
            fail(cannot_open(path, error))
        else:
            ignore("broken link")
        return False
    if promise(path) and not stat.S_ISREG(mode):
        fail(neither_file_nor_folder(path))
    else:
        ignore("pipe or device")
    return False


def neither_file_nor_folder(path: Path) -> UnreadableScanError:
    """Return the error for a pipe, socket or device; opening one could wait for ever."""
    finding = Finding("not-a-file", "is neither a file nor a folder")
    return UnreadableScanError(finding, where=path, do="name a file or folder")
