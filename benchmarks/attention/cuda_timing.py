"""Time work on the GPU without its launch: CUDA graphs between CUDA events, behind a spin.

A graph of the work is queued behind a kernel that only spins, so that the graph and both events
are in the queue before the first event fires. If that event fired too early, the turn is repeated
behind a longer spin. A graph lasts `MIN_GRAPH_MS` or longer, so that the microseconds in which the
GPU itself starts a graph do not count.

Why not `triton.testing.do_bench_cudagraph`, which also replays a graph between events:

- It records the first event on an idle stream. The time in which the host launches the graph, which
  with some drivers grows with its kernels, is then part of the measurement: most for the smallest
  kernels, and those are compared here.
- It captures, times and drops the graph in one call. What is compared here takes turns, so that
  clocks that rise or fall change all of it alike; a new capture for each turn takes too long.
- It sizes the graph by five calls from Python, which for small kernels time Python.
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
    """A captured graph that can be timed any number of times.

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
        """Replay once; return the milliseconds of one run in it."""
        hidden = self._turn()
        while not hidden and self._spin < MAX_SPIN_CYCLES:
            self._spin *= 2
            hidden = self._turn()
        self.launch_hidden &= hidden
        return float(self._start.elapsed_time(self._end)) / self.runs

    def _turn(self) -> bool:
        """Replay once; return whether the GPU was still spinning when everything was queued."""
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
    pass_ms = sets * min(probe.ms() for _ in range(PROBES))
    passes = max(1, math.ceil(MARGIN * MIN_GRAPH_MS / pass_ms))
    return probe if passes == 1 else Replay(_captured(run, sets, passes), passes * sets)


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
    """Return the milliseconds of a call from Python, launch included, one after the other."""
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
