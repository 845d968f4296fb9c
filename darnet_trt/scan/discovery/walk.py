"""Walk through a place folder by folder: list its files, and tell what else is there."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from darnet_trt.errors import Finding, UnreadableScanError, cannot_open, no_such_path
from darnet_trt.machine.archives import archive_of, open_archive
from darnet_trt.scan.discovery.kinds import OBJECTS_SUFFIX, OVERLAY_SUFFIX, promise

if TYPE_CHECKING:
    from darnet_trt.scan.discovery.places import Place

PIECE: Final = 2000
"""Files: of a larger folder come several listings."""
PIECE_BYTES: Final = 1 << 30
"""The same, lest many archives or volume files are looked at at once. Judgement."""


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
        folder: Absolute. Where a file was named itself, that file; where a part of an archive was,
            that part, and `files` has the archive.
        files: In the order of their names.
        last: Whether no more of this folder follows.
        ignored: Kind → how many were ignored for their name or kind.
        failed: What is wrong with each entry, or with the folder, that cannot be opened.
        root: Of the place; absolute.
        slices: Of the place.
    """

    folder: Path
    files: tuple[Listed, ...] = field(repr=False)
    last: bool = True
    ignored: Counter[str] = field(default_factory=Counter)
    failed: tuple[UnreadableScanError, ...] = ()
    root: Path = Path("/")
    slices: tuple[str, ...] = field(default=(), repr=False)

    @property
    def named(self) -> bool:
        """Return whether this is a file, or a part of an archive, that was named itself."""
        return len(self.files) == 1 and (
            self.files[0].path == self.folder or self.files[0].path in self.folder.parents
        )


def listings(place: Place) -> Iterator[Listing]:
    """List a place's files folder by folder, in the order of the names; links are followed.

    A folder that is reached twice is listed once. What cannot be opened is in `Listing.failed`:
    of a folder that has gone with all that lies in it, only that folder. Folders without files
    give nothing, unless something in them failed or was ignored.

    Raises:
        UsageError: There is no such place.
    """
    path = place.path
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError) as error:
        try:
            archive = archive_of(path)
            if archive is None or not open_archive(archive).has(path.relative_to(archive)):
                raise no_such_path(path) from error
            yield Listing(path, (_listed(archive, archive.stat()),), root=place.root)
        except OSError as broken:
            yield _failed(place, cannot_open(path, broken))
        except UnreadableScanError as broken:
            yield _failed(place, broken)
        return
    except OSError as error:  # in a folder that may not be looked into, or a loop of links
        yield _failed(place, cannot_open(path, error))
        return
    if stat.S_ISDIR(status.st_mode):
        yield from _walk(place)
    elif stat.S_ISREG(status.st_mode):
        yield Listing(path, (_listed(path, status),), root=place.root)
    else:
        yield _failed(place, neither_file_nor_folder(path))


def _failed(place: Place, error: UnreadableScanError, folder: Path | None = None) -> Listing:
    return Listing(folder or place.path, (), failed=(error,), root=place.root)


def _listed(path: Path, status: os.stat_result) -> Listed:
    return Listed(path, status.st_size, status.st_mtime_ns)


def _walk(place: Place) -> Iterator[Listing]:
    seen = _above(place)
    # folder, names in it, last first
    waiting = [(place.path, ["."] if place.only is None else list(place.only[::-1]))]
    while waiting:
        above, names = waiting[-1]
        if not names:
            waiting.pop()
            continue
        folder = above / names.pop()
        try:
            entered = os.stat(os.path.join(folder, "."))  # noqa: PTH116, PTH118 (drops the dot)
            inode = (entered.st_dev, entered.st_ino)
            if inode in seen:  # a circle of links, or a second link
                continue
            seen.add(inode)
            files, folders, ignored = _entries(folder)
        except OSError as error:
            while waiting and not os.path.lexists(waiting[-1][0]):
                folder = waiting.pop()[0]  # all that waits in it has gone, too
            yield _failed(place, cannot_open(folder, error), folder)
            continue
        waiting.append((folder, folders[::-1] if place.only is None else []))
        yield from _pieces(place, folder, files, ignored)


def _above(place: Place) -> set[tuple[int, int]]:
    """Return the folders between a place and its root, which other shards search, as inodes."""
    seen = set()
    for folder in place.path.parents:
        if not folder.is_relative_to(place.root):
            break
        with suppress(OSError):
            found = folder.stat()
            seen.add((found.st_dev, found.st_ino))
    return seen


def _entries(folder: Path) -> tuple[list[str], list[str], Counter[str]]:
    """Return the names of a folder's files and folders, and what was ignored for its name.

    Raises:
        OSError: It cannot be opened or read.
    """
    files: list[str] = []
    folders: list[str] = []
    ignored: Counter[str] = Counter()
    with os.scandir(folder) as entries:
        for entry in entries:
            if (kind := ignored_by_name(entry.name)) is not None:
                ignored[kind] += 1
            else:
                (folders if _is_folder(entry) else files).append(entry.name)
    return sorted(files), sorted(folders), ignored


def _pieces(
    place: Place, folder: Path, names: Sequence[str], ignored: Counter[str]
) -> Iterator[Listing]:
    """Yield the listings of one folder."""
    files: list[Listed] = []
    failed: list[UnreadableScanError] = []
    size = 0

    def piece(last: bool) -> Listing:
        return Listing(folder, tuple(files), last, ignored, tuple(failed), place.root, place.slices)

    several = False
    for name in names:
        if len(files) == PIECE or size > PIECE_BYTES:
            yield piece(last=False)
            files, failed, ignored, size, several = [], [], Counter(), 0, True
        found = _look(folder / name)
        if isinstance(found, Listed):
            files.append(found)
            size += found.size
        elif isinstance(found, str):
            ignored[found] += 1
        else:
            failed.append(found)
    if files or failed or ignored or several:
        yield piece(last=True)


def _look(path: Path) -> Listed | UnreadableScanError | str:
    """Return a file that can be opened; else what is wrong with it, or its kind if ignored."""
    try:
        status = os.stat(path)  # noqa: PTH116 (a Path takes three times as long)
    except OSError as error:
        # a link to nothing, or a file that has gone since its folder was read
        lost = promise(path) or not os.path.islink(path)  # noqa: PTH114 (never fails)
        return cannot_open(path, error) if lost else "broken link"
    if stat.S_ISREG(status.st_mode):
        return _listed(path, status)
    return neither_file_nor_folder(path) if promise(path) else "pipe or device"


def ignored_by_name(name: str) -> str | None:
    """Return the kind of a file or folder that is ignored for its name; None where it is not."""
    if name.startswith("."):
        return "hidden"
    if name.endswith(OBJECTS_SUFFIX):
        return "result object"
    return "result picture" if name.lower().endswith(OVERLAY_SUFFIX) else None


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a circle of links
        return False


def count_files(place: Place) -> int:
    """Return about how many files a place has, without opening one; for progress.

    What cannot be opened counts as nothing; an archive counts as one file.
    """
    count = 0
    seen = _above(place)
    folders = [os.fspath(place.path / name) for name in place.only or (".",)]
    while folders:
        folder = folders.pop()
        try:
            entered = os.stat(folder)  # noqa: PTH116
            inode = (entered.st_dev, entered.st_ino)
            if inode in seen:
                continue
            seen.add(inode)
            if not stat.S_ISDIR(entered.st_mode):
                return 1
            with os.scandir(folder) as entries:
                for entry in entries:
                    if ignored_by_name(entry.name) is not None:
                        continue
                    if not _is_folder(entry):
                        count += 1
                    elif place.only is None:
                        folders.append(entry.path)
        except OSError:
            continue
    return count


def neither_file_nor_folder(path: Path) -> UnreadableScanError:
    """Return the error for a pipe, socket or device; opening one could wait for ever."""
    finding = Finding("not-a-file", "is neither a file nor a folder")
    return UnreadableScanError(finding, where=path, do="name a file or folder")
