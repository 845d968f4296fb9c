"""Read one scan a patient, and find out which patients trained the weights."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from tempfile import TemporaryFile
from typing import Final

import numpy as np
import numpy.typing as npt

from darnet_trt.calibration.scans.patients import UnreadScan
from darnet_trt.errors import DarnetError, UsageError
from darnet_trt.evaluation.seen import (
    Identity,
    KnownScans,
    TrainingScans,
    identity,
    patient_id_of,
)
from darnet_trt.machine.files import cannot_keep
from darnet_trt.scan import Preprocessing, load_study
from darnet_trt.scan.cohorts import Cohort
from darnet_trt.scan.isolated import OF_ONE_SCAN, Reader

Input = npt.NDArray[np.float32]

SEEN_JUDGES: Final = 120
"""Scans that judge where all trained the weights. They show a broken engine, and nothing else."""


@dataclass(frozen=True, eq=False)
class SampledScan:
    """A scan whose network input has been made.

    Attributes:
        origin: The scan it was made from.
        input: The network's input, (1, d, h, w), in a temporary file.
        hash: `hashed` of the input.
    """

    origin: UnreadScan
    input: Input
    hash: str

    @property
    def label(self) -> str:
        """Its class; empty if not known."""
        return self.origin.label


@dataclass
class Sample:
    """The scans that were read, one a patient, while they are collected.

    Attributes:
        pixels: Reads scans.
        spec: Makes the network's input.
        cohort: The table they come from; None without one.
        trained: What trained the weights; None where nobody knows.
        calibrating: Most scans that calibrate.
        log: Takes a line on each scan that is left out.
        unseen: Scans of patients that did not train the weights; all scans, where nobody knows.
        seen: Scans of patients that did, `most_seen` of them at most.
        copies: Scans whose slices trained the weights.
        left_out: Error of each scan that could not be used.
    """

    pixels: Reader
    spec: Preprocessing
    cohort: Cohort | None
    trained: TrainingScans | None
    calibrating: int
    log: Callable[[str], None]
    unseen: list[SampledScan] = field(default_factory=list)
    seen: list[SampledScan] = field(default_factory=list)
    copies: int = 0
    left_out: list[str] = field(default_factory=list)
    _known: KnownScans = field(default_factory=KnownScans)
    _origins: list[UnreadScan] = field(default_factory=list)

    @property
    def read(self) -> int:
        """Number of scans that were read."""
        return len(self._origins)

    @property
    def most_seen(self) -> int:
        """Number of seen scans that are of use: they judge only where there are no others."""
        return self.calibrating if self.unseen else self.calibrating + SEEN_JUDGES

    def had_patient(self, scans: Sequence[UnreadScan]) -> bool:
        """Return whether the table gives a patient's scans a name that trained the weights."""
        if self.trained is None or self.cohort is None:
            return False
        return self.trained.had_patient(identity(self.cohort, scans[0].patient, "", ()).patients)

    def add(self, scans: Sequence[UnreadScan]) -> bool:
        """Add a patient's first usable scan.

        Its other scans are read too, until one shows that the patient trained the weights.

        Returns:
            Whether the patient had a usable scan.
        """
        first: SampledScan | None = None
        seen = False
        for scan in scans:
            try:
                array, who = self._read(scan)
            except OF_ONE_SCAN as error:
                self._leave_out(error)
                continue
            same = self._known.find(who.slices)
            if same is not None and self._origins[same].patient != scan.patient:
                other = self._origins[same].path
                self._leave_out(UsageError(f"is the same scan as {other}", where=scan.path))
                return False
            self._known.add(who.slices)
            self._origins.append(scan)
            first = first or SampledScan(scan, on_disk(array), hashed(array))
            if self.trained is None:
                break
            copied = self.trained.had_slices(who.slices)
            self.copies += copied
            seen = copied or self.trained.had_patient(who.patients)
            if seen:
                break
        if first is None:
            return False
        (self.seen if seen else self.unseen).append(first)
        self._drop_what_is_of_no_use()
        return True

    def _drop_what_is_of_no_use(self) -> None:
        """Leave `most_seen` seen scans, as many of each class as there are."""
        while len(self.seen) > self.most_seen:
            (most, _), *_ = Counter(scan.label for scan in self.seen).most_common(1)
            last = max(n for n, scan in enumerate(self.seen) if scan.label == most)
            del self.seen[last]

    def _read(self, scan: UnreadScan) -> tuple[Input, Identity]:
        study = scan.study()
        load = partial(load_study, identify=True)
        choice, loaded = self.pixels.run(load, study, self.spec, where=scan.path)
        patient_id = patient_id_of(study, choice)
        return loaded.array, identity(self.cohort, scan.patient, patient_id, loaded.hashes)

    def _leave_out(self, error: DarnetError) -> None:
        self.left_out.append(str(error))
        self.log(f"left out of calibration: {error}")


def hashed(array: Input) -> str:
    """Return the SHA-256 of an input's values."""
    return hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()


def on_disk(array: Input) -> Input:
    """Return the array in an unnamed temporary file, which is deleted along with the array.

    Raises:
        OutputError: The disk is full, or there is no folder for temporary files.
    """
    try:
        with TemporaryFile() as file:
            file.write(np.ascontiguousarray(array).data)
            file.flush()
            return np.memmap(file, array.dtype, "c", shape=array.shape)
    except OSError as error:
        raise cannot_keep("a scan", error) from error
