"""Measure what HTTP adds to the engine for tensors of full size, and how many volumes go through.

    python -m benchmarks.cpu.service.infer

A stub engine sleeps, so that the clients on the same cores take nothing from it. The clients are
processes of their own that send prepared bytes. Beside it stands what the same bytes take over a
bare socket, which the machine's load slows down, too, and the processor's time, which it does not.
"""

from __future__ import annotations

import argparse
import http.client
import json
import multiprocessing
import socket
import statistics
import tempfile
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from darnet_trt.runtime.engines.runner import Outputs
from darnet_trt.runtime.serving.http.door import HttpDoor
from darnet_trt.runtime.serving.settings import HttpSettings, Settings

SIZE = (64, 224, 224)
PATH = "/v2/models/darnet/infer"


class Queue:
    """Answers after a while; keeps no order, since nothing waits here."""

    def __init__(self, engine_s: float) -> None:
        self._engine_s = engine_s
        self._pool = ThreadPoolExecutor(16)

    def submit(self, batch: Any, **of: Any) -> Future[Outputs]:
        """Answer a request later."""
        return self._pool.submit(self._run, len(batch))

    def _run(self, n: int) -> Outputs:
        if self._engine_s:
            time.sleep(self._engine_s)
        return Outputs(np.zeros((n, 3), np.float32), np.zeros((n, 3, 8, 14, 14), np.float32))


def open_door(engine_s: float) -> HttpDoor:
    """Serve a stub engine on a free port of loopback."""
    state = Path(tempfile.mkdtemp())
    settings = Settings(bundle=Path(), state=state, http=HttpSettings(port=0), volumes=64)
    preprocessing = SimpleNamespace(size=SIZE)
    service: Any = SimpleNamespace(
        settings=settings,
        manifest=SimpleNamespace(classes=("a", "b", "c"), preprocessing=preprocessing),
        artifact=SimpleNamespace(backend="stub"),
        queue=Queue(engine_s),
        metrics=SimpleNamespace(request=lambda *of: None, refused=print),
        started=True,
        ready=True,
        why_not_ready="",
    )
    assert settings.http is not None
    door = HttpDoor(settings.http, service)
    door.start()
    return door


def send(port: int, count: int, begin: Any, times: Any) -> None:
    """Send so many volumes one after the other over one connection."""
    volume = np.random.default_rng(0).random((1, 1, *SIZE), np.float32).tobytes()
    tensor = {"name": "volume", "shape": [1, 1, *SIZE], "datatype": "FP32"}
    text = json.dumps({"inputs": [{**tensor, "parameters": {"binary_data_size": len(volume)}}]})
    body = text.encode() + volume
    headers = {"Inference-Header-Content-Length": str(len(text))}
    connection = http.client.HTTPConnection("127.0.0.1", port)
    mine = []
    begin.wait()
    for _ in range(count):
        start = time.perf_counter()
        connection.request("POST", PATH, body, headers)
        answer = connection.getresponse()
        content = answer.read()
        if answer.status != 200:
            raise SystemExit(content.decode())
        mine.append(time.perf_counter() - start)
    times.put(mine)


def bare(count: int) -> list[float]:
    """Return the seconds that so many volumes take over a bare socket, each with an answer."""
    listening = socket.create_server(("127.0.0.1", 0))
    port, size = listening.getsockname()[1], 4 * int(np.prod(SIZE))
    spawn = multiprocessing.get_context("spawn")
    times = spawn.Queue()
    sender = spawn.Process(target=send_bare, args=(port, size, count, times))
    sender.start()
    connection, _ = listening.accept()
    memory = memoryview(bytearray(size))
    with listening, connection:
        for _ in range(count):
            filled = 0
            while filled < size:
                filled += connection.recv_into(memory[filled:])
            connection.sendall(b"x")
        taken: list[float] = times.get()
    sender.join()
    return taken


def send_bare(port: int, size: int, count: int, times: Any) -> None:
    """Send so many bytes so often, and wait for an answer to each."""
    content, mine = bytes(size), []
    with socket.create_connection(("127.0.0.1", port)) as connection:
        for _ in range(count):
            start = time.perf_counter()
            connection.sendall(content)
            connection.recv(1)
            mine.append(time.perf_counter() - start)
    times.put(mine)


def measure(clients: int, count: int, engine_s: float) -> tuple[list[float], float, float]:
    """Return the time of each request, volumes a second, and our processor's time for each."""
    door = open_door(engine_s)
    spawn = multiprocessing.get_context("spawn")
    begin, times = spawn.Barrier(clients + 1), spawn.Queue()
    each = [
        spawn.Process(target=send, args=(door.port, count, begin, times)) for _ in range(clients)
    ]
    for process in each:
        process.start()
    begin.wait()
    start, before = time.perf_counter(), time.process_time()
    taken = [seconds for _ in each for seconds in times.get()]
    took, spent = time.perf_counter() - start, time.process_time() - before
    for process in each:
        process.join()
    door.close()
    return taken, clients * count / took, spent / (clients * count)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=40, help="requests of each client")
    parser.add_argument("--engine-ms", type=float, default=50.0, help="time of the stub engine")
    options = parser.parse_args()
    alone, _, _ = measure(1, options.count, options.engine_ms / 1000)
    added = sorted(1000 * seconds - options.engine_ms for seconds in alone)
    print(f"one client, beyond an engine of {options.engine_ms:.0f} ms:")
    print(f"  p50 {statistics.median(added):.1f} ms, p95 {added[int(0.95 * len(added))]:.1f} ms")
    print(f"  a bare socket: p50 {1000 * statistics.median(bare(options.count)):.1f} ms")
    _, rate, spent_s = measure(8, options.count, 0.0)
    print(f"eight clients, an engine of 0 ms: {rate:.0f} volumes/s")
    print(f"  {1000 * spent_s:.1f} ms of the server's processor for each")


if __name__ == "__main__":
    main()
