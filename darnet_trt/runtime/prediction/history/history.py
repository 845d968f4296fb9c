"""Decide what of an archive is left to do, from the results that stand and an index of its files.

A study is finished when a result stands for its key and its content, of the same bundle and engine.
What was read is remembered by path, size and time, so that headers are read only of files that are
new, changed or moved.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Collection, Container, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol, Self

from darnet_trt.runtime.prediction.history.index import Index, Known
from darnet_trt.runtime.prediction.results.result import kinds_of
from darnet_trt.scan.discovery.gather import FoundStudy
from darnet_trt.scan.discovery.places import Place
from darnet_trt.scan.discovery.walk import Listing

TRANSIENT: Final = frozenset(
    {"cannot-open", "disk-error", "no-such-path", "out-of-memory", "reading-killed"}
)
"""Codes of failures that pass by themselves: they are tried again in every run."""

_NO_SIZE: Final = -1
"""A size that no file has: the file is looked at again in every run."""


class Standing(Protocol):
    """What must be known of a result that stands: `results.standing.Standing`."""

    @property
    def content(self) -> str: ...  # noqa: D102
    @property
    def bundle_sha256(self) -> str: ...  # noqa: D102
    @property
    def artifact(self) -> str: ...  # noqa: D102
    @property
    def status(self) -> str: ...  # noqa: D102
    @property
    def code(self) -> str: ...  # noqa: D102
    @property
    def overlay(self) -> str | None: ...  # noqa: D102
    @property
    def dicom(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def unmade(self) -> tuple[str, ...]: ...  # noqa: D102


class History:
    """What earlier runs did, and what this one has met; use it in a `with` statement.

    May be called from several threads.

    Args:
        file: Where the index is kept; None: in a temporary file.
        standing: Returns the result that stands for a key, or None.
        bundle: SHA-256 of the bundle's manifest.
        artifact: Name of the engine. Results of another bundle or engine count as none.
        overlays: Whether a classified study is only finished with its overlay.
        dicom: Kinds of DICOM objects without which a study is not finished, unless they cannot be
            made of it.
        retry_refused: Whether refused studies are classified again.
        retry_failed: Whether failed studies are tried again, and objects that could not be made;
            failures of `TRANSIENT` always are.
    """

    def __init__(
        self,
        file: Path | None,
        standing: Callable[[str], Standing | None],
        *,
        bundle: str,
        artifact: str,
        overlays: bool = False,
        dicom: Collection[str] = (),
        retry_refused: bool = False,
        retry_failed: bool = False,
    ) -> None:
        self._index = Index(file)
        self._standing = standing
        self._made_by = (bundle, artifact)
        self._overlays = overlays
        self._dicom = dicom
        self._retry_refused = retry_refused
        self._retry_failed = retry_failed
        self._lock = threading.RLock()
        # Hashes, not strings: 10,000 folders and studies take 1 MB.
        self._visited: set[int] = set()
        self._met: set[int] = set()
        self._known: set[int] = set()
        self._left: set[str] = set()
        self._lost: set[Path] = set()
        self._walked = 0
        self._before: tuple[Path, str | None] | None = None
        self._after: dict[tuple[Path, str], str | None] = {}

    def unchanged(self, place: Place, listing: Listing) -> bool:
        """Return whether nothing of a listing is left to read or classify.

        That is so where every file is as it was when it was read, none is new or gone, and each
        study that they belong to is finished. Call it for every listing, in the walk's order.
        """
        with self._lock:
            after, upto = self._range(listing)
            self._walked += len(listing.files)
            self._visited.add(hash(listing.folder))
            if listing.failed:
                self._lost.update(Path(e.where) for e in listing.failed if e.where is not None)
            if listing.failed or listing.slices:  # they may have been read in another order
                return False
            known = self._index.files(listing.folder, after, upto)
            if len(known) != len(listing.files):
                return False
            for file in listing.files:
                before = known.get(file.path.name)
                if before is None or (before.size, before.mtime_ns) != (file.size, file.mtime_ns):
                    return False
            keys = {k.key for k in known.values()} - {""}
            if not all(self._is_finished(key, self._index.content(key)) for key in keys):
                return False
            self._count(keys)
            return True

    def note(self, listing: Listing, studies: Sequence[FoundStudy]) -> None:
        """Remember which study each file of a listing belongs to, and what each study holds."""
        with self._lock:
            first = listing.files[0].path.name if listing.files else ""
            after = self._after.pop((listing.folder, first), None)
            upto = None if listing.last else listing.files[-1].path.name
            self._met.update(hash(study.key) for study in studies)
            self._index.set_content((study.key, study.content) for study in studies)
            paths = {file.path: file for file in listing.files}
            failed = {Path(e.where): e for e in listing.failed if e.where is not None}
            names = {f.path.name: Known(f.size, f.mtime_ns, "") for f in listing.files}
            named = any(file.path.parent != listing.folder for file in listing.files)
            for study in studies:
                for path in study.files or (study.path,):
                    if (of := within(path, paths)) is not None:
                        file = paths[of]
                        names[of.name] = Known(file.size, file.mtime_ns, study.key)
                    elif path in failed or path == listing.folder:
                        names["." if path == listing.folder else path.name] = Known(
                            _NO_SIZE, 0, study.key
                        )
                    elif named:  # a DICOMDIR, a header file: changes of what it lists go unseen
                        return
            if listing.slices:  # they may be read in another order next time
                names = {name: replace(known, size=_NO_SIZE) for name, known in names.items()}
            self._left |= self._index.keep(listing.folder, after, upto, names)

    def note_whole(self, study: FoundStudy) -> None:
        """Remember the content of a study that was gathered again over several places."""
        with self._lock:
            self._index.set_content([(study.key, study.content)])

    def finished(self, key: str, content: str) -> bool:
        """Return whether a result stands for this content, and is not to be made again."""
        with self._lock:
            finished = self._is_finished(key, content)
            if finished:
                self._count({key})
            return finished

    def waits(self, study: FoundStudy) -> bool:
        """Return whether a study is not to be classified yet: in folders that are being filled."""
        return False

    def elsewhere(self, study: FoundStudy) -> list[Path]:
        """Return the other files that are known of the study's key and still exist."""
        with self._lock:
            files = self._index.files_of(study.key)
        own = set(study.files)
        own |= {file for file in files if any(file in path.parents for path in own)}  # archives
        return [file for file in files if file not in own and os.path.lexists(file)]

    def gone(self, places: Sequence[Place]) -> set[str]:
        """Return the keys of failed results whose files are no longer there, or have been mended.

        Call it when a run has walked the places to their end. What lies under a folder that could
        not be opened counts as still there.
        """
        with self._lock:
            for place in places:
                for folder in self._index.folders(place.path):
                    if hash(folder) not in self._visited and not self._is_lost(folder):
                        self._left |= self._index.forget(folder)
            gone, self._left = self._left, set()
            return {key for key in gone if self._has_failed(key)}

    def known(self) -> int:
        """Return how many studies this run met that were finished before."""
        return len(self._known)

    def walked(self) -> int:
        """Return how many files the walk has passed."""
        return self._walked

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._index.close()

    def _range(self, listing: Listing) -> tuple[str | None, str | None]:
        """Return after which name and up to which a listing goes; None: the folder's end."""
        before, self._before = self._before, None
        after = before[1] if before and before[0] == listing.folder else None
        upto = None if listing.last or not listing.files else listing.files[-1].path.name
        if upto is not None:
            self._before = (listing.folder, upto)
        if after is not None and listing.files:
            self._after[listing.folder, listing.files[0].path.name] = after
        return after, upto

    def _is_finished(self, key: str, content: str | None) -> bool:
        result = self._standing(key)
        if result is None or result.content != content:
            return False
        if (result.bundle_sha256, result.artifact) != self._made_by:
            return False
        match result.status:
            case "ok":
                drawn = not self._overlays or result.overlay is not None
                return drawn and self._has_objects(key, result)
            case "refused":
                return not self._retry_refused and self._has_objects(key, result)
        return not self._retry_failed and result.code not in TRANSIENT

    def _has_objects(self, key: str, result: Standing) -> bool:
        """Return whether a result has all wanted objects, or those that can be made of it."""
        lacking = {*kinds_of(result.status, self._dicom)} - {*result.dicom}
        if not self._retry_failed:
            lacking -= {*result.unmade}
        return not lacking or key.startswith("content:")  # only other formats have such a key

    def _has_failed(self, key: str) -> bool:
        if hash(key) in self._met or self._index.held(key):
            return False
        result = self._standing(key)
        return result is not None and result.status == "failed"

    def _is_lost(self, folder: Path) -> bool:
        return any(above in self._lost for above in (folder, *folder.parents))

    def _count(self, keys: set[str]) -> None:
        self._known.update(map(hash, keys))
        self._met.update(map(hash, keys))


def within(file: Path, listed: Container[Path]) -> Path | None:
    """Return the listed path that holds a study's file: itself, its archive, or its folder."""
    return next((path for path in chain([file], file.parents) if path in listed), None)
