"""Notice changes in folders, by this computer's clock alone, at next to no cost.

No notification crosses a share, so folders are asked for their time, and those whose time differs
are listed. Times are only compared: a share's clock may be wrong by years. Where they are coarse,
or do not change at all, listing shows what is new: each folder is listed again at growing
intervals, since a file may also change without changing its folder's time.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from darnet_trt.scan.discovery.walk import ignored_by_name

RELIST_S: Final = 600.0
"""Every folder is listed so often."""
_RELISTED: Final = 5000
"""Files of unchanged folders that one look lists again, lest it delays the next one."""
_WARM: Final = 20.0
"""Which file changed when is kept for so many times the quiet time."""

Clock = Callable[[], float]
_State = tuple[int, int, int, int]


@dataclass(slots=True)
class _Folder:
    """A folder that is followed.

    Attributes:
        changed: When a change of it was noticed last.
        mtime_ns: When it was changed last, by its own clock; only compared.
        stamp: Hash of its files' names, sizes and times; empty without files.
        listed: When it was listed last.
        due: When it is listed again, whatever its time.
        count: How many files it has.
        since: When the first change was noticed that `take` has not told; None: all are told.
        files: Name → state, and when that changed; None: all when the folder changed.
        below: The folders in it.
    """

    changed: float
    mtime_ns: int = -1
    stamp: bytes = b""
    listed: float = float("-inf")
    due: float = float("-inf")
    count: int = 0
    since: float | None = None
    files: dict[str, tuple[_State, float]] | None = None
    below: tuple[str, ...] = ()


class Changes:
    """Follows folders: which have changed, and when each file did.

    Args:
        roots: The folders, with all below them; absolute.
        settle_s: How long without a change is quiet.
        clock: Seconds.
    """

    def __init__(
        self, roots: Iterable[Path], settle_s: float, clock: Clock = time.monotonic
    ) -> None:
        self._roots = [os.fspath(root) for root in roots]
        self._settle_s, self._clock = settle_s, clock
        self._folders: dict[str, _Folder] = {}

    def look(self) -> bool:
        """Look for changes; return whether a changed folder is quiet, or has waited for long."""
        now = self._clock()
        waiting = self._roots[::-1]
        met: set[str] = set()
        inodes: set[tuple[int, int]] = set()
        is_time, left = False, _RELISTED
        while waiting:
            path = waiting.pop()
            try:
                status = os.stat(path)  # noqa: PTH116 (a Path takes three times as long)
                inode = (status.st_dev, status.st_ino)
                if inode in inodes:  # a circle of links, or a second link
                    continue
                folder = self._folders.get(path)
                if folder is None:
                    folder = self._folders[path] = _Folder(now)
                is_new = folder.mtime_ns != status.st_mtime_ns
                is_due = now >= folder.due and (folder.since is not None or left > 0)
                if is_due and not is_new and folder.since is None:
                    left -= folder.count + 1
                if is_new or is_due:
                    self._list(path, folder, now)
                    folder.mtime_ns = status.st_mtime_ns
            except OSError:  # gone, or not to be opened: a later look tells
                continue
            inodes.add(inode)
            met.add(path)
            waiting += folder.below[::-1]
            if folder.since is not None and not is_time:
                quiet = now - folder.changed >= self._settle_s
                is_time = quiet or now - folder.since >= 2 * self._settle_s
        for path in self._folders.keys() - met:
            del self._folders[path]
        return is_time

    def take(self, also: Iterable[Path] = ()) -> list[Path]:
        """Return the folders that have changed since they were returned last, in order.

        Args:
            also: Folders to look at now, and to return where they still exist.
        """
        now = self._clock()
        taken = {path for path, folder in self._folders.items() if folder.since is not None}
        for path in map(os.fspath, also):
            folder = self._folders.get(path)
            if folder is None:
                continue
            try:
                self._list(path, folder, now)
            except OSError:
                continue
            taken.add(path)
        for path in taken:
            self._folders[path].since = None
        return sorted(map(Path, taken))

    def changed_at(self, files: Iterable[Path]) -> float:
        """Return when one of some files changed last, by our clock.

        Args:
            files: Absolute; of one within an archive the archive counts, of one that is not
                followed nothing.
        """
        latest = float("-inf")
        for path in files:
            name = ""
            while (folder := self._folders.get(os.fspath(path))) is None and path.name:
                path, name = path.parent, path.name
            if folder is None:
                continue
            now = self._clock()
            if now - folder.listed > self._settle_s / 10:  # the search may have taken hours
                with suppress(OSError):
                    self._list(os.fspath(path), folder, now)
            found = folder.files.get(name) if folder.files else None
            latest = max(latest, folder.changed if found is None else found[1])
        return latest

    def _list(self, path: str, folder: _Folder, now: float) -> None:
        """Note which files of a folder have changed.

        Raises:
            FileNotFoundError: It has gone.
        """
        try:
            states, below = _listed(path)
        except FileNotFoundError:
            raise
        except OSError as error:  # the search says what is wrong with it
            states, below = {"": (error.errno or 0, 0, 0, 0)}, ()
        stamp = _stamp(states)
        if stamp != folder.stamp:
            before = folder.files or {}
            if folder.listed > float("-inf"):
                folder.files = {
                    name: old if (old := before.get(name)) and old[0] == state else (state, now)
                    for name, state in states.items()
                }
            folder.stamp, folder.changed = stamp, now
            if folder.since is None:
                folder.since = now
        age = now - folder.changed
        if age > _WARM * self._settle_s:
            folder.files = None
        quiet = folder.changed + self._settle_s
        folder.due = now + min(age, RELIST_S) if age >= self._settle_s else min(now + age, quiet)
        folder.listed, folder.below, folder.count = now, below, len(states)


def _listed(path: str) -> tuple[dict[str, _State], tuple[str, ...]]:
    """Return the state of a folder's files, and the folders in it, in order.

    Raises:
        OSError: It cannot be opened.
    """
    states, below = {}, []
    with os.scandir(path) as entries:
        for entry in entries:
            if ignored_by_name(entry.name) is not None:
                continue
            try:
                if entry.is_dir():
                    below.append(entry.path)
                    continue
                status = entry.stat()
            except OSError:  # a link to nothing, or it has just gone
                continue
            # The inode and its time show a file that was replaced by one of the same size and time.
            states[entry.name] = (
                status.st_size, status.st_mtime_ns, status.st_ino, status.st_ctime_ns
            )  # fmt: skip
    return states, tuple(sorted(below))


def _stamp(states: dict[str, _State]) -> bytes:
    if not states:
        return b""
    text = repr(sorted(states.items())).encode("utf-8", "surrogateescape")
    return hashlib.blake2b(text, digest_size=16).digest()
