"""Follow folders that are being filled: take each study when it is quiet and whole."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from darnet_trt.runtime.prediction.history.changes import Changes, Clock
from darnet_trt.runtime.prediction.history.history import TRANSIENT, History
from darnet_trt.runtime.prediction.results.result import Result
from darnet_trt.scan.discovery.gather import FoundStudy
from darnet_trt.scan.discovery.places import Place

PATIENCE: Final = 5
"""A study that lacks slices by its own numbers is taken after so many times the quiet time."""
_LONGEST_S: Final = 3600.0
"""Most time until what failed for a passing reason is tried again."""


@dataclass(frozen=True)
class _Waiting:
    """A study that is to be looked at again.

    Attributes:
        due: When.
        folders: Where its files lie, and other paths: those that are no folders do not count.
    """

    due: float
    folders: frozenset[Path]


class Arrivals(History):
    """A history of folders that are being filled: it lets studies wait that may still grow.

    A study is quiet when none of its files has changed for the quiet time, by this computer's
    clock. One that lacks slices by its own numbers waits `PATIENCE` times as long.

    Args:
        arguments: As of `History`.
        settle_s: The quiet time.
        clock: Seconds.
        options: As of `History`.
    """

    def __init__(
        self, *arguments: Any, settle_s: float, clock: Clock = time.monotonic, **options: Any
    ) -> None:
        super().__init__(*arguments, **options)
        self._settle_s, self._clock = settle_s, clock
        self._roots: list[Place] = []
        self._changes = Changes((), settle_s, clock)
        self._waiting: dict[str, _Waiting] = {}
        self._handed: dict[str, frozenset[Path]] = {}
        self._tries: dict[str, int] = {}
        self._known_before: int | None = None

    def follow(self, places: Iterable[Place]) -> None:
        """Follow folders from now on."""
        self._roots = sorted(places, key=lambda place: place.path)
        self._changes = Changes((place.path for place in self._roots), self._settle_s, self._clock)

    def arrived(self) -> list[Place]:
        """Look for changes; return what to search now. Call it again when that is done.

        When a changed folder is quiet, or a study is due, every folder with changes comes: a
        study's other folders may still be filled.
        """
        is_time = self._changes.look()
        with self._lock:
            now = self._clock()
            due = [key for key, waits in self._waiting.items() if waits.due <= now]
            if not due and not is_time:
                return []
            folders = {f for key in due for f in self._waiting.pop(key).folders}
            self._forget_round()
        taken = self._changes.take(folders)
        return [place for root in self._roots if (place := _part(root, taken))]

    def waits(self, study: FoundStudy) -> bool:
        """Return whether a study may still grow; it is looked at again when it is due."""
        with self._lock:
            files = study.files or (study.path,)
            folders = frozenset(folder for file in files for folder in (file, *file.parents[:2]))
            patience_s = self._settle_s * (PATIENCE if study.missing else 1)
            due = self._changes.changed_at(files) + patience_s
            if self._clock() >= due:
                self._handed[study.key] = folders
                return False
            self._waiting[study.key] = _Waiting(due, folders)
            return True

    def done(self, result: Result) -> None:
        """Take note of a result; one that failed for a reason that passes is tried again later."""
        with self._lock:
            folders = self._handed.pop(result.key, frozenset())
            if result.code not in TRANSIENT:
                self._tries.pop(result.key, None)
                return
            tries = self._tries[result.key] = self._tries.get(result.key, 0) + 1
            pause_s = min(self._settle_s * PATIENCE * 2 ** min(tries - 1, 30), _LONGEST_S)
            self._waiting[result.key] = _Waiting(self._clock() + pause_s, folders)

    def known(self) -> int:
        """Return how many studies the first look met that were finished before."""
        return super().known() if self._known_before is None else self._known_before

    def _forget_round(self) -> None:
        """Forget what the last search met: what it found wrong may be mended since."""
        if self._visited and self._known_before is None:
            self._known_before = super().known()
        for met in (self._visited, self._met, self._lost, self._after):
            met.clear()
        self._before = None


def _part(root: Place, folders: Iterable[Path]) -> Place | None:
    """Return the part of a place that holds some folders; None where it holds none."""
    own = tuple(str(f.relative_to(root.path)) for f in folders if f.is_relative_to(root.path))
    return replace(root, only=own, part=True) if own else None
