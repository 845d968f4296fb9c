"""One look at a study's folder, on its way from the files to the results."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from darnet_trt.errors import Finding, UnreadableScanError
from darnet_trt.runtime.prediction.results.result import Result
from darnet_trt.runtime.serving.studies.fates import Note
from darnet_trt.scan.discovery.gather import FoundStudy
from darnet_trt.scan.discovery.places import Place
from darnet_trt.scan.discovery.walk import Listing, listings

_UNREAD = "path:"
"""How the key of what cannot be read begins."""


@dataclass
class Job:
    """A study's folder as it was at one moment, and what comes of it.

    Attributes:
        study: The study's name.
        folder: Where its files lie.
        files: Their names.
        arrivals: How many had come when it was looked at.
        apart: Name → why a file is not looked at.
        found: What it holds; what cannot be read is only there where nothing else is.
        unread: The pickled `Study` of each file that cannot be read.
        notes: What is known of each file.
        results: Each with the key of what was found, and the first file of the series that was
            classified; empty where none was.
        chosen: The same by the result's key, before its objects are made.
        began: When the look began, as of `time.monotonic`.
    """

    study: str
    folder: Path
    files: tuple[str, ...]
    arrivals: int
    apart: Mapping[str, str]
    found: tuple[FoundStudy, ...] = ()
    unread: tuple[bytes, ...] = ()
    notes: dict[str, Note] = field(default_factory=dict)
    results: list[tuple[str, Result, str]] = field(default_factory=list)
    chosen: dict[str, tuple[str, str]] = field(default_factory=dict)
    began: float = field(default_factory=time.monotonic)

    def listings(self) -> Iterator[Listing]:
        """List the files that are looked at, without those that came meanwhile."""
        known = set(self.files).difference(self.apart)
        for listing in listings(Place(self.folder, self.folder.parent)):
            files = tuple(file for file in listing.files if file.path.name in known)
            if files or listing.failed:
                yield replace(listing, files=files)

    def take(self, gathered: Sequence[FoundStudy]) -> None:
        """Note what was found: at least one study, if only one that cannot be read."""
        unread = [study for study in gathered if self.is_unread(study)]
        found = [study for study in gathered if not self.is_unread(study)]
        self.unread = tuple(study.pickled for study in unread)
        # Where nothing can be read, one failed result counts all files.
        self.found = tuple(found) or (replace(unread[0], key=f"{_UNREAD}{self.study}"),)

    @staticmethod
    def is_unread(study: FoundStudy) -> bool:
        """Return whether a study stands for files that cannot be read."""
        return study.key.startswith(_UNREAD)

    @property
    def missing(self) -> bool:
        """Return whether slices seem to be missing."""
        return any(study.missing for study in self.found)

    @property
    def whole(self) -> bool:
        """Return whether it has a result for all that was found."""
        return len(self.results) == len(self.found)


def nothing_readable(job: Job) -> UnreadableScanError:
    """Return the error for a job of which no file can be read, or none is looked at."""
    what, do = "none of its files can be read", "send the study again"
    if set(job.apart) == set(job.files):
        reasons = "; ".join(sorted(set(job.apart.values())))
        what, do = f"none of its files is classified ({reasons})", "look at the sender"
    return UnreadableScanError(Finding("no-scan", what), where=job.folder, do=do)
