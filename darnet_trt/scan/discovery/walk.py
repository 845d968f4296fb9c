"""Walk through a place folder by folder: list its files, and tell what else is there."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from darnet_trt.errors import Finding, UnreadableScanError, cannot_open, no_such_path
from darnet_trt.machine.archives import archive_of, open_archive
from darnet_trt.scan.discovery.kinds import OVERLAY_SUFFIX, promise
from darnet_trt.scan.discovery.places import Place

PIECE: Final = 2000
"""Files: of a larger folder come several listings."""


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
    """

    folder: Path
    files: tuple[Listed, ...] = field(repr=False)
    last: bool = True
    ignored: Counter[str] = field(default_factory=Counter)
    failed: tuple[UnreadableScanError, ...] = ()
    root: Path = Path("/")

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
    seen: set[tuple[int, int]] = set()
    waiting: list[tuple[Path, list[str]]] = [(place.path, ["."])]  # folder, names in it, last first
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
        waiting.append((folder, folders[::-1]))
        yield from _pieces(place, folder, files, ignored)


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
    for start in range(0, max(len(names), 1), PIECE):
        files, failed = [], []
        for name in names[start : start + PIECE]:
            found = _look(folder / name)
            if isinstance(found, Listed):
                files.append(found)
            elif isinstance(found, str):
                ignored[found] += 1
            else:
                failed.append(found)
        last = start + PIECE >= len(names)
        if files or failed or ignored or (last and start):
            yield Listing(folder, tuple(files), last, ignored, tuple(failed), place.root)
        ignored = Counter()


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
    seen: set[tuple[int, int]] = set()
    folders = [os.fspath(place.path)]
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
                    if _is_folder(entry):
                        folders.append(entry.path)
                    else:
                        count += 1
        except OSError:
            continue
    return count


def neither_file_nor_folder(path: Path) -> UnreadableScanError:
    """Return the error for a pipe, socket or device; opening one could wait for ever."""
    finding = Finding("not-a-file", "is neither a file nor a folder")
    return UnreadableScanError(finding, where=path, do="name a file or folder")
