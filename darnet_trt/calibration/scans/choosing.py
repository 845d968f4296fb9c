"""Choose the scans that give int8 its ranges, and the others that judge it.

Each patient gives one scan, to one side only: a second scan adds little, and the confidence
intervals assume independent scans. The seed draws the order, the classes in turn. Scans of patients
that trained the weights (seen ones) calibrate, and judge only where there are no others: on them a
network is surer than on new patients, and int8 does less harm. Then all unseen scans judge. Where
seen ones are too few to calibrate, a class's unseen scans go to both sides in turn, so that a small
cohort is halved. Scans are read one at a time and kept in unnamed temporary files, 13 MB each at
the paper's size.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from darnet_trt.calibration.scans.apart import Split, without_test_side
from darnet_trt.calibration.scans.notes import notes, source
from darnet_trt.calibration.scans.patients import (
    UnreadScan,
    find_scans,
    patients_of_each_class,
)
from darnet_trt.calibration.scans.sample import (
    SEEN_JUDGES,
    Input,
    Sample,
    SampledScan,
    hashed,
    on_disk,
)
from darnet_trt.errors import UsageError, no_such_path
from darnet_trt.evaluation.seen import TrainingScans
from darnet_trt.machine.cache import digest
from darnet_trt.machine.files import allow_open_files, temporary_folder
from darnet_trt.scan import Preprocessing
from darnet_trt.scan.cohorts import PAPER_CLASSES
from darnet_trt.scan.isolated import reader

_RANDOM_HELD_OUT: Final = 4
# As many choose the method of the ranges. With fewer seen scans, unseen ones calibrate too.
_ENOUGH_SEEN: Final = 8
_REPORT_EVERY: Final = 16  # scans
_OTHER_FILES: Final = 256  # open at once, besides one for each scan that is kept


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
        labels: Index into `classes` of each; None if not known.
        source: Describes the scans in a sentence.
        hashes: `hashed` of each input.
        seen: How many of them are of patients that trained the weights; None where nobody knows.
        classes: Names of the logits, in order.
    """

    inputs: tuple[Input, ...]
    labels: tuple[int, ...] | None
    source: str
    hashes: tuple[str, ...]
    seen: int | None = None
    classes: tuple[str, ...] = PAPER_CLASSES


def require_scans(path: Path) -> None:
    """Check that a path exists, before slower work.

    Raises:
        UsageError: There is no such path, and it is not the word "random".
    """
    if str(path) != "random" and not path.exists():
        raise no_such_path(path)


def choose_scans(
    path: Path,
    spec: Preprocessing,
    count: int,
    seed: int,
    log: Callable[[str], None],
    trained: TrainingScans | None,
    classes: tuple[str, ...] = PAPER_CLASSES,
    split: Split | None = None,
) -> tuple[CalibrationScans, HeldOut]:
    """Draw the scans that calibrate and those that judge; those of the test side do neither.

    Args:
        path: A cohort (`cohort.csv`, or the folder that holds it), or any file or folder that
            `find_studies` reads; its scans have no labels. The word "random", if no file has that
            name, gives `random_scans`.
        spec: Preprocessing from a scan to the network's input.
        count: Scans that calibrate. Half of the scans if there are fewer than twice as many;
            all seen ones if there are fewer but enough.
        seed: Decides the order.
        log: Takes a line on the temporary files, each scan that is left out, each note and the
            progress.
        trained: Which scans trained the weights; None where the checkpoint does not say.
        classes: Names of the logits.
        split: The side of each patient of the run; None where there is no run.

    Raises:
        UsageError: No such path, no usable scan, usable scans of one patient only, or none but
            those of the test side.
        UnreadableScanError: No scan there can be read.
        OutputError: The disk for temporary files is full.
    """
    if str(path) == "random" and not path.exists():
        announce(count + _RANDOM_HELD_OUT, spec, log)
        log("calibration: random inputs instead of scans; use the engine only for timing")
        return random_scans(spec, count, seed)
    pool = without_test_side(find_scans(path, classes), path, trained, split, log)
    with reader() as pixels:
        sample = Sample(pixels, spec, pool.cohort, trained, count, log)
        patients_by_class = patients_of_each_class(pool.scans, seed)
        if pool.cohort is None:
            grouped(len(pool.scans), sum(map(len, patients_by_class)), log)
        known = [[p for p in patients if sample.had_patient(p)] for patients in patients_by_class]
        other = [
            [p for p in patients if not sample.had_patient(p)] for patients in patients_by_class
        ]
        others = sum(map(len, other))
        most_known = count if others else count + SEEN_JUDGES
        most = others + min(most_known, sum(map(len, known)))
        announce(most, spec, log)
        allow_open_files(most + _OTHER_FILES)
        _fill(sample, other, lambda: False)
        _fill(sample, known, lambda: len(sample.seen) >= sample.most_seen)
    calibrating, judging = _sides(sample)
    _require_both(sample, calibrating, judging, path)
    for note in notes(sample, calibrating, judging):
        log(f"calibration: {note}")
    chosen = CalibrationScans(
        inputs=tuple(scan.input for scan in calibrating),
        source=source(pool.cohort, calibrating, path),
        hashes=tuple(scan.hash for scan in calibrating),
    )
    return chosen, HeldOut(
        inputs=tuple(scan.input for scan in judging),
        labels=None if pool.cohort is None else tuple(classes.index(s.label) for s in judging),
        source=source(pool.cohort, judging, path),
        hashes=tuple(scan.hash for scan in judging),
        seen=None if trained is None else 0 if sample.unseen else len(judging),
        classes=classes,
    )


def random_scans(spec: Preprocessing, count: int, seed: int) -> tuple[CalibrationScans, HeldOut]:
    """Return uniform random inputs, for an engine that is only timed; its results mean nothing.

    Raises:
        OutputError: The disk for temporary files is full.
    """
    draw = np.random.default_rng(seed)
    allow_open_files(count + _RANDOM_HELD_OUT + _OTHER_FILES)
    inputs = tuple(
        on_disk(draw.random((1, *spec.size), np.float32)) for _ in range(count + _RANDOM_HELD_OUT)
    )
    hashes = tuple(map(hashed, inputs))
    what = f"random inputs instead of scans, seed {seed}"
    chosen = CalibrationScans(
        inputs=inputs[:count],
        source=f"{count} {what}",
        hashes=hashes[:count],
        random=True,
    )
    held_out = HeldOut(inputs[count:], None, f"{_RANDOM_HELD_OUT} {what}", hashes[count:], 0)
    return chosen, held_out


def grouped(scans: int, patients: int, log: Callable[[str], None]) -> None:
    """Log that some scans have one PatientID: it may be that of all ("ANONYMOUS")."""
    if patients < scans:
        log(
            f"calibration: by PatientID (0010,0020), the {scans} scans are of {patients} "
            f"patient{'s' * (patients > 1)}, and each gives one; if they are of more, write a "
            "cohort.csv that names them"
        )


def announce(scans: int, spec: Preprocessing, log: Callable[[str], None]) -> None:
    """Log how much temporary space the scans need."""
    folder = temporary_folder()
    size = scans * int(np.prod(spec.size)) * np.dtype(np.float32).itemsize
    free = shutil.disk_usage(folder).free
    lack = f"; {free // 10**6} MB are free, set TMPDIR to a larger folder" if free < size else ""
    log(
        f"calibration: needs up to {math.ceil(size / 1e6)} MB in {folder} for "
        f"{scans} preprocessed scans{lack}"
    )


def _fill(
    sample: Sample, classes: Sequence[Sequence[Sequence[UnreadScan]]], enough: Callable[[], bool]
) -> None:
    """Add a patient of each class in turn; skip patients without a usable scan."""
    left = [iter(patients) for patients in classes]
    while left:
        for patients in tuple(left):
            if enough():
                return
            if not any(map(sample.add, patients)):
                left.remove(patients)
            elif sample.read % _REPORT_EVERY == 0:
                sample.log(f"calibration: {sample.read} scans read")


def _sides(sample: Sample) -> tuple[list[SampledScan], list[SampledScan]]:
    """Return the scans that calibrate and those that judge."""
    most = sample.calibrating
    calibrating = list(sample.seen) if sample.unseen else []
    if len(calibrating) >= _ENOUGH_SEEN:
        most = len(calibrating)
    judging = list[SampledScan]()
    for scan in sample.unseen or sample.seen:
        c, j = (
            (sum(other.label == scan.label for other in side), len(side))
            for side in (calibrating, judging)
        )
        may_judge = bool(sample.unseen) or len(judging) < SEEN_JUDGES
        if len(calibrating) < most and (c <= j or not may_judge):
            calibrating.append(scan)
        elif may_judge:
            judging.append(scan)
    return calibrating, judging


def _require_both(
    sample: Sample,
    calibrating: Sequence[SampledScan],
    judging: Sequence[SampledScan],
    path: Path,
) -> None:
    if not calibrating:
        raise UsageError(
            f"none of {len(sample.left_out)} scans can be used to calibrate; the first: "
            f"{sample.left_out[0]}",
            where=path,
            do="list the reasons with: darnet-trt inspect",
        )
    if not judging:
        unusable = f" ({len(sample.left_out)} scans could not be used)" if sample.left_out else ""
        raise UsageError(
            f"only one patient has a usable scan{unusable}; calibration needs two, one to "
            "calibrate and one to judge",
            where=path,
            do="give scans of at least two patients; a cohort.csv says which scan is whose",
        )
