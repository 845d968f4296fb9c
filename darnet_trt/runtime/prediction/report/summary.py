"""Count and measure results, one at a time."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import numpy as np
import numpy.typing as npt

from darnet_trt.runtime.prediction.results.result import Result, StageTimes

STAGES: Final = (*StageTimes.model_fields, "total")
BINS: Final = 10  # of the confidence, 0…1

_PAUSE: Final = 600.0  # seconds; a run with less than six studies an hour seems to be resumed
_STEPS: Final = (1, 5, 10, 30, 60, 300, 600, 1800, 3600, 3 * 3600, 6 * 3600, 86400, 7 * 86400)
_MOST_STEPS: Final = 60  # bars side by side

Float = npt.NDArray[np.float64]


@dataclass
class Summary:
    """What all results together say.

    Attributes:
        statuses: How many are "ok", "refused" and "failed".
        reasons: How often each status and code came, and the first sentence of each.
        warnings: How many results have a warning with this code, and the first sentence of each.
        sentences: The first sentence of each code of a reason or warning.
        classes: How many are of each class, in the bundle's order.
        confidence: Of each class, how many have a probability in each tenth, (BINS,).
        undecided: How many are undecided.
        warned: How many have a warning.
        engines: How many came from each bundle, engine and precision.
        trained_on: How many came from weights with this training.
        toolkits: How many came from each version of darnet-trt.
        intended_use: The sentences about the use.
    """

    statuses: Counter[str] = field(default_factory=Counter)
    reasons: Counter[tuple[str, str]] = field(default_factory=Counter)
    warnings: Counter[str] = field(default_factory=Counter)
    sentences: dict[str, str] = field(default_factory=dict)
    classes: Counter[str] = field(default_factory=Counter)
    confidence: dict[str, Counter[int]] = field(default_factory=dict)
    undecided: int = 0
    warned: int = 0
    engines: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    trained_on: Counter[str] = field(default_factory=Counter)
    toolkits: Counter[str] = field(default_factory=Counter)
    intended_use: Counter[str] = field(default_factory=Counter)
    _stages: dict[str, array[float]] = field(
        default_factory=lambda: {stage: array("d") for stage in STAGES}
    )
    _finished: array[float] = field(default_factory=lambda: array("d"))

    def add(self, result: Result) -> None:
        """Count one result."""
        self.statuses[result.status] += 1
        if result.status != "ok":
            self.reasons[result.status, result.code] += 1
            self.sentences.setdefault(result.code, result.reason)
        for warning in {w.code: w for w in result.warnings}.values():
            self.warnings[warning.code] += 1
            self.sentences.setdefault(warning.code, str(warning))
        self.warned += bool(result.warnings)
        self.undecided += result.undecided
        for name in result.probabilities:
            self.classes.setdefault(name, 0)
        if result.predicted is not None:
            self.classes[result.predicted] += 1
            sure = result.probabilities.get(result.predicted, 0.0)
            tenths = self.confidence.setdefault(result.predicted, Counter())
            tenths[max(0, min(int(sure * BINS), BINS - 1))] += 1
        self.engines[result.bundle_sha256, result.artifact, result.precision] += 1
        self.trained_on[result.trained_on] += 1
        self.toolkits[result.toolkit] += 1
        self.intended_use[result.intended_use] += 1
        for stage, times in self._stages.items():
            times.append(getattr(result.stages_ms, stage))
        self._finished.append(datetime.fromisoformat(result.finished).timestamp())

    @property
    def total(self) -> int:
        """Return how many results there are."""
        return self.statuses.total()

    def stage_times(self) -> list[StageSummary]:
        """Return the times of each stage that was reached, in the order of the stages."""
        found = {s: np.asarray(t) for s, t in self._stages.items()}
        whole = float(found["total"].sum()) or 1.0
        return [
            StageSummary.of(stage, times[times > 0], whole)
            for stage, times in found.items()
            if (times > 0).any()
        ]

    def throughput(self) -> Throughput | None:
        """Return how the results came over time; None where there are none."""
        return throughput(self._finished) if self._finished else None


@dataclass(frozen=True)
class StageSummary:
    """The times of one stage in milliseconds, over the results that reached it.

    Attributes:
        share: Of the time of all stages, 0…1.
    """

    stage: str
    results: int
    median: float
    p90: float
    p99: float
    most: float
    share: float

    @classmethod
    def of(cls, stage: str, times: Float, whole: float) -> StageSummary:
        """Summarize the times (n,) of one stage; `whole` is the time of all stages."""
        median, p90, p99 = np.percentile(times, (50, 90, 99)).tolist()
        share = float(times.sum()) / whole
        return cls(stage, len(times), median, p90, p99, float(times.max()), share)


@dataclass(frozen=True)
class Throughput:
    """How results came over time.

    Attributes:
        first: When the first one was finished, seconds since 1970.
        last: When the last one was.
        an_hour: Results an hour, without the pauses; None where no time passed.
        pauses: How often nothing was finished for ten minutes, or for 20 times the usual gap.
        step: Seconds in each of `counts`.
        start: When the first step begins, seconds since 1970.
        counts: Results finished in each step.
    """

    first: float
    last: float
    an_hour: float | None
    pauses: int
    step: int
    start: float
    counts: tuple[int, ...]


def throughput(finished: Iterable[float]) -> Throughput:
    """Measure results by when each was finished, in seconds since 1970; at least one."""
    times = np.sort(np.fromiter(finished, np.float64))
    first, last = float(times[0]), float(times[-1])
    gaps = np.diff(times)
    working = gaps[gaps <= max(_PAUSE, 20 * float(np.median(gaps)))] if len(gaps) else gaps
    seconds = float(working.sum())
    step = next((s for s in _STEPS if (last - first) / s < _MOST_STEPS - 1), None)
    if step is None:  # years
        step = _STEPS[-1] * int((last - first) / _STEPS[-1] / (_MOST_STEPS - 2) + 1)
    start = first // step * step
    counts = np.bincount(((times - start) // step).astype(np.int64))
    return Throughput(
        first,
        last,
        3600 * len(working) / seconds if seconds else None,
        len(gaps) - len(working),
        step,
        start,
        tuple(counts.tolist()),
    )
