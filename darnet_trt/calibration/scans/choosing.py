"""Choose the scans that give int8 its ranges, and the others that judge it.

The scans are drawn by a seed, as many of each class as the cohort allows. Each patient gives one
scan, to one side only: a second scan adds little, and the confidence intervals assume independent
scans. A class's scans go to both sides in turn, so that a small cohort is halved. Scans are read
one at a time and kept in unnamed temporary files, 13 MB each at the paper's size.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from darnet_trt.calibration.scans.patients import (
    ScanPool,
    UnreadScan,
    find_scans,
    patients_of_each_class,
)
from darnet_trt.calibration.scans.sample import Input, Sample, SampledScan, hashed, on_disk
from darnet_trt.errors import UsageError, no_such_path
from darnet_trt.machine.cache import digest
from darnet_trt.machine.files import temporary_folder
from darnet_trt.scan import Preprocessing
from darnet_trt.scan.cohort import CLASSES
from darnet_trt.scan.isolated import reader

# With 40 COVID-19 scans and 80 others the intervals of AUC and accuracy fit the margins.
_HELD_OUT: Final = 120
_RANDOM_HELD_OUT: Final = 4
_REPORT_EVERY: Final = 16  # scans


@dataclass(frozen=True, eq=False)
class CalibrationScans:
    """The network inputs whose activations give the ranges.

    Attributes:
        inputs: Each float32 (1, d, h, w), in files.
        source: Describes the scans in a sentence.
        hashes: `hashed` of each input.
        random: True if these are random numbers, not scans.
    """

    inputs: tuple[Input, ...]
    source: str
    hashes: tuple[str, ...]
    random: bool = False

    @property
    def count(self) -> int:
        """Number of scans."""
        return len(self.inputs)

    @property
    def digest(self) -> str:
        """Hash of the inputs in their order."""
        return digest(*self.hashes)


@dataclass(frozen=True, eq=False)
class HeldOut:
    """The network inputs on which decisions are judged, of patients that did not calibrate.

    Attributes:
        inputs: Each float32 (1, d, h, w), in files; the classes in turn.
        labels: Index into `CLASSES` of each; None if not known.
        source: Describes the scans in a sentence.
        hashes: `hashed` of each input.
    """

    inputs: tuple[Input, ...]
    labels: tuple[int, ...] | None
    source: str
    hashes: tuple[str, ...]


def require_scans(path: Path) -> None:
    """Check that a path exists, before slower work.

    Raises:
        UsageError: There is no such path, and it is not the word "random".
    """
    if str(path) != "random" and not path.exists():
        raise no_such_path(path)


def choose_scans(
    path: Path, spec: Preprocessing, count: int, seed: int, log: Callable[[str], None]
) -> tuple[CalibrationScans, HeldOut]:
    """Draw the scans that calibrate and those that judge.

    Args:
        path: A cohort (`cohort.csv`, or the folder that holds it), or any file or folder that
            `find_studies` reads; its scans have no labels. The word "random", if no file has that
            name, gives `random_scans`.
        spec: Preprocessing from a scan to the network's input.
        count: Scans that calibrate; half of the scans if there are fewer than twice as many.
        seed: Decides which.
        log: Takes a line on the temporary files, each scan that is left out, each note and the
            progress.

    Raises:
        UsageError: No such path, no usable scan, or usable scans of one patient only.
        UnreadableScanError: No scan there can be read.
        OutputError: The disk for temporary files is full.
    """
    if str(path) == "random" and not path.exists():
        _announce(count + _RANDOM_HELD_OUT, spec, log)
        log("calibration: random inputs instead of scans; use the engine only for timing")
        return random_scans(spec, count, seed)
    pool = find_scans(path)
    _announce(min(count + _HELD_OUT, len(pool.scans)), spec, log)
    with reader() as pixels:
        sample = Sample(pixels, count, _HELD_OUT)
        _fill(sample, patients_of_each_class(pool.scans, seed), spec, log)
    _require_both(sample, path)
    for note in _notes(sample, pool, count):
        log(f"calibration: {note}")
    calibrating, judging = sample.calibrating, sample.judging
    chosen = CalibrationScans(
        inputs=tuple(scan.input for scan in calibrating),
        source=_source(pool, calibrating, path),
        hashes=tuple(scan.hash for scan in calibrating),
    )
    return chosen, HeldOut(
        inputs=tuple(scan.input for scan in judging),
        labels=None
        if pool.cohort is None
        else tuple(CLASSES.index(s.origin.label) for s in judging),
        source=_source(pool, judging, path),
        hashes=tuple(scan.hash for scan in judging),
    )


def random_scans(spec: Preprocessing, count: int, seed: int) -> tuple[CalibrationScans, HeldOut]:
    """Return uniform random inputs, for an engine that is only timed; its results mean nothing.

    Raises:
        OutputError: The disk for temporary files is full.
    """
    draw = np.random.default_rng(seed)
    inputs = tuple(
        on_disk(draw.random((1, *spec.size), np.float32)) for _ in range(count + _RANDOM_HELD_OUT)
    )
    hashes = tuple(map(hashed, inputs))
    source = f"random inputs instead of scans, seed {seed}"
    chosen = CalibrationScans(
        inputs=inputs[:count],
        source=f"{count} {source}",
        hashes=hashes[:count],
        random=True,
    )
    held_out = HeldOut(inputs[count:], None, f"{_RANDOM_HELD_OUT} {source}", hashes[count:])
    return chosen, held_out


def _announce(scans: int, spec: Preprocessing, log: Callable[[str], None]) -> None:
    """Log how much temporary space the scans need."""
    size = scans * int(np.prod(spec.size)) * np.dtype(np.float32).itemsize
    log(
        f"calibration: needs up to {math.ceil(size / 1e6)} MB in {temporary_folder()} for "
        f"{scans} preprocessed scans"
    )


def _fill(
    sample: Sample,
    classes: Sequence[Sequence[Sequence[UnreadScan]]],
    spec: Preprocessing,
    log: Callable[[str], None],
) -> None:
    """Add a patient of each class in turn; skip patients without a usable scan."""
    left = [iter(patients) for patients in classes]
    while left and not sample.full:
        for patients in tuple(left):
            if sample.full:
                return
            if not any(sample.add(scans, spec, log) for scans in patients):
                left.remove(patients)
            elif sample.size % _REPORT_EVERY == 0:
                log(f"calibration: {sample.size} scans read")


def _require_both(sample: Sample, path: Path) -> None:
    if not sample.calibrating:
        raise UsageError(
            f"none of {len(sample.left_out)} scans can be used to calibrate; the first: "
            f"{sample.left_out[0]}",
            where=path,
            do="list the reasons with: darnet-trt inspect",
        )
    if not sample.judging:
        unusable = f" ({len(sample.left_out)} scans could not be used)" if sample.left_out else ""
        raise UsageError(
            f"only one patient has a usable scan{unusable}; calibration needs two, one to "
            "calibrate and one to judge",
            where=path,
            do="give scans of at least two patients; a cohort.csv says which scan is whose",
        )


def _notes(sample: Sample, pool: ScanPool, count: int) -> Iterator[str]:
    if sample.left_out:
        yield f"{len(sample.left_out)} scans could not be used, the first: {sample.left_out[0]}"
    if len(sample.calibrating) < count:
        yield (
            f"{len(sample.calibrating)} scans calibrate instead of {count}, so that "
            f"{len(sample.judging)} scans of other patients can judge"
        )
    if pool.cohort is not None:
        present = {scan.origin.label for scan in sample.calibrating}
        yield from (f"no {label} scan calibrates" for label in CLASSES if label not in present)


def _source(pool: ScanPool, scans: Sequence[SampledScan], path: Path) -> str:
    if pool.cohort is None:
        return f"{len(scans)} scans of {path.resolve().name}, classes not known"
    entries = tuple(e for scan in scans if (e := scan.origin.entry))
    counts = Counter(scan.origin.label for scan in scans)
    listed = ", ".join(f"{counts[label]} {label}" for label in CLASSES)
    return f"{pool.cohort.describe(entries)}: {listed}"
