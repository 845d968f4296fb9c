"""Read scans and split them: some calibrate, those of other patients judge."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryFile

import numpy as np
import numpy.typing as npt

from darnet_trt.calibration.scans.patients import UnreadScan
from darnet_trt.errors import UsageError
from darnet_trt.machine.files import cannot_keep
from darnet_trt.scan import Preprocessing, load_study
from darnet_trt.scan.isolated import OF_ONE_SCAN, Reader

Input = npt.NDArray[np.float32]


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


@dataclass
class Sample:
    """The scans that calibrate and those that judge, while they are collected.

    Attributes:
        pixels: Reads scans.
        calibrating_limit: Most scans that calibrate.
        judging_limit: Most scans that judge.
        calibrating: Scans that calibrate.
        judging: Scans that judge.
        left_out: Error of each scan that could not be used.
    """

    pixels: Reader
    calibrating_limit: int
    judging_limit: int
    calibrating: list[SampledScan] = field(default_factory=list)
    judging: list[SampledScan] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    _taken: dict[str, Path] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Number of scans on both sides."""
        return len(self.calibrating) + len(self.judging)

    @property
    def full(self) -> bool:
        """Return whether both sides have reached their limit."""
        return self.size >= self.calibrating_limit + self.judging_limit

    def add(
        self, scans: Sequence[UnreadScan], spec: Preprocessing, log: Callable[[str], None]
    ) -> bool:
        """Add a patient's first usable scan to the side that has fewer of its class.

        Returns:
            Whether the patient had a usable scan.
        """
        for scan in scans:
            try:
                read = self._read(scan, spec)
            except OF_ONE_SCAN as error:
                self.left_out.append(str(error))
                log(f"left out of calibration: {error}")
                continue
            self._side(scan.label).append(read)
            return True
        return False

    def _read(self, scan: UnreadScan, spec: Preprocessing) -> SampledScan:
        array = self.pixels.run(load_study, scan.study(), spec, where=scan.path)[1].array
        key = hashed(array)
        if key in self._taken:
            raise UsageError(f"is the same scan as {self._taken[key]}", where=scan.path)
        self._taken[key] = scan.path
        return SampledScan(scan, on_disk(array), key)

    def _side(self, label: str) -> list[SampledScan]:
        """Return the side with fewer scans of the class; on a tie, the one with fewer scans."""
        sides = (
            (self.calibrating, self.calibrating_limit),
            (self.judging, self.judging_limit),
        )
        room = [side for side, limit in sides if len(side) < limit]
        return min(room, key=lambda s: (sum(o.origin.label == label for o in s), len(s)))


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
