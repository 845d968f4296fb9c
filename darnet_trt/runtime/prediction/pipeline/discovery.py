"""Turn places into studies to load: each once, over all its files, and what is finished never."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Final

from darnet_trt.errors import Finding, UnreadableScanError, cannot_open
from darnet_trt.machine.cache import digest
from darnet_trt.machine.pool import ENDING_S
from darnet_trt.runtime.prediction.history.history import History, within
from darnet_trt.runtime.prediction.pipeline.finding import Finder
from darnet_trt.runtime.prediction.pipeline.loading import Closed, Loads, Task
from darnet_trt.runtime.prediction.pipeline.spool import Spool
from darnet_trt.scan.discovery import Counts
from darnet_trt.scan.discovery.gather import FoundStudy
from darnet_trt.scan.discovery.places import Place
from darnet_trt.scan.discovery.search import no_scan
from darnet_trt.scan.discovery.units import Unit, Units
from darnet_trt.scan.discovery.walk import Listed, Listing, listings
from darnet_trt.scan.isolated import as_scan_error

_SHOWN: Final = 2


class Discovery:
    """Walks through places, and hands each study on as soon as all its folder's files are known.

    A study that lies in several places is put off to the end of the walk, and gathered once over
    all its files.

    Args:
        finder: What examines and gathers.
        loads: What takes the studies.
        spool: What keeps them.
        history: What is known of earlier runs.
        repeats: Whether to hand a study on as often as it is met.
        counted: Called with what became of a unit's files.
        progress: Called with how many studies were found so far that were not finished, and
            whether these are all.
    """

    def __init__(
        self,
        finder: Finder,
        loads: Loads,
        spool: Spool,
        history: History,
        *,
        repeats: bool,
        counted: Callable[[Counts], None],
        progress: Callable[[int, bool], None],
    ) -> None:
        self._finder, self._loads, self._spool, self._history = finder, loads, spool, history
        self._repeats, self._counted, self._progress = repeats, counted, progress
        self._handed: dict[str, str] = {}  # key → content
        self._put_off: dict[str, tuple[Place, FoundStudy]] = {}
        self._found = 0
        self._worked = 0.0  # of `time.thread_time`: when the work for the next study began
        self._thread: threading.Thread | None = None

    def start(self, places: Sequence[Place], since: float) -> None:
        """Begin in a thread of its own; a daemon, since a walk may wait for a disk.

        Args:
            places: Where to search.
            since: When the run began, of `time.perf_counter`: it counts in the first study's time.
        """
        self._thread = threading.Thread(
            target=self._run, args=(places, since), name="discovery", daemon=True
        )
        self._thread.start()

    def join(self) -> None:
        """Wait a moment for its thread to end, once `loads` is closed: Python may crash else."""
        if self._thread is not None:
            self._thread.join(ENDING_S)

    def _run(self, places: Sequence[Place], since: float) -> None:
        try:
            for number, place in enumerate(places):
                self._walk(place, None if number else since)
            if self._put_off:  # their results must not come before those that they replace
                self._loads.wait()
            for place, study in self._put_off.values():
                self._gather_again(place, study)
            self._progress(self._found, True)
            self._loads.end()
        except Closed:
            self._loads.end()
        except BaseException as error:  # raised where the results are asked for
            self._loads.end(error)

    def _walk(self, place: Place, since: float | None) -> None:
        units, folders = Units(), _Folders()
        anything = False
        counts = Counts()

        def wanted(listing: Listing) -> bool:
            return self._repeats or not self._history.unchanged(place, listing)

        for listing, parts, ms in self._finder.examined(_listed(place), wanted, since):
            self._worked = time.thread_time()
            if parts:
                folders.add(listing, ms)
            anything = anything or not parts
            complete: list[Unit] = []
            for part in parts[:-1]:
                complete += units.add(replace(listing, last=False), part)
            complete += units.add(listing, parts[-1] if parts else None)
            counted, some = self._hand_on(place, complete, folders)
            counts, anything = counts + counted, anything or some
        counted, some = self._hand_on(place, units.end(), folders)
        if not anything and not some and not place.part:
            self._take_failed(place, no_scan(place.path, counts + counted))

    def _hand_on(
        self, place: Place, units: Sequence[Unit], folders: _Folders
    ) -> tuple[Counts, bool]:
        """Hand the studies of complete units on; return what became of their files."""
        if not units:
            return Counts(), False
        own, examine_ms = folders.of(units)
        every: list[FoundStudy] = []
        counts = Counts()
        for _, gathered, ms in self._finder.gathered(units):
            counts += gathered.counts
            find_ms = (ms + examine_ms / len(units)) / max(1, len(gathered.studies))
            for study in (_of_one_place(place, study) for study in gathered.studies):
                self._take(place, study, find_ms)
                every.append(replace(study, pickled=b""))
            self._counted(gathered.counts)
        for listing, studies in _of_each(own, every):
            self._history.note(listing, studies)
        return counts, bool(every)

    def _take(self, place: Place, study: FoundStudy, find_ms: float) -> None:
        """Hand a study on, unless it is finished, or lies in several places."""
        if self._repeats:
            self._put(place, study, find_ms)
        elif study.key in self._handed:
            if self._handed[study.key] != study.content:
                self._put_off[study.key] = place, replace(study, pickled=b"", files=())
        elif self._history.finished(study.key, study.content):
            self._handed[study.key] = study.content
        elif self._history.elsewhere(study):
            self._put_off[study.key] = place, replace(study, pickled=b"", files=())
        elif self._history.waits(study):
            self._handed[study.key] = study.content
        else:
            self._put(place, study, find_ms)
        self._worked = time.thread_time()

    def _put(
        self,
        place: Place,
        study: FoundStudy,
        find_ms: float,
        warnings: tuple[Finding, ...] = (),
    ) -> None:
        self._handed[study.key] = study.content
        self._found += 1
        self._progress(self._found, False)
        kept = self._spool.put(study.pickled)
        small, name = replace(study, pickled=b""), place.name(study.path)
        # What this thread itself did since it got the listing, or took the study before.
        find_ms += (time.thread_time() - self._worked) * 1000
        self._loads.put(Task(name, small, kept, find_ms, warnings))
        self._worked = time.thread_time()

    def _gather_again(self, place: Place, study: FoundStudy) -> None:
        """Hand on a study over its files in every place, unless that is finished."""
        self._worked = time.thread_time()
        found = _listings(place, self._history.elsewhere(study))
        gathered, find_ms = self._finder.again(found, study.key) if found else (None, 0.0)
        studies = gathered.studies if gathered else ()
        if not studies:
            gone = FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
            self._take_failed(place, cannot_open(study.path, gone))
        for whole in studies:
            self._history.note_whole(whole)
            known = self._handed.get(whole.key) == whole.content
            if known or self._history.finished(whole.key, whole.content):
                continue
            if self._history.waits(whole):
                continue
            if not whole.path.is_relative_to(place.root):
                whole = replace(whole, path=study.path)
            self._put(place, whole, find_ms / len(studies), _several(place, whole))

    def _take_failed(self, place: Place, error: UnreadableScanError) -> None:
        for study in self._finder.failed(place.root, error).studies:
            self._take(place, _of_one_place(place, study), 0.0)


def _of_one_place(place: Place, study: FoundStudy) -> FoundStudy:
    """Return a study; with a key of its own where only its path, below one of several, is known."""
    if not place.among or not study.key.startswith("path:"):
        return study
    return replace(study, key=f"path:{digest(study.key, place.among)}")


class _Folders:
    """Listings that were examined and wait for their studies."""

    def __init__(self) -> None:
        self._waiting: dict[Path, list[Listing]] = defaultdict(list)
        self._ms: Counter[Path] = Counter()

    def add(self, listing: Listing, ms: float) -> None:
        self._waiting[listing.folder].append(listing)
        self._ms[listing.folder] += ms  # type: ignore[assignment]

    def of(self, units: Iterable[Unit]) -> tuple[list[Listing], float]:
        """Take out the listings of some units, and the milliseconds that examining them took."""
        folders = dict.fromkeys(one.listing_folder for unit in units for one in unit.examined)
        own = [listing for folder in folders for listing in self._waiting.pop(folder, ())]
        return own, sum(self._ms.pop(folder, 0.0) for folder in folders)


def _listed(place: Place) -> Iterable[Listing]:
    try:
        yield from listings(place)
    except Exception as error:
        wrong = as_scan_error(error, place.path)
        unreadable = UnreadableScanError(
            Finding(wrong.code or "no-such-path", wrong.what), where=place.path, do=wrong.do
        )
        yield Listing(place.path, (), failed=(unreadable,), root=place.root)


def _of_each(
    own: Sequence[Listing], studies: Iterable[FoundStudy]
) -> list[tuple[Listing, list[FoundStudy]]]:
    """Return each listing with the studies that have files in it, or that may have some."""
    owner = {listing.folder: number for number, listing in enumerate(own)}
    for number, listing in enumerate(own):
        owner |= {file.path: number for file in listing.files}
    found: list[list[FoundStudy]] = [[] for _ in own]
    for study in studies:
        places = {within(file, owner) for file in study.files}
        numbers = {None if place is None else owner[place] for place in places}
        for number, of_it in enumerate(found):
            if None in numbers or number in numbers:
                of_it.append(study)
    return list(zip(own, found, strict=True))


def _listings(place: Place, files: Sequence[Path]) -> list[Listing]:
    """Return listings of some files, without those that have gone."""
    folders: dict[Path, list[Listed]] = defaultdict(list)
    for file in sorted(files):
        with suppress(OSError):
            status = file.stat()
            folders[file.parent].append(Listed(file, status.st_size, status.st_mtime_ns))
    return [Listing(folder, tuple(own), root=place.root) for folder, own in folders.items()]


def _several(place: Place, study: FoundStudy) -> tuple[Finding, ...]:
    """Return the warning of a study whose folders do not lie side by side."""
    folders = sorted({file.parent for file in study.files})
    apart = [one for before, one in pairwise(folders) if not _side_by_side(before, one)]
    if not apart or len(folders) * 2 > len(study.files):  # a storage with a folder a slice
        return ()
    places = [folders[0], *apart]
    shown = ", ".join(place.name(folder) for folder in places[:_SHOWN])
    more = f", and {len(places) - _SHOWN} more" if len(places) > _SHOWN else ""
    text = f"its {len(study.files)} files lie in {len(places)} places: {shown}{more}"
    return (Finding("several-places", text),)


def _side_by_side(before: Path, after: Path) -> bool:
    """Return whether no other folder lies between two folders, in the order of names."""
    above = Path(os.path.commonpath([before, after]))
    if above in (before, after):
        return True
    first, last = (path.relative_to(above).parts[0] for path in (before, after))
    try:
        return not any(first < one.name < last and one.is_dir() for one in above.iterdir())
    except OSError:
        return False
