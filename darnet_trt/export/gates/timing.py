"""Time the engines of a build, for as long as a build can wait."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Final

from darnet_trt.runtime.bench.timing import Latency, in_turns

# A small network gets as many rounds as fit into the time, the paper's the fewest possible.
_ROUNDS: Final = 30
_TIMING_S: Final = 5.0


def time_in_turns(
    runs: Mapping[str, Callable[[], object]], on_gpu: Collection[str]
) -> dict[str, Latency]:
    """Time runs in turns.

    Args:
        runs: By name.
        on_gpu: Names of those on a GPU, whose turns begin with a warm-up.
    """
    return in_turns(runs, _ROUNDS, budget_s=_TIMING_S, on_gpu=on_gpu)
