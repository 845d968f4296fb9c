"""What is measured: something that answers queries."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

T = TypeVar("T")


@dataclass(frozen=True)
class Subject:
    """Something that answers queries, such as an engine, or the way from files to a result.

    Attributes:
        name: As the report shows it.
        query: Answers one query, and returns when it is answered.
        scans: Scans in a query.
        on_gpu: Whether a GPU does the work. An idle GPU lowers its clocks, and needs a warm-up at
            the start of each turn.
        after: Called after each timed query, outside its time.
        turn_ms: Least time of a turn; None: `turns.TURN_MS`. With 0 a turn is one query.
        streams: Instead of `query`, these answer queries side by side, each as soon as it has
            answered.
    """

    name: str
    query: Callable[[], object]
    scans: int = 1
    on_gpu: bool = False
    after: Callable[[], None] = lambda: None
    turn_ms: float | None = None
    streams: Sequence[Callable[[], object]] = ()


class Query(NamedTuple):
    """The times of one query, in ns of `time.perf_counter_ns`.

    Attributes:
        turn: In which turn of its subject, from 0.
        due_ns: When it was to start; where nothing else tells, when it did.
        started_ns: When it started.
        done_ns: When it was answered.
    """

    turn: int
    due_ns: int
    started_ns: int
    done_ns: int


@dataclass
class Trace:
    """All queries of a subject, in the order of their starts; none is discarded.

    Attributes:
        subject: Its name.
        scans: Scans in a query.
        warm_up: Queries before it was warm.
        settled: Whether its times had settled before the others.
        queries: The measured ones.
        joules: What its turns used, "cpu" and "gpu", where that is readable.
        metered: Queries that used it; the first of each turn too.
        streams: How many streams were kept busy side by side; 0: queries came one after the other.
    """

    subject: str
    scans: int = 1
    warm_up: list[Query] = field(default_factory=list)
    settled: bool = False
    queries: list[Query] = field(default_factory=list)
    joules: dict[str, float] = field(default_factory=dict)
    metered: int = 0
    streams: int = 0

    @property
    def latencies_ms(self) -> list[float]:
        """Return the time of each measured query from when it was due to its answer."""
        return latencies_ms(self.queries)

    @property
    def median_ms(self) -> float:
        """Return the median latency of the measured queries, of which there is at least one."""
        return float(np.median(self.latencies_ms))

    @property
    def turns(self) -> int:
        """Return in how many turns a query was measured."""
        return len({query.turn for query in self.queries})

    def measured(self, kept: Sequence[T]) -> list[T]:
        """Return what was kept of the measured queries.

        Args:
            kept: One for each query that was answered, warm-up too, in the order of the answers.
        """
        warm = [(query.done_ns, False) for query in self.warm_up]
        order = sorted(warm + [(query.done_ns, True) for query in self.queries])
        return [one for one, (_, counts) in zip(kept, order, strict=False) if counts]

    def joules_per_scan(self, of: str) -> float | None:
        """Return the energy for a scan, of "cpu" or "gpu"; None where it is not readable."""
        return self.joules[of] / self.metered / self.scans if of in self.joules else None

    def turn_medians_ms(self) -> npt.NDArray[np.float64]:
        """Return the median latency of each turn, in order, to pair with another subject's."""
        turns: dict[int, list[float]] = {}
        for query, latency in zip(self.queries, self.latencies_ms, strict=True):
            turns.setdefault(query.turn, []).append(latency)
        found = [np.median(turns[turn]) for turn in sorted(turns)]
        return np.array(found, dtype=np.float64)


def latencies_ms(queries: Sequence[Query]) -> list[float]:
    """Return the time of each query from when it was due to its answer."""
    return [(query.done_ns - query.due_ns) / 1e6 for query in queries]
