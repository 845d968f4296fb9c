"""What a prediction says, and how it is written: one JSON line a scan."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from darnet_trt import __version__

__all__ = [
    "INTENDED_USE",
    "Evidence",
    "Result",
    "SeriesUsed",
    "StageTimes",
    "json_line",
    "record",
    "undecided",
]

INTENDED_USE: Final = "Research use only. Not a medical device."

UNDECIDED_BELOW: Final = 0.1
"""The most probable class leads by less than this: near chance, and no decision."""

# Beyond these digits there is only the engine's rounding, and the clock's.
_PROBABILITY_DIGITS: Final = 6
_MS_DIGITS: Final = 2


@dataclass(frozen=True)
class SeriesUsed:
    """The series that spoke for the scan.

    Attributes:
        uid: SeriesInstanceUID (0020,000E); empty for other formats than DICOM.
        description: SeriesDescription (0008,103E), or the file's name.
        slices: Slices in the series.
        matrix: Slices' rows and columns (h, w).
        spacing_mm: Along d, h, w; None where it is not known.
        why: Why this one was chosen.
    """

    uid: str
    description: str
    slices: int
    matrix: tuple[int, int]
    spacing_mm: tuple[float, float, float] | None
    why: str


@dataclass(frozen=True)
class StageTimes:
    """Where the time went, in milliseconds. A stage that was not reached took none.

    Attributes:
        find: Headers, verdicts and choice; shared evenly by the scans found under one path.
        read: Reading and decoding the needed slices.
        preprocess: Windowing and resampling.
        infer: The engine.
        total: Their sum: the scan alone, file to result. In a batch the next scan is read while
            the engine runs, so a batch takes less than the sum of its totals.
    """

    find: float = 0.0
    read: float = 0.0
    preprocess: float = 0.0
    infer: float = 0.0

    @property
    def total(self) -> float:
        """Sum of the stages."""
        return self.find + self.read + self.preprocess + self.infer


@dataclass(frozen=True, eq=False)
class Evidence:
    """What an overlay is drawn from.

    Attributes:
        volume: The network's input, float32 (d, h, w), values 0…1.
        cam: Class activation map, float32 (classes, d/8, h/16, w/16), in units of the logits:
            a class's logit is its map's mean plus a bias.
        oriented: Whether the file said which side is which.
    """

    volume: npt.NDArray[np.float32]
    cam: npt.NDArray[np.float32]
    oriented: bool


@dataclass(frozen=True)
class Result:
    """What came out for one scan.

    Attributes:
        scan: Absolute path of the study: its folder or file.
        study_uid: StudyInstanceUID (0020,000D), which tells studies in one folder apart; empty
            for other formats.
        status: "ok"; "refused": readable, but classifying it would be a guess; "failed".
        reason: Why it was refused or failed; empty when ok.
        predicted: Name of the most probable class; None unless ok. "class" in JSON.
        probabilities: Class → softmax probability, in the bundle's order; empty unless ok.
        series: The series used; None where none was chosen.
        warnings: What is unusual about the scan.
        stages_ms: Stage times.
        bundle: SHA-256 of the bundle's manifest.
        artifact: Name of the engine in the bundle.
        precision: What the engine really ran in.
        trained_on: What the weights have seen.
        intended_use: For people who find the result.
        toolkit: Version of darnet-trt.
        overlay: Overlay PNG, relative to the output folder; None where none was drawn.
        evidence: Input and map, where they were asked for; not written out.
    """

    scan: str
    study_uid: str
    status: Literal["ok", "refused", "failed"]
    reason: str
    predicted: str | None
    probabilities: dict[str, float]
    series: SeriesUsed | None
    warnings: tuple[str, ...]
    stages_ms: StageTimes
    bundle: str
    artifact: str
    precision: str
    trained_on: str
    intended_use: str = INTENDED_USE
    toolkit: str = __version__
    overlay: str | None = None
    evidence: Evidence | None = field(default=None, repr=False, compare=False)


def undecided(probabilities: dict[str, float]) -> tuple[str, ...]:
    """The warning where the most probable class hardly leads; none where it does."""
    (first, most), (second, next_) = sorted(probabilities.items(), key=lambda p: -p[1])[:2]
    return (f"undecided between {first} and {second}",) if most - next_ < UNDECIDED_BELOW else ()


def record(result: Result) -> dict[str, Any]:
    """The result as it is written to JSON."""
    series = None if result.series is None else asdict(result.series)
    stages = {**asdict(result.stages_ms), "total": result.stages_ms.total}
    return {
        "scan": result.scan,
        "study_uid": result.study_uid,
        "status": result.status,
        "reason": result.reason,
        "class": result.predicted,
        "probabilities": {
            name: round(value, _PROBABILITY_DIGITS) for name, value in result.probabilities.items()
        },
        "series": series,
        "warnings": list(result.warnings),
        "stages_ms": {name: round(value, _MS_DIGITS) for name, value in stages.items()},
        "bundle": result.bundle,
        "artifact": result.artifact,
        "precision": result.precision,
        "trained_on": result.trained_on,
        "overlay": result.overlay,
        "intended_use": result.intended_use,
        "toolkit": result.toolkit,
    }


def json_line(result: Result) -> str:
    """One line of JSON, ASCII only: paths that are not UTF-8 survive it (as escapes)."""
    return json.dumps(record(result), allow_nan=False) + "\n"
