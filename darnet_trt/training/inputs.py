"""Preprocess a cohort's scans once and keep the network's inputs in files."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from darnet_trt.errors import DarnetError, RefusedScanError, TrainingError
from darnet_trt.evaluation.seen import patient_id_of
from darnet_trt.machine.cache import DAMAGE, read_array, write_arrays
from darnet_trt.machine.cpus import usable_cpus
from darnet_trt.machine.files import cannot_write
from darnet_trt.scan import Preprocessing, load_study
from darnet_trt.scan.cohorts import PAPER_CLASSES, Entry, study_of
from darnet_trt.scan.discovery.identity import key_of
from darnet_trt.scan.isolated import read_each

MIN_SCANS_A_PROCESS = 16  # with fewer, starting a process takes longer than it saves


@dataclass(frozen=True)
class Example:
    """A preprocessed scan in an .npz file.

    The file holds the input, float16 (1, d, h, w), its `pixel_mm`, and what tells the scan from
    others: its key, its PatientID and `LoadedInput.hashes`. Whatever is read is compared with its
    checksum. A file that is gone or damaged is made again.

    Raises:
        TrainingError: On reading: the file is damaged and cannot be made again.
    """

    entry: Entry
    file: Path
    spec: Preprocessing
    classes: tuple[str, ...] = PAPER_CLASSES

    @property
    def label(self) -> int:
        """The index of its class in the cohort's."""
        return self.classes.index(self.entry.label)

    def load(self) -> npt.NDArray[np.float32]:
        """Read the network's input, values 0…1."""
        return self._read("volume").astype(np.float32)

    @property
    def pixel_mm(self) -> float | None:
        """`LoadedInput.pixel_mm`."""
        return float(self._read("pixel_mm")) or None

    @property
    def key(self) -> str:
        """The key of its study in the results of `predict`."""
        return str(self._read("key"))

    @property
    def patient_id(self) -> str:
        """PatientID (0010,0020), or empty."""
        return str(self._read("patient_id"))

    @property
    def hashes(self) -> frozenset[int]:
        """`LoadedInput.hashes`."""
        return frozenset(self._read("hashes").tolist())

    def _read(self, name: str) -> npt.NDArray[Any]:
        with suppress(*DAMAGE):
            return read_array(self.file, name)
        reason = "the scan has changed"
        try:
            if _input_file(self.entry, self.spec, self.file.parent) == self.file:
                again = (self.entry.scan, (self.entry, self.spec, self.file))
                (failure,) = read_each(_prepare_one, [again], 1)
                if not isinstance(failure, DarnetError):
                    return read_array(self.file, name)
                reason = str(failure)
        except DAMAGE as error:
            reason = str(error)
        raise TrainingError(
            f"a preprocessed input is damaged, and cannot be made again: {reason}",
            where=self.entry.scan,
            do="run the same command again",
        )


@dataclass(frozen=True)
class Failure:
    """A scan that cannot be used.

    Attributes:
        entry: Which.
        reason: Why.
        code: Of the reason, which stays the same.
        refused: Whether it can be read, but would be guessed.
    """

    entry: Entry
    reason: str
    code: str = ""
    refused: bool = False


def prepare(
    entries: tuple[Entry, ...],
    spec: Preprocessing,
    folder: Path,
    *,
    classes: tuple[str, ...] = PAPER_CLASSES,
    done: Callable[[int], None] = lambda count: None,
) -> tuple[tuple[Example, ...], tuple[Failure, ...]]:
    """Read and preprocess scans, or find them in `folder` from an earlier run.

    Args:
        entries: The scans.
        spec: The preprocessing.
        folder: For the inputs; a file's name is a hash of the scan and the preprocessing.
        classes: Those of the cohort.
        done: Called with the number of scans finished since the last call.

    Returns:
        The usable scans and the others with their reasons, both in the order given.

    Raises:
        OutputError: An input cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        examples, failures = [], []
        for entry, (file, error) in zip(entries, _prepare_all(entries, spec, folder), strict=True):
            if error is None:
                examples.append(Example(entry, file, spec, classes))
            else:
                refused = isinstance(error, RefusedScanError)
                failures.append(Failure(entry, str(error), error.code, refused))
            done(1)
    except OSError as error:
        raise cannot_write(folder, error) from error
    return tuple(examples), tuple(failures)


def _prepare_all(
    entries: tuple[Entry, ...], spec: Preprocessing, folder: Path
) -> Iterator[tuple[Path, DarnetError | None]]:
    """Yield each scan's file, and the error if the scan cannot be used."""
    files = [_input_file(entry, spec, folder) for entry in entries]
    missing = [not _is_there(file) for file in files]
    todo = [
        (entry.scan, (entry, spec, file))
        for entry, file, absent in zip(entries, files, missing, strict=True)
        if absent
    ]
    processes = max(1, min(usable_cpus(), len(todo) // MIN_SCANS_A_PROCESS))
    made = read_each(_prepare_one, todo, processes)
    for file, absent in zip(files, missing, strict=True):
        found = next(made) if absent else None
        yield file, found if isinstance(found, DarnetError) else None


def _is_there(file: Path) -> bool:
    """Return whether an input is there, to its end, with all that today's version writes."""
    try:
        with zipfile.ZipFile(file) as content:
            return "key.npy" in content.namelist()
    except DAMAGE:
        return False


def _input_file(entry: Entry, spec: Preprocessing, folder: Path) -> Path:
    """Return the file named after the preprocessing and what the input is made from.

    That is the path, the files' sizes and times, and the slices' order where the cohort gives one.
    """
    scan = entry.scan
    identity = [spec.model_dump_json(), str(scan.resolve()), file_stamps(scan), *entry.slices]
    return folder / f"{hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:24]}.npz"


def file_stamps(scan: Path) -> list[tuple[str, int, int]]:
    """Return name, size in bytes and time of change in ns of a scan's files; [] if it is absent."""
    try:
        files = sorted(f for f in scan.rglob("*") if f.is_file()) if scan.is_dir() else [scan]
        return [(f.name, (s := f.stat()).st_size, s.st_mtime_ns) for f in files]
    except (OSError, ValueError):  # ValueError: a NUL in the path
        return []


def _prepare_one(entry: Entry, spec: Preprocessing, file: Path) -> None:
    """Write one input.

    Raises:
        ScanError: The scan cannot be used.
        OutputError: The file cannot be written.
    """
    study = study_of(entry)
    choice, loaded = load_study(study, spec, identify=True)
    # float16 has 11 significant bits: an error of at most 0.4 HU in a window of 1500.
    write_arrays(
        file,
        volume=loaded.array.astype(np.float16),
        pixel_mm=loaded.pixel_mm or 0.0,
        key=key_of(study),
        patient_id=patient_id_of(study, choice),
        hashes=np.array(sorted(loaded.hashes), np.int64),
    )
