"""A clock that only the runners under test move, and runners of known delays."""

from types import SimpleNamespace

import numpy as np

from darnet_trt.runtime.bench import turns
from darnet_trt.runtime.engines.runner import Outputs


class Clock:
    """Replaces the time that `in_turns` reads."""

    def __init__(self, monkeypatch):
        self.ns = 10**12
        clock = SimpleNamespace(
            perf_counter=lambda: self.ns / 1e9,
            perf_counter_ns=lambda: self.ns,
            sleep=lambda seconds: None,
        )
        monkeypatch.setattr(turns, "time", clock)

    def takes(self, *delays_ms):
        """A query that takes these times, one after the other and again."""
        calls = 0

        def query():
            nonlocal calls
            self.ns += int(delays_ms[calls % len(delays_ms)] * 1e6)
            calls += 1

        return query


class StubRunner:
    """An engine that takes a known time for each volume."""

    backend, precision, batch, classes = "onnxruntime", "fp32", (1, 8), 3
    provenance = {"device": "CPU"}  # noqa: RUF012

    def __init__(self, clock, ms):
        self.query = clock.takes(ms)

    def infer(self, batch):
        for _ in batch:
            self.query()
        return Outputs(np.zeros((len(batch), 3), np.float32), np.zeros((1, 3, 1, 1, 1)))

    def close(self):
        pass
