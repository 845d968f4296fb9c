"""Keep files so that a power cut loses none that was acknowledged, and none is there twice.

A file is written under a temporary name and gets its own by `link`, which never replaces another
one. Its content is on the disk before that, and its name is before `receive` returns.
"""

from __future__ import annotations

import errno
import hashlib
import itertools
import logging
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, Literal

from darnet_trt.errors import (
    BusyError,
    Finding,
    RefusedScanError,
    ScanError,
    UnreadableScanError,
)
from darnet_trt.machine.files import cannot_write, keep_names, opener
from darnet_trt.runtime.serving.intake.archive import open_members
from darnet_trt.runtime.serving.intake.disk import link, remove, write_out
from darnet_trt.runtime.serving.intake.instance import Instance, check_command, instance_of
from darnet_trt.runtime.serving.intake.names import (
    STUDY,
    conflict_file,
    is_file,
    slice_file,
    study_of_file,
    study_of_uid,
)
from darnet_trt.runtime.serving.intake.volumes import SNIFFED, check_volume, volume_suffix
from darnet_trt.runtime.serving.settings import HttpSettings, Settings
from darnet_trt.runtime.serving.telemetry.seldom import Seldom

FULL_S: Final = 60.0
"""After how many seconds to try again where the disk is full: somebody must make room."""
NEARLY_FULL: Final = "the disk is nearly full"
_FULL: Final = (errno.ENOSPC, errno.EDQUOT)
_ARCHIVES: Final = 4
"""Archives that are unpacked at once: each holds a file of up to 512 MB in memory, and a small
archive can hold many such."""

Outcome = Literal["new", "known", "conflict"]
"""new: kept; known: it was there already; conflict: kept beside another content of its UID."""


@dataclass(frozen=True)
class Received:
    """A file that is on the disk.

    Attributes:
        study: Its study's name.
        file: Its own name in the study's folder.
        outcome: What became of it.
    """

    study: str
    file: str
    outcome: Outcome


@dataclass(frozen=True)
class Unzipped:
    """What became of the files of a zip archive.

    Attributes:
        received: Those that are on the disk.
        ignored: Kind → how many are no DICOM files.
        refused: Of each other one, its name and why.
    """

    received: list[Received]
    ignored: dict[str, int]
    refused: list[tuple[str, str]]


class Store:
    """The files that came in, by study; used from many threads, by one process.

    Args:
        folder: The state folder.
        settings: Of the service.
        admit: Called with a study before a file of it is kept; raises BusyError where none is
            begun now.
        arrived: Called with each file when it is on the disk, and the peer that sent it, before
            `receive` returns. It is quick and raises nothing.

    Attributes:
        received: How many files had which outcome, since the start.
        received_bytes: How many bytes all of them had.

    Raises:
        OutputError: The folder cannot be written.
    """

    def __init__(
        self,
        folder: Path,
        settings: Settings,
        admit: Callable[[str], None],
        arrived: Callable[[Received, str], None],
    ) -> None:
        self._incoming, self._studies = folder / "incoming", folder / "studies"
        self._limits = settings.http or HttpSettings()
        self._least_free = settings.least_free
        self._admit, self._arrived = admit, arrived
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self._unpacking = threading.Semaphore(_ARCHIVES)
        self._open: Counter[str] = Counter()  # study → how many threads keep a file of it
        self.received: Counter[Outcome] = Counter()
        self.received_bytes = 0
        self._seldom = Seldom(logging.getLogger(__name__))
        try:
            for each in (self._incoming, self._studies):
                each.mkdir(mode=0o700, parents=True, exist_ok=True)
            for left in self._incoming.iterdir():
                remove(left)
            self._check_links()
            keep_names(folder)
            keep_names(self._studies)
            self._kept = set(os.listdir(self._studies))  # noqa: PTH208 (names are enough)
        except OSError as error:
            raise cannot_write(folder, error) from error

    def receive(
        self, content: bytes, *, peer: str, sop_class: str = "", sop_uid: str = ""
    ) -> Received:
        """Keep a DICOM file.

        Args:
            content: The whole file: preamble, meta information, data set.
            peer: Who sent it.
            sop_class: SOPClassUID as the sender's command says; empty: it does not.
            sop_uid: SOPInstanceUID, the same.

        Raises:
            UnreadableScanError: It is no DICOM file, or does not say what it is.
            RefusedScanError: It is another instance than its sender says.
            BusyError: No room, in the queue or on the disk.
            OutputError: The disk fails.
        """
        instance = instance_of(content)
        check_command(instance, sop_class, sop_uid)
        study = study_of_uid(instance.study_uid)
        with self._room(len(content)):
            self._admit(study)
            with self._opened(study) as folder:
                received = Received(study, *self._keep(folder, instance, content))
                self._note(received, peer, len(content))
        return received

    def keep_volume(self, chunks: Iterable[bytes], *, peer: str) -> Received:
        """Keep a volume file: NIfTI, NRRD or MetaImage; its first bytes tell which.

        Args:
            chunks: Its content.
            peer: Who sent it.

        Raises:
            UnreadableScanError: It is none, broken, or its voxels lie in another file.
            RefusedScanError: It is larger than an upload may be.
            BusyError: No room, in the queue or on the disk.
            OutputError: The disk fails.
        """
        digest, size, start = hashlib.sha256(), 0, b""
        with self._room(0), self.temporary() as (file, path):
            for chunk in chunks:
                size += len(chunk)
                if size > self._limits.upload:
                    text = f"is larger than {self._limits.upload:,} bytes"
                    raise RefusedScanError(Finding("archive-limit", text), do="compress it")
                if len(start) < SNIFFED:
                    start += chunk[: SNIFFED - len(start)]
                digest.update(chunk)
                file.write(chunk)
                self._check_room(0)
            suffix = volume_suffix(start)
            write_out(file)
            path = path.rename(path.with_suffix(suffix))
            try:
                check_volume(path)
                study = study_of_file(digest.hexdigest())
                self._admit(study)
                with self._opened(study) as folder:
                    new = link(path, folder / f"scan{suffix}")
                    keep_names(folder)
                    outcome: Outcome = "new" if new else "known"
                    received = Received(study, f"scan{suffix}", outcome)
                    self._note(received, peer, size)
                return received
            finally:
                path.unlink()

    def unzip(self, path: Path, *, peer: str) -> Unzipped:
        """Keep the DICOM files of a zip archive; one that is refused keeps no other back.

        It waits while other archives are unpacked.

        Args:
            path: The archive, in a file of `temporary`.
            peer: Who sent it.

        Raises:
            UnreadableScanError: It is broken, or packed beyond the limits.
            RefusedScanError: It holds more than an upload may.
            BusyError: No room, in the queue or on the disk. What was kept until then stays, and is
                known when it comes again.
            OutputError: The disk fails.
        """
        received = []
        limits = self._limits
        with self._unpacking, open_members(path, limits.files, limits.unpacked) as members:
            self._check_room(members.size)
            for name, content in members.dicom_files():
                try:
                    received.append(self.receive(content, peer=peer))
                except ScanError as error:
                    members.refused.append((name, str(error.what)))
            return Unzipped(received, dict(members.ignored), members.refused)

    @contextmanager
    def temporary(self) -> Iterator[tuple[BinaryIO, Path]]:
        """Open a new file for what is not yet kept; it is gone at the end."""
        path = self._incoming / str(next(self._numbers))
        with open(path, "xb", opener=opener(private=True)) as file:
            try:
                yield file, path
            finally:
                path.unlink(missing_ok=True)

    def studies(self) -> Iterator[tuple[str, list[str]]]:
        """Yield each study and its files."""
        for study in sorted(os.listdir(self._studies)):  # noqa: PTH208 (names are enough)
            if STUDY.fullmatch(study) and (files := self.files(study)):
                yield study, files

    def files(self, study: str) -> list[str]:
        """Return the names of a study's files, in order; none where there is no such study."""
        try:
            return sorted(filter(is_file, os.listdir(self.folder(study))))  # noqa: PTH208
        except FileNotFoundError:
            return []

    def folder(self, study: str) -> Path:
        """Return the folder of a study."""
        return self._studies / study

    def remove(self, study: str) -> bool:
        """Remove a study with its files, unless one of it comes in just now.

        Whoever calls this has heard of each file of it by `arrived`, and holds what `arrived` waits
        for.

        Returns:
            Whether it is gone.

        Raises:
            OutputError: The disk fails.
        """
        gone = self._incoming / f"{next(self._numbers)}.gone"
        try:
            with self._lock:
                if self._open[study]:
                    return False
                with suppress(FileNotFoundError):
                    self.folder(study).rename(gone)
                self._kept.discard(study)
            keep_names(self._studies)
            remove(gone)
        except OSError as error:
            raise cannot_write(self._studies, error) from error
        return True

    def free(self) -> int:
        """Return the bytes that may still be used; negative below the mark."""
        disk = os.statvfs(self._incoming)
        return disk.f_bavail * disk.f_frsize - self._least_free

    @property
    def trouble(self) -> str:
        """Return why nothing that comes in is kept now; empty where it is."""
        if os.statvfs(self._incoming).f_flag & os.ST_RDONLY:
            return "the disk is read-only"
        return NEARLY_FULL if self.free() < 0 else ""

    def _keep(self, folder: Path, instance: Instance, content: bytes) -> tuple[str, Outcome]:
        """Return the name that a slice has now, and what became of it."""
        name = slice_file(instance.sop_uid)
        if self._add(content, folder / name):
            return name, "new"
        if not _holds(folder / name, instance):
            name = conflict_file(instance.sop_uid, instance.data())
            if self._add(content, folder / name):
                return name, "conflict"
            if not _holds(folder / name, instance):
                text = "two other files have its UID and the hash of its content"
                raise RefusedScanError(Finding("broken-dicom", text), do="check its source")
        keep_names(folder)  # who brought it first may not have come so far
        return name, "known"

    def _add(self, content: bytes, path: Path) -> bool:
        """Keep content under a name that is free; return whether it was."""
        if path.exists():
            return False
        with self.temporary() as (file, temporary):
            file.write(content)
            write_out(file)
            if not link(temporary, path):
                return False
        keep_names(path.parent)
        return True

    def _check_links(self) -> None:
        """Fail on a file system where `receive` would: one without links, or two of them."""
        target = self._studies / ".link"
        try:
            with self.temporary() as (_, path):
                target.unlink(missing_ok=True)
                os.link(path, target)
                target.unlink()
        except OSError as error:
            if error.errno not in _FULL:  # a full disk opens, and refuses what comes
                raise

    @contextmanager
    def _opened(self, study: str) -> Iterator[Path]:
        """Make a study's folder, on the disk too, and keep it from being removed meanwhile."""
        with self._lock:
            self._open[study] += 1
        try:
            folder = self.folder(study)
            if study not in self._kept:
                folder.mkdir(mode=0o700, exist_ok=True)
                keep_names(self._studies)
                self._kept.add(study)
            yield folder
        finally:
            with self._lock:
                self._open[study] -= 1
                if not self._open[study]:
                    del self._open[study]

    @contextmanager
    def _room(self, size: int) -> Iterator[None]:
        """Check that so many bytes fit, and tell a full disk from one that fails."""
        try:
            self._check_room(size)
            yield
        except ConnectionError:  # the sender's
            raise
        except OSError as error:
            if error.errno in _FULL:
                self._seldom.warn("full", "what comes in is refused: the disk is full")
                raise BusyError("the disk is full", retry_after_s=FULL_S) from error
            raise cannot_write(self._incoming, error) from error

    def _check_room(self, size: int) -> None:
        if self.free() < size:
            self._seldom.warn("full", f"what comes in is refused: {NEARLY_FULL}; see --least-free")
            raise BusyError(NEARLY_FULL, retry_after_s=FULL_S)

    def _note(self, received: Received, peer: str, size: int) -> None:
        with self._lock:
            self.received[received.outcome] += 1
            self.received_bytes += size
        self._arrived(received, peer)


def _holds(path: Path, instance: Instance) -> bool:
    """Return whether a file that is kept is the same as an instance that came."""
    try:
        return instance_of(path.read_bytes()).data() == instance.data()
    except UnreadableScanError:  # its disk has damaged it
        return False
