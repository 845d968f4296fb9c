"""Measure several subjects against each other.

They take turns, round after round in one process, so that what slows the machine slows all of
them.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from darnet_trt.runtime.bench.scenarios.offline import offline
from darnet_trt.runtime.bench.statistics.warmup import warm_up
from darnet_trt.runtime.bench.subject import Query, Subject, Trace, latencies_ms

LEAST_ROUNDS: Final = 3
"""With fewer a median is no better than a single sample."""

PAUSE_MS: Final = 50
"""Before each turn: the threads of the engine before it spin for a moment after its own."""
GPU_WARM_UP_MS: Final = 200
"""Untimed queries at the start of a GPU's turn, as in trtexec: an idle GPU has lowered its
clocks."""
TURN_MS: Final = 500
"""A turn lasts so long at least, unless its subject says otherwise; the first query of a turn of
several is not measured."""
WARM_UP_SHARE: Final = 0.25
"""Most of the time that goes to the warm-up of subjects whose times do not settle."""

Look = Callable[[Mapping[str, Trace], float], bool]
Meter = Callable[[], tuple[float | None, float | None]]
"""Reads the joules so far of the CPU and of the GPU; None: not readable here."""
NOT_METERED: Final = (None, None)
_METERS: Final = ("cpu", "gpu")


def in_turns(
    subjects: Sequence[Subject],
    traces: dict[str, Trace],
    *,
    seconds: float = math.inf,
    rounds: int | None = None,
    look: Look = lambda traces, passed: False,
    meter: Meter = lambda: NOT_METERED,
) -> None:
    """Measure subjects in turns, after a warm-up in turns.

    The warm-up lasts until each subject's moving median has settled, but no longer than a quarter
    of `seconds`; with `rounds` alone it is one turn each.

    Args:
        subjects: With different names.
        traces: Filled while measuring, name → trace, so that an interruption loses nothing.
        seconds: Start no round after this time, except for the first `LEAST_ROUNDS`.
        rounds: Most rounds.
        look: Called after each round with the traces and how much of the measurement is done: the
            part of the time (a third a round at most), or of the rounds where that is more. At 1 no
            round follows. True ends it earlier.
        meter: Reads the energy so far, before and after each turn's queries.
    """
    for subject in subjects:
        streams = len(subject.streams)
        traces[subject.name] = Trace(subject.name, subject.scans, streams=streams)
    started = time.perf_counter()
    warm(subjects, traces, started + (0 if math.isinf(seconds) else seconds * WARM_UP_SHARE))
    most = math.inf if rounds is None else rounds
    done, passed = 0, 0.0
    while passed < 1:
        for subject in subjects:
            _turn(subject, traces[subject.name], done, meter)
        done += 1
        of_time = (time.perf_counter() - started) / seconds
        passed = max(min(of_time, done / LEAST_ROUNDS, 1.0), done / most)
        if look(traces, passed):
            break


def warm(subjects: Sequence[Subject], traces: Mapping[str, Trace], until: float) -> None:
    """Run each subject once, and those whose times have not settled until they have.

    Args:
        subjects: As of `in_turns`.
        traces: Theirs, to be filled.
        until: Start no round after this time of `time.perf_counter`, except for the first.
    """
    while moving := [one for one in subjects if not traces[one.name].settled]:
        for subject in moving:
            trace = traces[subject.name]
            trace.warm_up += _queries(subject, 0, _turn_ms(subject))
            trace.settled = warm_up(latencies_ms(trace.warm_up)).settled
        if time.perf_counter() >= until:
            return


def _turn(subject: Subject, trace: Trace, turn: int, meter: Meter) -> None:
    time.sleep(PAUSE_MS / 1000)
    if subject.on_gpu:
        trace.warm_up += _queries(subject, turn, GPU_WARM_UP_MS)
    before = meter()
    taken = _queries(subject, turn, _turn_ms(subject))
    for of, start, end in zip(_METERS, before, meter(), strict=True):
        if start is not None and end is not None:
            trace.joules[of] = trace.joules.get(of, 0.0) + end - start
    trace.metered += len(taken)
    first = len(taken) > 1 and not subject.streams  # `throughput` leaves theirs out
    trace.warm_up += taken[:first]
    trace.queries += taken[first:]


def _turn_ms(subject: Subject) -> float:
    return TURN_MS if subject.turn_ms is None else subject.turn_ms


def _queries(subject: Subject, turn: int, least_ms: float) -> list[Query]:
    """Ask one query after the other until the time has passed, at least one."""
    taken: list[Query] = []
    if subject.streams:
        offline(subject.streams, taken, seconds=least_ms / 1000, turn=turn)
        return taken
    until = time.perf_counter_ns() + least_ms * 1e6
    while not taken or taken[-1].done_ns < until:
        start = time.perf_counter_ns()
        subject.query()
        taken.append(Query(turn, start, start, time.perf_counter_ns()))
        subject.after()
    return taken
