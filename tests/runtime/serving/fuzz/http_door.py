"""Send damaged requests to the HTTP door of a running service."""

from __future__ import annotations

import random
import re
import socket
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field

from benchmarks.cpu.service.server import Server
from tests.runtime.serving.fuzz.damaged_requests import ROUTES, Known, request

PATIENCE_S = 10.0
_GO_ON = b"HTTP/1.1 100 Continue\r\n\r\n"  # before the answer


@dataclass
class Verdict:
    """Hold what came of some fuzzing.

    Attributes:
        name: Of the fuzzing.
        ends: What was answered → how often.
        faults: What must not happen: each with the seed that makes it again.
    """

    name: str
    ends: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    def line(self) -> str:
        """Return one line."""
        ends = ", ".join(f"{end} {count}" for end, count in sorted(self.ends.items()))
        return f"{self.name}: {self.ends.total()} tries, {len(self.faults)} faults ({ends})"


def fuzz_http(
    server: Server, model: str, size: tuple[int, ...], slices: list[bytes], seeds: range
) -> Verdict:
    """Send a request a seed; a fault is an answer of 500 and above, and a service that ends."""
    verdict = Verdict("HTTP requests")
    paths = list(server.get("/openapi.json")["paths"])
    routes = [*ROUTES, *(p for p in paths if p not in ROUTES)]
    routes += [
        route for route in routes if "infer" in route or route.endswith(("scans", "studies"))
    ]
    ids = [study["id"] for study in server.studies()][:5]
    known = Known(model, size, ids, slices, routes)
    for seed in seeds:
        rng = random.Random(seed)
        content = request(rng, known)
        end, answer = ask(server.http, content, half_closed=rng.random() < 0.5)
        verdict.ends[end] += 1
        shown = f"seed {seed}: {content[:200]!r}"
        if end.startswith("5"):
            verdict.faults.append(f"{shown} → {answer[:500]!r}")
        elif end == "no HTTP":
            verdict.faults.append(f"{shown} → {answer[:200]!r}")
        elif b"Traceback" in answer:
            verdict.faults.append(f"{shown} → a traceback")
        if not server.alive:
            verdict.faults.append(f"{shown} → the service has ended: {server.said[-1000:]}")
            break
    return verdict


def ask(port: int, content: bytes, *, half_closed: bool) -> tuple[str, bytes]:
    """Send bytes; return the status of the first answer, or what came instead, and the answer."""
    answer = b""
    try:
        with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as connection:
            connection.settimeout(PATIENCE_S if half_closed else 0.5)
            with suppress(OSError):  # it may answer before it has read all
                connection.sendall(content)
                if half_closed:
                    connection.shutdown(socket.SHUT_WR)
            while len(answer) < 100_000 and not _whole(answer):
                piece = connection.recv(65536)
                if not piece:
                    break
                answer = (answer + piece).removeprefix(_GO_ON)
    except TimeoutError:
        if not answer:
            return "silence", answer
    except ConnectionError:
        if not answer:
            return "closed", answer
    if not answer:
        return "closed", answer
    status = re.match(rb"HTTP/1\.[01] (\d{3}) ?", answer)
    return (status[1].decode() if status else "no HTTP"), answer


def _whole(answer: bytes) -> bool:
    head, end, body = answer.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)content-length: *(\d+)", head)
    return bool(end) and (
        b"event-stream" in head or (length is not None and len(body) >= int(length[1]))
    )
