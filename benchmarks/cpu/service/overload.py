"""Offer the service more than its engine can take, and count what becomes of every request.

    python -m benchmarks.cpu.service.overload [--load 2 10] [--ms 10] [--within 0.5]
    python -m benchmarks.cpu.service.overload --http BUNDLE   # over HTTP, to another process

32 clients send on a timetable, whatever becomes of what they sent before. The engine sleeps, so
that the clients take nothing from it. Whoever is refused comes again at the time it was told, with
the ticket that it got.
"""

from __future__ import annotations

import argparse
import heapq
import http.client
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil

from darnet_trt.bundle.reading import open_bundle
from darnet_trt.errors import BusyError
from darnet_trt.runtime.engines.runner import Outputs
from darnet_trt.runtime.serving.engine.job import Lane
from darnet_trt.runtime.serving.engine.queue import EngineQueue
from darnet_trt.runtime.serving.settings import HttpSettings, Settings
from darnet_trt.runtime.serving.telemetry.metrics import Metrics

CLIENTS = 32
SIZE = (8, 16, 16)
INFER = "/v2/models/darnet/infer"

Done = Callable[[int | Exception], None]
Send = Callable[[int, float | None, str, Done], None]
"""Sends a request: its number, the seconds in which it wants its answer, its ticket, and what gets
the number that the engine saw, or why there is no answer."""


class Sleeping:
    """An engine that takes a time for each volume, and whose logits are its first voxel."""

    backend, precision, batch, classes = "openvino", "fp32", (1, 1), 3

    def __init__(self, volume_s: float) -> None:
        self.provenance: dict[str, str] = {}
        self.volume_s, self.free = volume_s, 0.0

    def infer(self, batch: np.ndarray) -> Outputs:
        """Sleep until the volume's time is over; a late waking is made up for by the next."""
        now = time.monotonic()
        self.free = max(self.free, now - self.volume_s) + self.volume_s * len(batch)
        time.sleep(max(self.free - now, 0.0))
        d, h, w = batch.shape[2:]
        cam = np.zeros((len(batch), 3, d // 8, h // 16, w // 16), np.float32)
        return Outputs(np.repeat(batch[:, :, 0, 0, 0], 3, axis=1), cam)

    def close(self) -> None:
        """Do nothing."""


class Clients:
    """Clients on a timetable.

    Attributes:
        tries: Request → how often it came.
        answers: Request → how often it was answered.
        strange: Answers that were another's, and other errors than refusals.
        latencies: Seconds from the try that was taken to its answer.
        refusals: Why → how many.
        again: Request → whether its first retry was answered.
        late: By how many seconds a client was late at most.
    """

    def __init__(self, send: Send, requests: int, every_s: float, within_s: float | None) -> None:
        self.tries, self.answers = [0] * requests, [0] * requests
        self.strange: list[str] = []
        self.latencies: list[float] = []
        self.refusals: Counter[str] = Counter()
        self.again: dict[int, bool] = {}
        self.late = 0.0
        self._send, self._within_s, self._left = send, within_s, requests
        self._lock, self._done = threading.Lock(), threading.Event()
        self._start = time.monotonic() + 0.2
        self._plans: list[list[tuple[float, int, str]]] = [[] for _ in range(CLIENTS)]
        self._woken = [threading.Condition() for _ in range(CLIENTS)]
        for number in range(requests):
            self._plans[number % CLIENTS].append((self._start + number * every_s, number, ""))

    def run(self) -> float:
        """Let them come; return the seconds to the last answer."""
        threads = [threading.Thread(target=self._client, args=(n,)) for n in range(CLIENTS)]
        for each in threads:
            each.start()
        self._done.wait()
        seconds = time.monotonic() - self._start
        for woken in self._woken:
            with woken:
                woken.notify_all()
        for each in threads:
            each.join()
        return seconds

    def _client(self, own: int) -> None:
        plan, woken = self._plans[own], self._woken[own]
        while not self._done.is_set():
            with woken:
                wait_s = plan[0][0] - time.monotonic() if plan else None
                if wait_s is None or wait_s > 0:
                    woken.wait(wait_s)
                    continue
                at, number, ticket = heapq.heappop(plan)
            now = time.monotonic()
            self.late = max(self.late, now - at)
            self.tries[number] += 1
            answered = self._answer(own, number, now)
            self._send(number, self._within_s, ticket, answered)

    def _answer(self, own: int, number: int, came: float) -> Done:
        def done(what: int | Exception) -> None:
            with self._lock:
                if self.tries[number] == 2:
                    self.again[number] = what == number
                if isinstance(what, BusyError):
                    self.refusals[what.code] += 1
                else:
                    self.answers[number] += 1
                    self.latencies.append(time.monotonic() - came)
                    self._left -= 1
                    if what != number:
                        self.strange.append(f"{number}: {what}")
            if isinstance(what, BusyError):
                with self._woken[own]:
                    at = time.monotonic() + what.retry_after_s
                    heapq.heappush(self._plans[own], (at, number, what.ticket))
                    self._woken[own].notify_all()
            elif not self._left:
                self._done.set()

        return done


@contextmanager
def to_queue(volume_s: float) -> Iterator[tuple[Send, psutil.Process]]:
    """Send to a queue in this process."""
    lane = Lane(Sleeping(volume_s), SIZE)
    queue = EngineQueue(lane, Settings(Path(), Path()), Metrics(), volume_s=volume_s)

    def send(number: int, within_s: float | None, ticket: str, done: Done) -> None:
        volume = np.full((1, 1, *SIZE), number, np.float32)
        deadline = None if within_s is None else time.monotonic() + within_s
        try:
            answer = queue.submit(volume, deadline=deadline, ticket=ticket)
        except BusyError as busy:
            done(busy)
            return

        def answered(answer: Future[Outputs]) -> None:
            error = answer.exception()
            done(round(float(answer.result().logits[0, 0])) if error is None else error)

        answer.add_done_callback(answered)

    yield send, psutil.Process()
    queue.close()


@contextmanager
def over_http(bundle: Path, volume_s: float) -> Iterator[tuple[Send, psutil.Process]]:
    """Send to a service in another process; each request on a connection that nobody else uses."""
    server = subprocess.Popen(
        [sys.executable, __file__, "--http", bundle, "--ms", str(volume_s * 1000), "--serve"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdout is not None
    port = int(server.stdout.readline())
    local = threading.local()

    def ask(number: int, within_s: float | None, ticket: str, done: Done) -> None:
        if time.monotonic() > getattr(local, "until", 0.0):  # the service ends idle connections
            local.connection = http.client.HTTPConnection("127.0.0.1", port)
        local.until = time.monotonic() + 2.0
        volume = np.full((1, 1, *SIZE), number / 4096, np.float32)
        tensor = {"name": "volume", "shape": volume.shape, "datatype": "FP32"}
        tensor["parameters"] = {"binary_data_size": volume.nbytes}
        asked = {"inputs": [tensor], "outputs": [{"name": "logits"}]}
        if within_s is not None:
            asked["parameters"] = {"timeout": int(within_s * 1e6)}
        text = json.dumps(asked).encode()
        headers = {"Inference-Header-Content-Length": str(len(text))}
        if ticket:
            headers["Darnet-Ticket"] = ticket
        try:
            local.connection.request("POST", INFER, text + volume.tobytes(), headers)
            answer = local.connection.getresponse()
            body = json.loads(answer.read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            done(error)
            return
        if answer.status == 200:
            done(round(body["outputs"][0]["data"][0] * 4096))
            return
        kept = answer.headers.get("Darnet-Ticket", "")
        busy = BusyError(body["error"], retry_after_s=body.get("retry_after_s", 0.1), ticket=kept)
        busy.code = body["error"].split(";")[0]
        done(busy if answer.status == 429 else RuntimeError(f"{answer.status} {body}"))

    with ThreadPoolExecutor(128) as threads:
        yield lambda *of: threads.submit(ask, *of), psutil.Process(server.pid)
    assert server.stdin is not None
    server.stdin.close()
    server.wait()


def serve(bundle: Path, volume_s: float) -> None:
    """Serve with an engine that sleeps, until stdin ends."""
    from darnet_trt.runtime.serving import service as module
    from darnet_trt.runtime.serving.engine.selftest import SelfTest

    def opened(path: Path) -> object:
        found = open_bundle(path)
        sized = found.manifest.preprocessing.model_copy(update={"size": SIZE})
        manifest = found.manifest.model_copy(update={"preprocessing": sized})
        return SimpleNamespace(path=path, manifest=manifest, sha256=found.sha256)

    def loaded(of: SimpleNamespace, *_: object, **__: object) -> object:
        artifact = of.manifest.artifacts[0]
        return SimpleNamespace(artifact=artifact, runner=Sleeping(volume_s), warnings=())

    stub = {"open_bundle": opened, "load_engine": loaded}
    stub["self_test"] = lambda *_: SelfTest(volume_s)
    for name, function in stub.items():
        setattr(module, name, function)
    with tempfile.TemporaryDirectory() as state:
        settings = Settings(bundle, Path(state), http=HttpSettings(port=0), least_free=0)
        service = module.Service(settings, lambda line: print(line, file=sys.stderr))
        service.start()
        assert service.http is not None
        print(service.http.port, flush=True)
        sys.stdin.read()
        service.close()


def main() -> None:
    """Print a line for each load."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--load", type=float, nargs="+", default=[2, 10])
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--ms", type=float, default=10.0, help="of the engine for a volume")
    parser.add_argument("--within", type=float, default=0.5, help="deadline in s; 0: none")
    parser.add_argument("--http", type=Path, metavar="BUNDLE", help="any bundle")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    volume_s = options.ms / 1000
    if options.serve:
        serve(options.http, volume_s)
        return
    for load in options.load:
        way = over_http(options.http, volume_s) if options.http else to_queue(volume_s)
        with way as (send, process):
            before = process.memory_info().rss
            clients = Clients(send, options.requests, volume_s / load, options.within or None)
            seconds = clients.run()
            grown = (process.memory_info().rss - before) / 2**20
        ms = np.array(clients.latencies) * 1000
        print(
            f"load {load:g}: {clients.answers.count(1)} of {options.requests} answered once, "
            f"{sum(n > 1 for n in clients.answers)} twice, {len(clients.strange)} strange "
            f"{clients.strange[:2]}; goodput {options.requests * volume_s / seconds:.1%} of "
            f"capacity; {len(clients.again)} were refused at first, "
            f"{np.mean(list(clients.again.values()) or [1]):.1%} of these answered at their first "
            f"retry; refusals {dict(clients.refusals)}; latency p50 {np.median(ms):.0f}, p99 "
            f"{np.quantile(ms, 0.99):.0f}, longest {ms.max():.0f} ms, deadline "
            f"{options.within * 1000:.0f} ms; memory +{grown:.1f} MiB; clients late by at most "
            f"{clients.late * 1000:.0f} ms"
        )


if __name__ == "__main__":
    main()
