"""Which scans give int8 its ranges, and which others judge it.

A sample drawn by seed, of each class as many as there are of all, one scan a patient and no patient
on both sides: a second scan of a patient tells little more, and the judges' intervals take scans
for independent. A class's scans go to both sides in turn, so that few scans are halved. They are
read one at a time and wait in unnamed temporary files, 13 MB each at the paper's size.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from darnet_trt.calibration.scans.patients import (
    Candidate,
    Candidates,
    find_candidates,
    patients_of_each_class,
)
from darnet_trt.calibration.scans.sample import Input, Sample, SampledScan, hashed, on_disk
from darnet_trt.errors import UsageError
from darnet_trt.machine.cache import digest
from darnet_trt.machine.files import temporary_folder
from darnet_trt.scan import Preprocessing
from darnet_trt.scan.cohort import CLASSES

__all__ = ["CalibrationScans", "HeldOut", "choose_scans", "random_scans"]

# With 40 of COVID-19 and 80 others the AUC's and the accuracy's intervals fit the margins.
_HELD_OUT: Final = 120
_RANDOM_HELD_OUT: Final = 4
_TOLD_EVERY: Final = 16  # scans


@dataclass(frozen=True, eq=False)
class CalibrationScans:
    """The network inputs whose activations give the ranges.

    Attributes:
        inputs: Each float32 (1, d, h, w), in files.
        source: Which scans, in a sentence.
        labelled: Scans of each class in the order of the logits; None where they are not known.
        digest: Of the inputs in their order.
        random: True: random numbers, no scans.
        notes: What a person should know: scans left out, fewer than asked for, a class absent.
    """

    inputs: tuple[Input, ...]
    source: str
    labelled: tuple[int, ...] | None
    digest: str
    random: bool = False
    notes: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """How many."""
        return len(self.inputs)

    def volumes(self) -> Iterator[Input]:
        """One after the other."""
        return iter(self.inputs)


@dataclass(frozen=True, eq=False)
class HeldOut:
    """The network inputs on which decisions are judged, of patients that gave no range.

    Attributes:
        inputs: Each float32 (1, d, h, w), in files; the classes in turn.
        labels: Index into `CLASSES` of each; None where they are not known.
        source: Which scans, in a sentence.
    """

    inputs: tuple[Input, ...]
    labels: tuple[int, ...] | None
    source: str


def choose_scans(
    path: Path, spec: Preprocessing, count: int, seed: int, log: Callable[[str], None]
) -> tuple[CalibrationScans, HeldOut]:
    """Draw the scans that calibrate and those that judge.

    Args:
        path: A cohort (`cohort.csv`, or the folder that holds it), or any file or folder that
            `find_studies` reads; its scans have no labels. The word "random", where nothing has
            that name, asks for `random_scans`.
        spec: What makes the network's input of a scan.
        count: How many calibrate. Where there are fewer than twice as many, half of them do.
        seed: Decides which.
        log: Takes a line on the temporary files, for each scan that is left out, each note, and now
            and then.

    Raises:
        UsageError: No such path, no usable scan, or usable scans of one patient only.
        UnreadableScanError: Nothing there can be read.
        OutputError: The disk for temporary files is full.
    """
    if str(path) == "random" and not path.exists():
        _announce(count + _RANDOM_HELD_OUT, spec, log)
        return random_scans(spec, count, seed)
    candidates = find_candidates(path)
    sample = Sample(count, _HELD_OUT)
    _announce(min(count + _HELD_OUT, len(candidates.scans)), spec, log)
    _fill(sample, patients_of_each_class(candidates.scans, seed), spec, log)
    _require_both(sample, path)
    notes = tuple(_notes(sample, candidates, count))
    for note in notes:
        log(f"calibration: {note}")
    calibrating, judging = sample.calibrating, sample.judging
    chosen = CalibrationScans(
        inputs=tuple(scan.input for scan in calibrating),
        source=_source(candidates, calibrating, path),
        labelled=_label_counts(candidates, calibrating),
        digest=digest(*(scan.hash for scan in calibrating)),
        notes=notes,
    )
    return chosen, HeldOut(
        inputs=tuple(scan.input for scan in judging),
        labels=None
        if candidates.cohort is None
        else tuple(CLASSES.index(s.candidate.label) for s in judging),
        source=_source(candidates, judging, path),
    )


def random_scans(spec: Preprocessing, count: int, seed: int) -> tuple[CalibrationScans, HeldOut]:
    """Uniform random inputs, for an engine that is only timed: what it says means nothing.

    Raises:
        OutputError: The disk for temporary files is full.
    """
    draw = np.random.default_rng(seed)
    inputs = [
        on_disk(draw.random((1, *spec.size), np.float32)) for _ in range(count + _RANDOM_HELD_OUT)
    ]
    source = f"random inputs, seed {seed}: no scans"
    chosen = CalibrationScans(
        inputs=tuple(inputs[:count]),
        source=f"{count} {source}",
        labelled=None,
        digest=digest(*map(hashed, inputs[:count])),
        random=True,
        notes=("random inputs: the engine is for timing alone",),
    )
    return chosen, HeldOut(tuple(inputs[count:]), None, f"{_RANDOM_HELD_OUT} {source}")


def _announce(scans: int, spec: Preprocessing, log: Callable[[str], None]) -> None:
    """How much room the scans need while they wait."""
    size = scans * int(np.prod(spec.size)) * np.dtype(np.float32).itemsize
    log(
        f"calibration: up to {scans} scans wait in temporary files, {size / 1e9:.2f} GB in "
        f"{temporary_folder()} (of memory where that is a tmpfs)"
    )


def _fill(
    sample: Sample,
    classes: Sequence[Sequence[Sequence[Candidate]]],
    spec: Preprocessing,
    log: Callable[[str], None],
) -> None:
    """A patient of each class in turn, the next one where one has no usable scan."""
    left = [iter(patients) for patients in classes]
    while left and not sample.full:
        for patients in tuple(left):
            if sample.full:
                return
            if not any(sample.add(scans, spec, log) for scans in patients):
                left.remove(patients)
            elif sample.size % _TOLD_EVERY == 0:
                log(f"calibration: {sample.size} scans read")


def _require_both(sample: Sample, path: Path) -> None:
    if not sample.calibrating:
        raise UsageError(
            f"no usable scan to calibrate with; the first of {len(sample.left_out)}: "
            f"{sample.left_out[0]}",
            where=path,
            do="see: darnet-trt inspect",
        )
    if not sample.judging:
        unusable = f", {len(sample.left_out)} could not be used" if sample.left_out else ""
        raise UsageError(
            f"only one patient's scan can be used{unusable}; one calibrates, another must judge",
            where=path,
            do="give scans of two patients at least; a cohort.csv can tell patients apart",
        )


def _notes(sample: Sample, candidates: Candidates, count: int) -> Iterator[str]:
    if sample.left_out:
        yield f"{len(sample.left_out)} scans could not be used, the first: {sample.left_out[0]}"
    if len(sample.calibrating) < count:
        yield (
            f"{len(sample.calibrating)} scans calibrate, not {count}, "
            f"because {len(sample.judging)} of other patients judge"
        )
    counts = _label_counts(candidates, sample.calibrating)
    if counts is not None:
        for label, number in zip(CLASSES, counts, strict=True):
            if number == 0:
                yield f"no scan of the class {label} calibrates"


def _label_counts(candidates: Candidates, scans: Sequence[SampledScan]) -> tuple[int, ...] | None:
    """Of each class; None where there is no cohort's table."""
    if candidates.cohort is None:
        return None
    found = Counter(scan.candidate.label for scan in scans)
    return tuple(found[label] for label in CLASSES)


def _source(candidates: Candidates, scans: Sequence[SampledScan], path: Path) -> str:
    counts = _label_counts(candidates, scans)
    if candidates.cohort is None or counts is None:
        return f"{len(scans)} scans of {path.resolve().name}, their classes not known"
    entries = tuple(e for scan in scans if (e := scan.candidate.entry))
    listed = ", ".join(f"{n} {label}" for n, label in zip(counts, CLASSES, strict=True))
    return f"{candidates.cohort.describe(entries)}: {listed}"
