"""Time the engines of a build, for as long as a build can wait."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Final

from darnet_trt.runtime.bench.subject import Subject, Trace
from darnet_trt.runtime.bench.turns import in_turns

# A small network gets as many rounds as fit into the time, the paper's the fewest possible.
_ROUNDS: Final = 30
_TIMING_S: Final = 5.0


def time_in_turns(
    runs: Mapping[str, Callable[[], object]], on_gpu: Collection[str]
) -> dict[str, Trace]:
    """Time runs in turns; on the CPU a turn is one run.

    Args:
        runs: By name.
        on_gpu: Names of those on a GPU, whose turns begin with a warm-up.
    """
    subjects = [
        Subject(name, run, on_gpu=name in on_gpu, turn_ms=None if name in on_gpu else 0)
        for name, run in runs.items()
    ]
    traces: dict[str, Trace] = {}
    in_turns(subjects, traces, seconds=_TIMING_S, rounds=_ROUNDS)
    return traces
