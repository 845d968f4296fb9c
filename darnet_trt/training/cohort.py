"""A labelled cohort: its table, its split by patient, and its preprocessed inputs."""

from __future__ import annotations

import csv
import hashlib
import json
import multiprocessing
import os
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from darnet_trt.errors import OutputError, ScanError, UsageError
from darnet_trt.output import whole_file
from darnet_trt.scan.preprocessing import Preprocessing
from darnet_trt.training.model import CLASSES

__all__ = ["Cohort", "Entry", "Example", "Failure", "prepare", "read_cohort", "split_by_patient"]

TABLE = "cohort.csv"
PLAN = "cohort.json"  # beside the table of a synthetic cohort: says that it is one
COLUMNS = ("scan", "patient", "label")
MIN_SCANS_A_PROCESS = 16  # below, starting a process costs more than it saves


@dataclass(frozen=True)
class Entry:
    """A row of the table: where the scan is, whose it is, and its class."""

    scan: Path
    patient: str
    label: str


@dataclass(frozen=True)
class Cohort:
    """A labelled cohort.

    Attributes:
        table: The CSV it was read from.
        entries: In the table's order.
        seed: Of the phantoms when the cohort is synthetic, else None.
    """

    table: Path
    entries: tuple[Entry, ...]
    seed: int | None

    def describe(self, entries: tuple[Entry, ...]) -> str:
        """One sentence that says what a network trained on these entries has seen."""
        patients = len({e.patient for e in entries})
        if self.seed is not None:
            return (
                f"{len(entries)} synthetic phantoms (darnet-trt phantom, seed {self.seed}); "
                "not real patients"
            )
        digest = hashlib.sha256(self.table.read_bytes()).hexdigest()[:12]
        return (
            f"{len(entries)} scans of {patients} patients of the cohort "
            f"{self.table.resolve().parent.name} (table's SHA-256 {digest}…)"
        )


@dataclass(frozen=True)
class Example:
    """A preprocessed scan: float16 (1, d, h, w) in an .npy file."""

    entry: Entry
    file: Path

    @property
    def label(self) -> int:
        """Index into CLASSES."""
        return CLASSES.index(self.entry.label)

    def load(self) -> npt.NDArray[np.float32]:
        """The network's input, values 0…1."""
        array: npt.NDArray[np.float32] = np.load(self.file, allow_pickle=False).astype(np.float32)
        return array


@dataclass(frozen=True)
class Failure:
    """A scan that could not be used, and why."""

    entry: Entry
    reason: str


def read_cohort(path: Path) -> Cohort:
    """Read `cohort.csv`: columns scan (relative to the table), patient, label.

    Args:
        path: The table, or the folder that holds it.

    Raises:
        UsageError: No table, a missing column, an unknown label, an empty field, a scan twice.
    """
    table = path / TABLE if path.is_dir() else path
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
            if missing:
                raise UsageError(
                    f"the table has no column {', '.join(missing)}",
                    where=table,
                    do=f"its first line must be {','.join(COLUMNS)}",
                )
            entries = tuple(_entry(table, reader.line_num, row) for row in reader)
    except FileNotFoundError as error:
        raise UsageError(
            "there is no cohort table here",
            where=table,
            do="make one with darnet-trt phantom, or write scan,patient,label for your own scans",
        ) from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"the table cannot be read ({error})", where=table) from error
    if not entries:
        raise UsageError("the table names no scan", where=table)
    twice = [scan for scan, count in Counter(e.scan for e in entries).items() if count > 1]
    if twice:
        raise UsageError(f"the scan {twice[0]} occurs twice", where=table, do="keep one line of it")
    return Cohort(table, entries, _phantom_seed(table.with_name(PLAN)))


def _entry(table: Path, line: int, row: dict[str, str]) -> Entry:
    scan, patient, label = ((row[name] or "").strip() for name in COLUMNS)
    if not (scan and patient and label):
        raise UsageError(f"line {line} has an empty field", where=table, do="fill it in")
    if label not in CLASSES:
        raise UsageError(
            f"line {line}: no class is called {label!r}",
            where=table,
            do=f"use {', '.join(CLASSES)}",
        )
    return Entry(table.parent / scan, patient, label)


def _phantom_seed(plan: Path) -> int | None:
    try:
        content = json.loads(plan.read_text("utf-8"))
        return int(content["seed"]) if content["synthetic"] else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def split_by_patient(
    entries: tuple[Entry, ...], held_out: float, seed: int
) -> tuple[tuple[Entry, ...], tuple[Entry, ...]]:
    """Set patients aside, the same share of each class; no patient is on both sides.

    Args:
        entries: All scans.
        held_out: Share of the patients, 0 for none.
        seed: Decides who.

    Returns:
        Training and held-out entries, each in the order given.

    Raises:
        UsageError: A class is absent, or has too few patients to be on both sides.
    """
    if not 0 <= held_out < 1:
        raise UsageError(f"the held-out share must be 0 to 1, not {held_out}")
    # A patient of several labels counts as one of the first.
    first: dict[str, str] = {}
    for entry in entries:
        first.setdefault(entry.patient, entry.label)
    aside: set[str] = set()
    for index, label in enumerate(CLASSES):
        patients = sorted(p for p, of in first.items() if of == label)
        if not patients:
            raise UsageError(f"no patient has the label {label}", do="every class must occur")
        count = max(1, round(held_out * len(patients))) if held_out else 0
        if count >= len(patients):
            raise UsageError(
                f"{len(patients)} patient(s) with the label {label} are too few "
                f"to hold out {count}",
                do="add patients, or train with --held-out 0",
            )
        order = np.random.default_rng((seed, index)).permutation(len(patients))
        aside.update(patients[i] for i in order[:count])
    train = tuple(e for e in entries if e.patient not in aside)
    return train, tuple(e for e in entries if e.patient in aside)


def prepare(
    entries: tuple[Entry, ...],
    spec: Preprocessing,
    folder: Path,
    *,
    processes: int | None = None,
    done: Callable[[int], None] = lambda count: None,
) -> tuple[tuple[Example, ...], tuple[Failure, ...]]:
    """Read and preprocess scans, or find them in `folder` from an earlier run.

    Args:
        entries: Which scans.
        spec: What makes the input of them.
        folder: Where the inputs are kept, under names that follow from scan and specification.
        processes: How many at once; by default as many as there are CPUs for this process.
        done: Called with the number of scans finished since the last call.

    Returns:
        What can be used, and what cannot with its reason; both in the order given.

    Raises:
        OutputError: An input cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        examples, failures = [], []
        for entry, (file, reason) in zip(
            entries, _prepare_all(entries, spec, folder, processes), strict=True
        ):
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
    entries: tuple[Entry, ...], spec: Preprocessing, folder: Path, processes: int | None
) -> Iterator[tuple[Path, str | None]]:
    if processes is None:
        processes = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
        todo = sum(not _input_file(e.scan, spec, folder).exists() for e in entries)
        processes = min(processes, todo // MIN_SCANS_A_PROCESS)
    n = len(entries)
    arguments = ([e.scan for e in entries], [spec] * n, [folder] * n)
    if processes <= 1:
        yield from map(_prepare_one, *arguments)
        return
    # spawn: a fork of a process with threads (torch) may hang.
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(_prepare_one, *arguments, chunksize=4)


def _input_file(scan: Path, spec: Preprocessing, folder: Path) -> Path:
    """Named by specification, path, and the sizes and times of the scan's files."""
    try:
        files = sorted(f for f in scan.rglob("*") if f.is_file()) if scan.is_dir() else [scan]
        stamps = [(f.name, (s := f.stat()).st_size, s.st_mtime_ns) for f in files]
    except OSError:
        stamps = []
    identity = json.dumps([spec.model_dump_json(), str(scan.resolve()), stamps])
    return folder / f"{hashlib.sha256(identity.encode()).hexdigest()[:24]}.npy"


def _prepare_one(scan: Path, spec: Preprocessing, folder: Path) -> tuple[Path, str | None]:
    """Write one input unless it is there; the reason where the scan cannot be used."""
    from darnet_trt.scan import choose, find_studies, load_input

    file = _input_file(scan, spec, folder)
    if file.exists():
        return file, None
    try:
        studies = find_studies(scan)
        if len(studies) > 1:
            return file, f"{len(studies)} studies where one scan is expected"
        array = load_input(choose(studies[0]).series, spec).array
    except (ScanError, UsageError) as error:
        return file, str(error)
    # float16 keeps 11 bits of a value of 0…1: 0.7 HU of a window of 1500 at the most.
    with whole_file(file) as stream:
        np.save(stream, array.astype(np.float16), allow_pickle=False)
    return file, None
