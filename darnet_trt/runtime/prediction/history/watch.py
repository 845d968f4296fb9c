"""Follow a folder that is being filled: take each study when it is quiet and whole.

Quiet is measured by this computer's clock, from when the last change was seen: a share's clock may
be wrong by years. Folders are asked for their time and only changed ones are listed, since no
notification crosses a share.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from darnet_trt.runtime.prediction.history.history import TRANSIENT, History
from darnet_trt.scan.discovery.gather import FoundStudy
from darnet_trt.scan.discovery.walk import Listing, ignored_by_name

PATIENCE: Final = 5
"""A study that lacks slices by its own numbers is taken after so many times the quiet time."""
RELIST_S: Final = 600.0
"""Every folder is listed so often: a file may change without changing its folder's time."""
IDLE: Final = 0.01
"""Largest share of one CPU that looking for changes takes."""

Clock = Callable[[], float]


class Arrivals(History):
    """A history that calls a study finished, for now, while it may still grow.

    Args:
        settle_s: How long a study must stay the same.
        clock: Seconds.
        history: As of `History`.
    """

    def __init__(
        self, *arguments: object, settle_s: float, clock: Clock = time.monotonic, **history: object
    ) -> None:
        super().__init__(*arguments, **history)  # type: ignore[arg-type]
        self._settle_s, self._clock = settle_s, clock
        self._waiting: dict[str, _Waiting] = {}

    def finished(self, key: str, content: str) -> bool:
        """Return whether a study is finished, or may still grow."""
        with self._lock:
            if super().finished(key, content):
                self._waiting.pop(key, None)
                return True
            waits = self._waiting.setdefault(key, _Waiting(self._clock()))
            first = waits.seen.setdefault(content, self._clock())
            if self._clock() < first + self._patience_s(waits, content):
                return True
            del self._waiting[key]
            return False

    def note(self, listing: Listing, studies: Sequence[FoundStudy]) -> None:
        """Remember whose files these are, and which studies lack slices."""
        with self._lock:
            super().note(listing, studies)
            for study in studies:
                self._note_state(study)

    def note_whole(self, study: FoundStudy) -> None:
        """Remember a study of several places."""
        with self._lock:
            super().note_whole(study)
            self._note_state(study)

    def try_again(self, key: str, folder: Path) -> None:
        """Let a study that failed for a passing reason come again in a while."""
        with self._lock:
            waits = _Waiting(self._clock(), folders={folder}, tried=True)
            self._waiting[key] = waits

    def due(self) -> list[Path]:
        """Return the folders of the studies that have been quiet for long enough."""
        with self._lock:
            now = self._clock()
            ready = [waits for waits in self._waiting.values() if self._due_at(waits) <= now]
            for waits in ready:
                waits.asked = now
            return sorted({folder for waits in ready for folder in waits.folders})

    def waiting(self) -> int:
        """Return how many studies may still grow."""
        return len(self._waiting)

    def _note_state(self, study: FoundStudy) -> None:
        waits = self._waiting.get(study.key)
        if waits is None:
            return
        waits.folders.update(file.parent for file in study.files or (study.path,))
        if study.missing:
            waits.missing.add(study.content)

    def _patience_s(self, waits: _Waiting, content: str) -> float:
        return self._settle_s * (PATIENCE if content in waits.missing else 1)

    def _due_at(self, waits: _Waiting) -> float:
        """Return when to look again: when what was seen last has been quiet for long enough."""
        if not waits.seen:
            return waits.since + self._settle_s * PATIENCE
        content, first = list(waits.seen.items())[-1]
        # Where a look did not take it, a later content was seen, or another place of it waits.
        return max(first + self._patience_s(waits, content), waits.asked + self._settle_s)


@dataclass
class _Waiting:
    """A study that may still grow.

    Attributes:
        since: When it was first seen.
        seen: Content → when that was seen first, in this order.
        missing: The contents that lack slices by their own numbers.
        folders: Where its files lie.
        tried: Whether it was classified, and failed for a reason that passes.
        asked: When its folders were last read because it was due.
    """

    since: float
    seen: dict[str, float] = field(default_factory=dict)
    missing: set[str] = field(default_factory=set)
    folders: set[Path] = field(default_factory=set)
    tried: bool = False
    asked: float = float("-inf")


@dataclass(slots=True)
class _Folder:
    """A folder that is followed.

    Attributes:
        mtime_ns: When it was changed last, by its own clock; only compared.
        stamp: Hash of its files' names, sizes and times.
        listed: When it was listed last.
        hot: Until when its files are looked at each time.
        told: Whether its present state was told.
    """

    mtime_ns: int = -1
    stamp: bytes = b""
    listed: float = float("-inf")
    hot: float = float("-inf")
    told: bool = False


class Changes:
    """Tell which folders have changed since they were told last, once they stand still.

    Args:
        roots: The folders to follow.
        settle_s: How long after a change each file of a folder is looked at.
        clock: Seconds.
    """

    def __init__(
        self, roots: Iterable[Path], settle_s: float, clock: Clock = time.monotonic
    ) -> None:
        self._roots, self._clock = tuple(roots), clock
        self._hot_s = max(settle_s * PATIENCE, 10.0)
        self._folders: dict[Path, _Folder] = {}
        self._below: dict[Path, tuple[Path, ...]] = {}

    def look(self) -> list[Path]:
        """Return the folders whose files have changed, and not since the last look."""
        now = self._clock()
        changed: list[Path] = []
        seen: set[tuple[int, int]] = set()
        waiting = list(reversed(self._roots))
        met: set[Path] = set()
        while waiting:
            path = waiting.pop()
            try:
                status = os.stat(path)  # noqa: PTH116 (a Path takes three times as long)
                inode = (status.st_dev, status.st_ino)
                if inode in seen:  # a circle of links
                    continue
                seen.add(inode)
                met.add(path)
                if self._see(path, status.st_mtime_ns, now):
                    changed.append(path)
            except OSError:  # gone, or not to be opened: the next look tells
                continue
            waiting += reversed(self._below.get(path, ()))
        for path in self._folders.keys() - met:
            del self._folders[path]
            self._below.pop(path, None)
        return changed

    def _see(self, path: Path, mtime_ns: int, now: float) -> bool:
        folder = self._folders.setdefault(path, _Folder(listed=now))
        is_same = folder.mtime_ns == mtime_ns
        if is_same and now > folder.hot and now - folder.listed < RELIST_S:
            return False
        stamp, below = _state(path)
        folder.mtime_ns, folder.listed = mtime_ns, now + hash(path) % 1000 / 1000 * RELIST_S / 4
        self._below[path] = below
        if stamp != folder.stamp:
            folder.stamp, folder.told, folder.hot = stamp, False, now + self._hot_s
            return False
        if folder.told or not stamp:
            return False
        folder.told = True
        return True


def _state(path: Path) -> tuple[bytes, tuple[Path, ...]]:
    """Return a hash of a folder's files, empty without any, and the folders in it.

    Raises:
        OSError: It cannot be opened.
    """
    files, below = [], []
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
            files.append(f"{entry.name}/{status.st_size}/{status.st_mtime_ns}")
    text = "\n".join(sorted(files)).encode("utf-8", "surrogateescape")
    stamp = hashlib.blake2b(text, digest_size=16).digest() if files else b""
    return stamp, tuple(map(Path, sorted(below)))


__all__ = ["TRANSIENT", "Arrivals", "Changes"]
