"""Offer the service's queue more than it can take, and count what becomes of every request.

    python benchmarks/cpu/overload.py [--load 2 10] [--requests 1000] [--ms 10] [--within 0.5]

32 clients send on a timetable, whatever becomes of what they sent before. The engine sleeps, so
that the clients take nothing from it. Whoever is refused comes again at the time it was told.
"""

from __future__ import annotations

import argparse
import heapq
import resource
import threading
import time
from concurrent.futures import Future
from pathlib import Path

import numpy as np

from darnet_trt.errors import BusyError
from darnet_trt.runtime.engines.runner import Outputs
from darnet_trt.runtime.serving.engine.queue import EngineQueue, Lane
from darnet_trt.runtime.serving.metrics import Metrics
from darnet_trt.runtime.serving.settings import Settings

CLIENTS = 32


class Sleeping:
    """An engine that takes a time for each volume, and whose logits name the request."""

    backend, precision, batch, classes = "openvino", "fp32", (1, 1), 3

    def __init__(self, volume_s: float) -> None:
        self.provenance: dict[str, str] = {}
        self.volume_s, self.free = volume_s, 0.0

    def infer(self, batch: np.ndarray) -> Outputs:
        """Sleep until the volume's time is over; a late waking is made up for by the next."""
        now = time.monotonic()
        self.free = max(self.free, now - self.volume_s) + self.volume_s * len(batch)
        time.sleep(max(self.free - now, 0.0))
        return Outputs(
            np.repeat(batch[:, :, 0, 0, 0], 3, axis=1),
            np.zeros((len(batch), 3, 1, 1, 1), np.float32),
        )

    def close(self) -> None:
        """Do nothing."""


class Clients:
    """Clients on a timetable.

    Attributes:
        tries: Request → how often it came.
        answers: Request → how often it was answered.
        wrong: Answers that were another request's.
        latencies: Seconds from when a request was taken to its answer.
        refusals: Of each code, how many.
        again: Of those who were refused: whether the second try was taken.
    """

    def __init__(self, queue: EngineQueue, requests: int, every_s: float, within: float | None):
        self.queue, self.within = queue, within
        self.tries = [0] * requests
        self.answers = [0] * requests
        self.wrong, self.lost = 0, 0
        self.latencies: list[float] = []
        self.refusals: dict[str, int] = {}
        self.again: dict[int, bool] = {}
        self.most_late = 0.0
        self.last = 0.0
        self._left = requests
        self._lock = threading.Lock()
        self._done = threading.Event()
        self._start = time.monotonic() + 0.1
        self._plans: list[list[tuple[float, int, str]]] = [[] for _ in range(CLIENTS)]
        for number in range(requests):
            self._plans[number % CLIENTS].append((self._start + number * every_s, number, ""))
        self._conditions = [threading.Condition() for _ in range(CLIENTS)]

    def run(self) -> float:
        """Let them come; return the seconds to the last answer."""
        threads = [threading.Thread(target=self._client, args=(n,)) for n in range(CLIENTS)]
        for each in threads:
            each.start()
        self._done.wait()
        for condition in self._conditions:
            with condition:
                condition.notify_all()
        for each in threads:
            each.join()
        return self.last - self._start

    def _client(self, own: int) -> None:
        plan, condition = self._plans[own], self._conditions[own]
        heapq.heapify(plan)
        while not self._done.is_set():
            with condition:
                wait = plan[0][0] - time.monotonic() if plan else None
                if wait is None or wait > 0:
                    condition.wait(wait)
                    continue
                at, number, ticket = heapq.heappop(plan)
            self.most_late = max(self.most_late, time.monotonic() - at)
            self._send(own, number, ticket)

    def _send(self, own: int, number: int, ticket: str) -> None:
        self.tries[number] += 1
        volume = np.full((1, 1, 2, 2, 2), number, np.float32)
        now = time.monotonic()
        deadline = None if self.within is None else now + self.within
        try:
            answer = self.queue.submit(volume, deadline=deadline, ticket=ticket)
        except BusyError as busy:
            self._refused(own, number, busy)
            return
        if self.tries[number] == 2:
            self.again[number] = True
        answer.add_done_callback(lambda answer: self._answered(own, number, now, answer))

    def _refused(self, own: int, number: int, busy: BusyError) -> None:
        with self._lock:
            self.refusals[busy.code] = self.refusals.get(busy.code, 0) + 1
            if self.tries[number] == 2:
                self.again[number] = False
        with self._conditions[own]:
            again = (time.monotonic() + busy.retry_after_s, number, busy.ticket)
            heapq.heappush(self._plans[own], again)
            self._conditions[own].notify_all()

    def _answered(self, own: int, number: int, came: float, answer: Future[Outputs]) -> None:
        error = answer.exception()
        if isinstance(error, BusyError):
            self.lost += 1
            self._refused(own, number, error)
            return
        self.last = time.monotonic()
        with self._lock:
            self.answers[number] += 1
            self.wrong += answer.result().logits[0, 0] != number
            self.latencies.append(self.last - came)
            self._left -= 1
        if not self._left:
            self._done.set()


def main() -> None:
    """Print a line for each load."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--load", type=float, nargs="+", default=[2, 10])
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--ms", type=float, default=10.0, help="of the engine for a volume")
    parser.add_argument("--within", type=float, default=0.5, help="deadline in s; 0: none")
    options = parser.parse_args()
    for load in options.load:
        volume_s = options.ms / 1000
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        settings, lane = Settings(Path(), Path()), Lane(Sleeping(volume_s), (2, 2, 2))
        queue = EngineQueue(lane, settings, Metrics(), volume_s=volume_s)
        within = options.within or None
        clients = Clients(queue, options.requests, volume_s / load, within)
        seconds = clients.run()
        queue.close()
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        latencies = np.array(clients.latencies)
        print(
            f"load {load:g}: {sum(n == 1 for n in clients.answers)} of {options.requests} answered "
            f"once, {sum(n > 1 for n in clients.answers)} twice, {clients.wrong} wrong; goodput "
            f"{options.requests * volume_s / seconds:.1%} of capacity; refused "
            f"{len(clients.again)} ({clients.refusals}), first retry taken "
            f"{np.mean(list(clients.again.values()) or [1]):.1%}, taken and then refused "
            f"{clients.lost}; latency p50 {np.median(latencies) * 1000:.0f} ms, p99 "
            f"{np.quantile(latencies, 0.99) * 1000:.0f} ms, longest {latencies.max() * 1000:.0f} "
            f"ms (deadline {options.within * 1000:.0f} ms); memory +{(after - before) / 1024:.1f} "
            f"MiB; a client was {clients.most_late * 1000:.0f} ms late at most"
        )


if __name__ == "__main__":
    main()
