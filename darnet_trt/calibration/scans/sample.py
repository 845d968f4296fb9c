"""Two sides filled with scans: those that calibrate, and those of other patients that judge."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryFile

import numpy as np
import numpy.typing as npt

from darnet_trt.calibration.scans.patients import Candidate
from darnet_trt.errors import ScanError, UsageError
from darnet_trt.machine.files import cannot_keep
from darnet_trt.scan import Preprocessing, load_study

__all__ = ["Input", "Sample", "SampledScan", "hashed", "on_disk"]

Input = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class SampledScan:
    """A scan that was read.

    Attributes:
        candidate: Which.
        input: The network's, (1, d, h, w), in a file.
        hash: Of the input.
    """

    candidate: Candidate
    input: Input
    hash: str


@dataclass
class Sample:
    """Both sides, while they are filled.

    Attributes:
        calibrating_limit: Scans that calibrate at most.
        judging_limit: Scans that judge at most.
        calibrating: Those that do.
        judging: Those that do.
        left_out: Why each scan that was tried and not taken was not.
    """

    calibrating_limit: int
    judging_limit: int
    calibrating: list[SampledScan] = field(default_factory=list)
    judging: list[SampledScan] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    _taken: dict[str, Path] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Scans on both sides."""
        return len(self.calibrating) + len(self.judging)

    @property
    def full(self) -> bool:
        """Whether neither side takes more."""
        return self.size >= self.calibrating_limit + self.judging_limit

    def add(
        self, scans: Sequence[Candidate], spec: Preprocessing, log: Callable[[str], None]
    ) -> bool:
        """Put a patient's first usable scan on the side that has fewer of its class.

        Returns:
            Whether there is one.
        """
        for candidate in scans:
            try:
                scan = self._read(candidate, spec)
            except (ScanError, UsageError) as error:
                self.left_out.append(str(error))
                log(f"left out of calibration: {error}")
                continue
            self._side(candidate.label).append(scan)
            return True
        return False

    def _read(self, candidate: Candidate, spec: Preprocessing) -> SampledScan:
        array = load_study(candidate.study(), spec)[1].array
        key = hashed(array)
        if key in self._taken:
            raise UsageError(f"is the same scan as {self._taken[key]}", where=candidate.path)
        self._taken[key] = candidate.path
        return SampledScan(candidate, on_disk(array), key)

    def _side(self, label: str) -> list[SampledScan]:
        """Where both have as many of the class, the one that has fewer scans at all."""
        sides = (
            (self.calibrating, self.calibrating_limit),
            (self.judging, self.judging_limit),
        )
        room = [side for side, limit in sides if len(side) < limit]
        return min(room, key=lambda s: (sum(o.candidate.label == label for o in s), len(s)))


def hashed(array: Input) -> str:
    """SHA-256 of its values."""
    return hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()


def on_disk(array: Input) -> Input:
    """The same in a file without a name, which goes when the array does.

    Raises:
        OutputError: The disk is full, or there is no place for temporary files.
    """
    try:
        with TemporaryFile() as file:
            file.write(np.ascontiguousarray(array).data)
            file.flush()
            return np.memmap(file, array.dtype, "c", shape=array.shape)
    except OSError as error:
        raise cannot_keep("a scan", error) from error
