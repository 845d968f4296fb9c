"""Which SOPInstanceUIDs (0008,0018) came in more than one study, at 8 bytes for each file.

A UID names one instance in the world (PS3.5 section 9). Where two studies have it, the one that
came later is not to be trusted: a result may not count an instance that another one counts.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

import numpy as np

from darnet_trt.runtime.serving.intake.names import is_conflict

if TYPE_CHECKING:
    from darnet_trt.runtime.serving.intake.store import Store

_MERGE: Final = 5_000
"""New ones that are kept in a set until they are sorted in."""


class Instances:
    """The instances of all studies. Its callers keep it from use by two threads at once."""

    def __init__(self) -> None:
        self._known = np.empty(0, np.uint64)
        self._new: set[int] = set()
        self._twice: set[int] = set()

    def fill(self, every: array[int]) -> None:
        """Note what is there at a start.

        Args:
            every: `numbers` of the files of each study.
        """
        found = np.sort(np.array(every, np.uint64))
        self._twice.update(found[1:][found[1:] == found[:-1]].tolist())
        self._known = np.unique(found)

    def add(self, file: str) -> None:
        """Note a file that has come."""
        for number in numbers([file]):
            if number in self._new or self._is_known(number):
                self._twice.add(number)
            self._new.add(number)
        if len(self._new) > _MERGE:
            self._known = np.union1d(self._known, np.fromiter(self._new, np.uint64))
            self._new.clear()

    def remove(self, files: Iterable[str]) -> None:
        """Forget the files of a study that was removed."""
        gone = set(numbers(files)) - self._twice
        self._new -= gone
        self._known = np.setdiff1d(self._known, np.fromiter(gone, np.uint64), assume_unique=True)

    def twice(self, files: Iterable[str]) -> set[str]:
        """Return which of some files came in another study, too."""
        if not self._twice:
            return set()
        return {file for file in files if not self._twice.isdisjoint(numbers([file]))}

    def _is_known(self, number: int) -> bool:
        at = int(np.searchsorted(self._known, np.uint64(number)))
        return at < len(self._known) and int(self._known[at]) == number


def numbers(files: Iterable[str]) -> Iterable[int]:
    """Yield a number for the UID of each slice; volume files and conflicts have none."""
    for file in files:
        if file.endswith(".dcm") and not is_conflict(file):
            yield int(file[:16], 16)


def elsewhere(store: Store, study: str, files: set[str], others: Iterable[str]) -> set[str]:
    """Return which files of a study came in another one before.

    Args:
        store: Where they are.
        study: The study's name.
        files: Names that came twice.
        others: The names of all studies.
    """
    late: set[str] = set()
    for other in others:
        if other == study or late == files:
            continue
        for file in files.intersection(store.files(other)):
            try:
                own, first = ((store.folder(s) / file).stat().st_mtime_ns for s in (study, other))
            except FileNotFoundError:  # removed just now
                continue
            if (first, other) < (own, study):
                late.add(file)
    return late
