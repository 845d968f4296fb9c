"""Preprocess a cohort's scans once and keep the network's inputs in files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import numpy.typing as npt

from darnet_trt.errors import OutputError, ScanError, UsageError
from darnet_trt.machine.cpus import usable_cpus
from darnet_trt.machine.files import whole_file
from darnet_trt.machine.processes import worker_pool
from darnet_trt.scan import Preprocessing, find_studies, load_study
from darnet_trt.scan.cohort import CLASSES, Entry

MIN_SCANS_A_PROCESS = 16  # with fewer, starting a process takes longer than it saves


@dataclass(frozen=True)
class Example:
    """A preprocessed scan: float16 (1, d, h, w) and its `pixel_mm` in an .npz file."""

    entry: Entry
    file: Path

    @property
    def label(self) -> int:
        """The index of its class in CLASSES."""
        return CLASSES.index(self.entry.label)

    def load(self) -> npt.NDArray[np.float32]:
        """Read the network's input, values 0…1."""
        with np.load(self.file, allow_pickle=False) as content:
            array: npt.NDArray[np.float32] = content["volume"].astype(np.float32)
        return array

    @property
    def pixel_mm(self) -> float | None:
        """`LoadedInput.pixel_mm`."""
        with np.load(self.file, allow_pickle=False) as content:
            return float(content["pixel_mm"]) or None


@dataclass(frozen=True)
class Failure:
    """A scan that cannot be used, and the reason."""

    entry: Entry
    reason: str


def prepare(
    entries: tuple[Entry, ...],
    spec: Preprocessing,
    folder: Path,
    *,
    done: Callable[[int], None] = lambda count: None,
) -> tuple[tuple[Example, ...], tuple[Failure, ...]]:
    """Read and preprocess scans, or find them in `folder` from an earlier run.

    Args:
        entries: The scans.
        spec: The preprocessing.
        folder: For the inputs; a file's name is a hash of the scan and the preprocessing.
        done: Called with the number of scans finished since the last call.

    Returns:
        The usable scans and the others with their reasons, both in the order given.

    Raises:
        OutputError: An input cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        examples, failures = [], []
        for entry, (file, reason) in zip(entries, _prepare_all(entries, spec, folder), strict=True):
            if reason is None:
                examples.append(Example(entry, file))
            else:
                failures.append(Failure(entry, reason))
            done(1)
    except (OSError, BrokenProcessPool) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise OutputError(
            f"preprocessed inputs cannot be written ({reason})",
            where=folder,
            do="check free space and permissions",
        ) from error
    return tuple(examples), tuple(failures)


def _prepare_all(
    entries: tuple[Entry, ...], spec: Preprocessing, folder: Path
) -> Iterator[tuple[Path, str | None]]:
    todo = sum(not _input_file(e.scan, spec, folder).exists() for e in entries)
    processes = min(usable_cpus(), todo // MIN_SCANS_A_PROCESS)
    n = len(entries)
    arguments = ([e.scan for e in entries], [spec] * n, [folder] * n)
    if processes <= 1:
        yield from map(_prepare_one, *arguments)
        return
    with worker_pool(processes) as pool:
        yield from pool.map(_prepare_one, *arguments, chunksize=4)


def _input_file(scan: Path, spec: Preprocessing, folder: Path) -> Path:
    """Return the file named after the preprocessing, the path, and the files' sizes and times."""
    try:
        files = sorted(f for f in scan.rglob("*") if f.is_file()) if scan.is_dir() else [scan]
        stamps = [(f.name, (s := f.stat()).st_size, s.st_mtime_ns) for f in files]
    except OSError:
        stamps = []
    identity = json.dumps([spec.model_dump_json(), str(scan.resolve()), stamps])
    return folder / f"{hashlib.sha256(identity.encode()).hexdigest()[:24]}.npz"


def _prepare_one(scan: Path, spec: Preprocessing, folder: Path) -> tuple[Path, str | None]:
    """Write one input unless it exists; return the reason if the scan cannot be used."""
    file = _input_file(scan, spec, folder)
    if file.exists():
        return file, None
    try:
        studies = find_studies(scan)
        if len(studies) > 1:
            return file, f"{len(studies)} studies where one scan is expected"
        loaded = load_study(studies[0], spec)[1]
    except (ScanError, UsageError) as error:
        return file, str(error)
    # float16 has 11 significant bits: an error of at most 0.4 HU in a window of 1500.
    content = BytesIO()  # numpy's own writing to a file does not report why it fails
    volume = loaded.array.astype(np.float16)
    np.savez(content, volume=volume, pixel_mm=loaded.pixel_mm or 0.0)
    with whole_file(file) as stream:
        stream.write(content.getbuffer())
    return file, None
