"""How the benchmark takes its times, on a GPU's queue that the host plays: no launch is in them."""

from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch

from benchmarks.attention.cuda_timing import (
    MAX_SPIN_CYCLES,
    MIN_GRAPH_MS,
    from_python,
    replay_of,
)

CYCLES_PER_MS = 2_000_000


class Queue:
    """The host enqueues, the GPU works off, each with a clock of its own, in ms.

    Args:
        launch_ms: Of the host, for each graph.
        graph_start_ms: Of the GPU, from the end of what was before a graph to its first kernel.
    """

    def __init__(self, monkeypatch, launch_ms, graph_start_ms=0.0):
        self.host = self.gpu = 0.0
        self.launch_ms, self.graph_start_ms = launch_ms, graph_start_ms
        self.capturing = None
        self.replays = 0
        queue = self

        class Event:
            def __init__(self, enable_timing):
                assert enable_timing

            def record(self):
                queue.work(0)
                self.at = queue.gpu

            def query(self):
                return self.at <= queue.host

            def synchronize(self):
                queue.host = max(queue.host, self.at)

            def elapsed_time(self, end):
                return end.at - self.at

        class Graph:
            def replay(self):
                queue.replays += 1
                queue.host += queue.launch_ms
                queue.work(queue.graph_start_ms + sum(self.work))

        @contextmanager
        def graph(graph, stream):
            queue.capturing = graph.work = []
            yield
            queue.capturing = None

        stream = SimpleNamespace(wait_stream=lambda _: None, synchronize=lambda: None)
        for name, value in {
            "Event": Event,
            "CUDAGraph": Graph,
            "graph": graph,
            "Stream": lambda: stream,
            "stream": lambda stream: contextmanager(lambda: (yield))(),
            "current_stream": lambda: stream,
            "synchronize": self.synchronize,
            "_sleep": lambda cycles: self.work(cycles / CYCLES_PER_MS),
        }.items():
            monkeypatch.setattr(torch.cuda, name, value)

    def synchronize(self):
        self.host = max(self.host, self.gpu)

    def work(self, ms):
        """Put in by the host, as a kernel is, or as a part of the graph that is captured."""
        if self.capturing is not None:
            self.capturing.append(ms)
        else:
            self.gpu = max(self.gpu, self.host) + ms


@pytest.mark.parametrize("launch_ms", [0.01, 0.4, 3])
@pytest.mark.parametrize("run_ms", [0.002, 0.5, 4])
def test_a_time_has_no_launch_in_it(monkeypatch, launch_ms, run_ms):
    queue = Queue(monkeypatch, launch_ms)
    replay = replay_of(lambda i: queue.work(run_ms), 3)
    assert replay.runs % 3 == 0
    assert replay.runs * run_ms >= MIN_GRAPH_MS
    assert replay.runs <= max(3, 1.2 * MIN_GRAPH_MS / run_ms + 3)  # no longer than it must be
    assert replay.ms() == pytest.approx(run_ms)
    assert replay.launch_hidden


def test_what_the_gpu_takes_to_begin_a_graph_hardly_counts(monkeypatch):
    queue = Queue(monkeypatch, 0.05, graph_start_ms=0.005)
    replay = replay_of(lambda i: queue.work(0.003), 2)
    assert replay.ms() == pytest.approx(0.003, rel=0.02)


def test_a_launch_that_no_spin_hides_is_said(monkeypatch):
    longest_ms = MAX_SPIN_CYCLES / CYCLES_PER_MS
    queue = Queue(monkeypatch, launch_ms=2 * longest_ms)
    replay = replay_of(lambda i: queue.work(2), 1)
    replay.ms()
    assert not replay.launch_hidden


def test_a_spin_that_was_too_short_is_longer_ever_after(monkeypatch):
    queue = Queue(monkeypatch, launch_ms=3)
    replay = replay_of(lambda i: queue.work(2), 1)
    replay.ms()
    before = queue.replays
    replay.ms()
    assert queue.replays == before + 1


def test_from_python_the_launches_count(monkeypatch):
    queue = Queue(monkeypatch, 0)

    def run(i):
        queue.host += 0.5
        queue.work(0.1)

    assert from_python(run, 2) == pytest.approx(0.5, rel=0.05)
