"""Time of work on the GPU with no launch in it: CUDA graphs between CUDA events, behind a spin.

A graph of the work is put into the stream behind a kernel that only spins, so that the graph and
both events are in the queue before the first event fires; an event that fired too early is seen,
and that turn is repeated behind a longer spin. A graph lasts `MIN_GRAPH_MS` or longer, so that
the microseconds in which the GPU itself starts a graph do not count.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

MIN_GRAPH_MS = 1.0
MARGIN = 1.2  # of a graph's length: clocks may rise after it was chosen
SPIN_CYCLES = 1 << 20  # about half a millisecond
MAX_SPIN_CYCLES = 1 << 26
WAKE_CYCLES = 1 << 29  # a quarter of a second at full clocks
PROBES = 3


class Replay:
    """A captured graph, to be timed any number of times.

    Args:
        graph: A `torch.cuda.CUDAGraph`.
        runs: How many runs of what is timed are in it.

    Attributes:
        runs: The same.
        launch_hidden: Each time was taken with the whole graph queued before it began.
    """

    def __init__(self, graph: Any, runs: int) -> None:
        import torch

        self._graph = graph
        self.runs = runs
        self.launch_hidden = True
        self._spin = SPIN_CYCLES
        self._start, self._end = (torch.cuda.Event(enable_timing=True) for _ in range(2))

    def ms(self) -> float:
        """Milliseconds of one run, of one replay."""
        hidden = self._turn()
        while not hidden and self._spin < MAX_SPIN_CYCLES:
            self._spin *= 2
            hidden = self._turn()
        self.launch_hidden &= hidden
        return float(self._start.elapsed_time(self._end)) / self.runs

    def _turn(self) -> bool:
        """Replay once; whether the GPU was still spinning when all was queued."""
        import torch

        torch.cuda.synchronize()
        torch.cuda._sleep(self._spin)
        self._start.record()
        self._graph.replay()
        self._end.record()
        hidden = not self._start.query()
        self._end.synchronize()
        return hidden


def replay_of(run: Callable[[int], None], sets: int) -> Replay:
    """Capture as many passes over all sets of buffers as `MIN_GRAPH_MS` takes.

    Args:
        run: Puts one run on a set of buffers, 0 to sets - 1, into the current stream.
        sets: How many there are.
    """
    probe = Replay(_captured(run, sets, 1), sets)
    passes = passes_for(sets * min(probe.ms() for _ in range(PROBES)))
    return probe if passes == 1 else Replay(_captured(run, sets, passes), passes * sets)


def passes_for(pass_ms: float) -> int:
    """Whole passes that last `MIN_GRAPH_MS` together, and somewhat longer."""
    return max(1, math.ceil(MARGIN * MIN_GRAPH_MS / pass_ms))


def wake() -> None:
    """Keep the GPU busy until its clocks are up."""
    import torch

    torch.cuda._sleep(WAKE_CYCLES)
    torch.cuda.synchronize()


def _captured(run: Callable[[int], None], sets: int, passes: int) -> Any:
    import torch

    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    graph = torch.cuda.CUDAGraph()
    with torch.no_grad():
        with torch.cuda.stream(stream):
            for i in range(sets):
                run(i)  # handles and kernels that are made at first use cannot be captured
        stream.synchronize()
        with torch.cuda.graph(graph, stream=stream):
            for _ in range(passes):
                for i in range(sets):
                    run(i)
    return graph


def from_python(run: Callable[[int], None], sets: int, calls: int = 20) -> float:
    """ms a call when launched from Python, one after the other: launches are in it."""
    import torch

    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    with torch.no_grad():
        run(0)
        torch.cuda.synchronize()
        start.record()
        for i in range(calls):
            run(i % sets)
        end.record()
        end.synchronize()
    return float(start.elapsed_time(end)) / calls
