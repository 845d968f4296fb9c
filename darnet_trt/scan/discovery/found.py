"""Put each file that is found where it belongs, and make studies of all."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from darnet_trt.errors import Finding, ScanError, UnreadableScanError, cannot_open
from darnet_trt.machine.archives import open_archive
from darnet_trt.scan.dicom.header import Header, read_headers
from darnet_trt.scan.discovery.counts import Counts
from darnet_trt.scan.discovery.kinds import (
    DIRECTORY,
    EMPTY,
    PICTURES,
    TEXT,
    UNKNOWN,
    VOLUMES,
    VOXELS,
    may_be_dicom,
    promise,
    read_kind,
)
from darnet_trt.scan.discovery.studies import (
    alone,
    dicom_studies,
    failed_study,
    picture_studies,
    unexpected,
)
from darnet_trt.scan.discovery.walk import ignored_by_name
from darnet_trt.scan.pictures import natural_key
from darnet_trt.scan.series import Study
from darnet_trt.scan.volume_files.nifti import header_of
from darnet_trt.scan.volume_files.series import image_series

KNOWN: Final = "give DICOM, NIfTI, NRRD or MetaImage files, or PNG, JPEG or TIFF slices"
_REMOVE: Final = "copy it again, or remove it"
_DAMAGED: Final = (EMPTY, UNKNOWN, TEXT)
"""Kinds that a lost file may have; a folder of GIF pictures is merely ignored."""


@dataclass(frozen=True)
class Search:
    """What lies under a path.

    Attributes:
        studies: The unusable ones, too, with their reason.
        counts: What became of each file.
    """

    studies: list[Study]
    counts: Counts


class Found:
    """Collect what a search finds, and make studies of it.

    Args:
        named: The file that is searched, where it is one.

    Attributes:
        headers: Of DICOM files.
        volumes: A study for each volume file.
        pictures: Folder → its pictures.
        others: Files that are no scan by themselves, and their kind.
        failed: What should be a scan and cannot be read.
        ignored: Kind → how many files were not looked at.
        archives: How many were opened.
    """

    def __init__(self, named: Path | None = None) -> None:
        self.named = named
        self.headers: list[Header] = []
        self.volumes: list[Study] = []
        self.pictures: dict[Path, list[Path]] = defaultdict(list)
        self.others: list[tuple[Path, str]] = []
        self.failed: list[ScanError] = []
        self.ignored: Counter[str] = Counter()
        self.archives = 0

    def ignore(self, kind: str) -> None:
        """Count a file that is not looked at."""
        self.ignored[kind] += 1

    def fail(self, error: ScanError) -> None:
        """Note what should be a scan and cannot be read."""
        self.failed.append(error)

    def look_at(self, path: Path, *, inside: bool = False) -> None:
        """Look at one file; whatever is wrong with it fails that file alone."""
        try:
            self._take(path, inside)
        except ScanError as error:
            self.fail(error)
        except OSError as error:
            self.fail(cannot_open(path, error))
        except Exception as error:
            self.fail(unexpected(path, error))

    def look_into(self, archive: Path, below: Path) -> bool:
        """Look at the files of a zip archive below a path, and return whether there are any.

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
                self.fail(_encrypted(archive, opened.encrypted))
        else:
            start = below.relative_to(archive).as_posix()
            names = [start] if start in opened.files else opened.below(start)
        for name in names:
            kind = next(filter(None, map(ignored_by_name, name.split("/"))), None)
            if kind is None:
                self.look_at(archive / name, inside=True)
            else:
                self.ignore(kind)
        return bool(names) or below == archive

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
            self.look_into(path, path)
        elif path.suffix.lower() not in PICTURES and may_be_dicom(path, kind):
            raise _not_dicom(path, kind)
        else:
            self.others.append((path, kind))

    def result(self, path: Path, place: str) -> Search:
        """Return everything as studies.

        Raises:
            UnreadableScanError: There is none.
        """
        beside_dicom = {header.path.parent for header in self.headers}
        pictures = {f: files for f, files in self.pictures.items() if f not in beside_dicom}
        beside = {f: len(files) for f, files in self.pictures.items() if f in beside_dicom}
        ignored = self.ignored + Counter({"picture beside DICOM": sum(beside.values())})
        voxels = {file for study in self.volumes for file in study.series[0].files}
        taken = {header.path for header in self.headers}.union(voxels, *pictures.values())
        for file, kind in self.others:
            if file in voxels:
                continue
            if lost := _lost(file, kind, file.parent in pictures, file.parent in beside_dicom):
                self.fail(lost)
            else:
                ignored[kind] += 1
        broken: dict[Path, list[ScanError]] = defaultdict(list)
        for error in self.failed:
            broken[Path(str(error.where)).parent].append(error)
        studies = [
            *self.volumes,
            *dicom_studies(self.headers, broken, beside),
            *(s for f, files in pictures.items() for s in picture_studies(f, files, broken)),
        ]
        used = {file for study in studies for s in study.series for file in s.files}
        damaged = _damaged(self.headers, studies)
        left_out = taken - used - {Path(str(error.where)) for error in damaged}
        ignored += Counter({"left out of a series": len(left_out)})  # a warning says why
        failed = [*self.failed, *damaged]
        counts = Counts(len(studies), len(used), len(failed), ignored)
        studies += [failed_study(error) for error in failed]
        if not studies:
            kinds = f" ({counts})" if counts.found else ""
            what = Finding("no-scan", f"no scan in this {place}{kinds}")
            raise UnreadableScanError(what, where=path, do=KNOWN)
        studies.sort(key=lambda study: (natural_key(study.path), study.uid))
        return Search(studies, counts)


def _damaged(headers: Sequence[Header], studies: Sequence[Study]) -> list[ScanError]:
    """Return the error for each damaged slice without which its series is usable."""
    usable = {(study.uid, s.uid) for study in studies for s in study.series if s.verdict.usable}
    return [
        UnreadableScanError(header.defect, where=header.path, do="copy it again")
        for header in {header.path: header for header in headers}.values()
        if header.defect
        and (header.get("StudyInstanceUID", ""), header.get("SeriesInstanceUID", "")) in usable
    ]


def _lost(
    path: Path, kind: str, beside_pictures: bool, beside_dicom: bool
) -> UnreadableScanError | None:
    """Return the error for a picture or for voxels that cannot be read, or None."""
    suffix = path.suffix.lower()
    if suffix in PICTURES and (beside_pictures or (kind in _DAMAGED and not beside_dicom)):
        text = f"is not a PNG, JPEG or TIFF picture (its content: {kind})"
        return UnreadableScanError(Finding("not-a-picture", text), where=path, do=_REMOVE)
    if suffix == ".img" and header_of(path) is None:
        finding = Finding("no-header-file", "has no header file, .hdr, beside it")
        return UnreadableScanError(finding, where=path, do="copy both files again")
    return None


def _not_dicom(path: Path, kind: str) -> UnreadableScanError:
    finding = Finding("not-dicom", f"is not a DICOM file (its content: {kind})")
    return UnreadableScanError(finding, where=path, do=_REMOVE)


def _encrypted(archive: Path, count: int) -> UnreadableScanError:
    what = "file is encrypted" if count == 1 else "files are encrypted"
    return UnreadableScanError(
        Finding("archive-encrypted", f"{count} {what} in this archive"),
        where=archive,
        do="unpack it with its password and give its folder",
    )
