"""Put each file of a listing where it belongs."""

from __future__ import annotations

import errno
import os
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from darnet_trt.errors import Finding, ScanError, UnreadableScanError, cannot_open
from darnet_trt.machine.archives import open_archive
from darnet_trt.scan.dicom.directory import listed_files
from darnet_trt.scan.dicom.header import Header, read_headers
from darnet_trt.scan.discovery.kinds import (
    DIRECTORY,
    PICTURES,
    VOLUMES,
    VOXELS,
    may_be_dicom,
    promise,
    read_kind,
)
from darnet_trt.scan.discovery.studies import alone, unexpected
from darnet_trt.scan.discovery.walk import Listing, ignored_by_name
from darnet_trt.scan.series import Study
from darnet_trt.scan.volume_files.nifti import header_of
from darnet_trt.scan.volume_files.series import image_series

KNOWN: Final = "give DICOM, NIfTI, NRRD or MetaImage files, or PNG, JPEG or TIFF slices"
REMOVE: Final = "copy it again, or remove it"


def _lists() -> defaultdict[Path, list[Path]]:
    return defaultdict(list)


@dataclass
class Found:
    """Collect what lies in some listings.

    Attributes:
        headers: Of DICOM files.
        volumes: A study for each volume file.
        pictures: Folder → its pictures.
        others: Files that are no scan by themselves, and their kind.
        failed: What should be a scan and cannot be read.
        ignored: Kind → how many files were not looked at.
        archives: How many were opened.
        named: The file that is looked at, where a person named it.
    """

    headers: list[Header] = field(default_factory=list)
    volumes: list[Study] = field(default_factory=list)
    pictures: dict[Path, list[Path]] = field(default_factory=_lists)
    others: list[tuple[Path, str]] = field(default_factory=list)
    failed: list[ScanError] = field(default_factory=list)
    ignored: Counter[str] = field(default_factory=Counter)
    archives: int = 0
    named: Path | None = None

    def add(self, other: Found) -> None:
        """Add what lies in further listings."""
        self.headers += other.headers
        self.volumes += other.volumes
        for folder, files in other.pictures.items():
            self.pictures[folder] += files
        self.others += other.others
        self.failed += other.failed
        self.ignored += other.ignored
        self.archives += other.archives

    def look_over(self, listing: Listing) -> None:
        """Look at every file of a listing; whatever is wrong with one fails that file alone."""
        if listing.named:
            self._look_at_named(listing.folder, listing.files[0].path)
        for file in () if listing.named else listing.files:
            self._look_at(file.path)
        self.failed += listing.failed
        self.ignored += listing.ignored

    def _look_at_named(self, path: Path, file: Path) -> None:
        """Look at what a person named: a file, or a part of an archive."""
        if path == file:
            self.named = path
            self._look_at(path)
            self.named = None
        else:
            self._attempt(path, lambda: self._look_into(file, path))
        if self.others != [(path, DIRECTORY)]:
            if path == file and not self.archives:
                self.failed += [_unknown(*other) for other in self.others]
                self.others = []
            return
        self.others = []
        if path == file:
            self._attempt(path, lambda: self._follow(path))
        else:  # unpacking has kept what it lists
            self._attempt(path, lambda: self._look_into(file, path.parent))

    def _follow(self, directory: Path) -> None:
        """Look at the files that a DICOMDIR lists."""
        files, missing = listed_files(directory)
        self.failed += missing
        for file in files:
            self._look_at(file)

    def _look_at(self, path: Path, *, inside: bool = False) -> None:
        self._attempt(path, lambda: self._take(path, inside))

    def _attempt(self, path: Path, take: Callable[[], None]) -> None:
        """Take something; what is wrong with it becomes a failure of this path alone."""
        try:
            take()
        except ScanError as error:
            self.failed.append(error)
        except OSError as error:
            self.failed.append(cannot_open(path, error))
        except Exception as error:
            self.failed.append(unexpected(path, error))

    def _look_into(self, archive: Path, below: Path) -> None:
        """Look at the files of a zip archive below a path.

        Raises:
            OSError: The archive cannot be opened.
            UnreadableScanError: It is broken, or beyond the limits.
        """
        opened = open_archive(archive)
        self.archives += 1
        if below == archive:
            names = sorted(opened.files)
            self.ignored += opened.ignored
            if opened.encrypted:
                self.failed.append(_encrypted(archive, opened.encrypted))
        else:
            start = below.relative_to(archive).as_posix()
            names = [start] if start in opened.files else opened.below(start)
        for name in names:
            kind = next(filter(None, map(ignored_by_name, name.split("/"))), None)
            if kind is None:
                self._look_at(archive / name, inside=True)
            else:
                self.ignored[kind] += 1

    def _take(self, path: Path, inside: bool) -> None:
        """Put a file where it belongs.

        Raises:
            OSError: It cannot be opened.
            ScanError: It should be a scan and cannot be read.
        """
        promised = promise(path)
        headers: list[Header] = []
        error = None
        if promised in ("dicom", None) and path.suffix.lower() not in PICTURES:
            try:
                headers = read_headers(path)  # at once, as most files are DICOM: it is opened once
            except ScanError as unread:
                error = unread
        known = headers and headers[0].get("SOPClassUID")
        kind = "dicom" if known else read_kind(path)
        if kind == "dicom":
            if error is not None:
                raise error
            self.headers += headers or read_headers(path)
        elif kind == DIRECTORY:
            self.others.append((path, kind))
        elif path != self.named and header_of(path) is not None:
            self.others.append((path, VOXELS))  # the .hdr file beside it leads to it
        elif volume := VOLUMES.get(kind) or VOLUMES.get(promised or ""):
            self.volumes.append(alone(image_series(path, volume)))
        elif promised == "dicom":
            raise _not_dicom(path, kind)
        elif kind == "picture":
            self.pictures[path.parent].append(path)
        elif "zip" in (kind, promised):
            if inside:
                raise UnreadableScanError(
                    Finding("archive-nested", "is an archive inside an archive"),
                    where=path,
                    do="unpack the outer one and give its folder",
                )
            self._look_into(path, path)
        elif path.suffix.lower() not in PICTURES and may_be_dicom(path, kind):
            raise _not_dicom(path, kind)
        else:
            self.others.append((path, kind))


def look_over(listing: Listing) -> Found:
    """Return what lies in a listing; a folder that has gone is one failure, and nothing else."""
    found = Found()
    found.look_over(listing)
    lost = any(error.code == "cannot-open" for error in found.failed)
    if lost and listing.files and not os.path.lexists(listing.folder) and not listing.named:
        found = Found()
        gone = OSError(errno.ENOENT, os.strerror(errno.ENOENT))
        found.failed = [cannot_open(listing.folder, gone)]
    return found


def _unknown(path: Path, kind: str) -> UnreadableScanError:
    finding = Finding("unknown-format", f"is in no known format (its content: {kind})")
    return UnreadableScanError(finding, where=path, do=KNOWN)


def _not_dicom(path: Path, kind: str) -> UnreadableScanError:
    finding = Finding("not-dicom", f"is not a DICOM file (its content: {kind})")
    return UnreadableScanError(finding, where=path, do=REMOVE)


def _encrypted(archive: Path, count: int) -> UnreadableScanError:
    what = "file is encrypted" if count == 1 else "files are encrypted"
    return UnreadableScanError(
        Finding("archive-encrypted", f"{count} {what} in this archive"),
        where=archive,
        do="unpack it with its password and give its folder",
    )
