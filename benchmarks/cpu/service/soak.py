"""Let a service live through 24 hours of a scanner room in minutes, and weigh it.

    python -m benchmarks.cpu.service.soak BUNDLE [--hours 24] [--minutes 10] [--seed 0]

In each hour: studies over DICOM and one as a ZIP over HTTP, tensors, torn associations, requests
that hang up midway, somebody who watches the events and leaves, and a reload. All the time
something probes both ports. The receiver of the results is down in every second hour. Slices and
results are kept for two hours. Memory, threads and descriptors of all its processes are read at the
end of each hour, when nothing is under way, and compared with those after warm-up.
"""

from __future__ import annotations

import argparse
import http.client
import io
import json
import os
import random
import socket
import sys
import threading
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
from pynetdicom import AE, evt
from pynetdicom.sop_class import Comprehensive3DSRStorage

from benchmarks.cpu.service.judging.footprint import Footprint, footprint, least
from benchmarks.cpu.service.orthanc import free_port
from benchmarks.cpu.service.senders.dicom import Timeline, send_all
from benchmarks.cpu.service.senders.studies import Instance, make_studies
from benchmarks.cpu.service.server import Server, running
from darnet_trt.bundle.reading import open_bundle
from darnet_trt.machine.cpus import usable_cpus
from darnet_trt.machine.hardware import cpu

HOURS: Final = 24
LIMIT: Final = 0.02
"""Share by which something may have grown; a single thread or descriptor may always come."""


@dataclass
class Soak:
    """Hold what came of the hours.

    Attributes:
        footprints: At the end of each hour.
        answers: What was done → how often.
        unready: How often it said at the end of an hour that it is not ready.
        said: Lines of its stderr that speak of a programming error.
    """

    footprints: list[Footprint] = field(default_factory=list)
    answers: Counter[str] = field(default_factory=Counter)
    unready: int = 0
    said: list[str] = field(default_factory=list)

    @property
    def before(self) -> Footprint:
        """Return what it held in the second third: allocators have grown for all by then."""
        third = len(self.footprints) // 3
        return least(self.footprints[third : 2 * third])

    @property
    def after(self) -> Footprint:
        """Return what it holds in the last third."""
        return least(self.footprints[-(len(self.footprints) // 3) :])


@contextmanager
def receiver(port: int) -> Iterator[list[str]]:
    """Take reports on a port; give the list of what came."""
    taken: list[str] = []

    def take(event: Any) -> int:
        taken.append(str(event.request.AffectedSOPInstanceUID))
        return 0x0000

    ours = AE(ae_title="RECEIVER")
    ours.add_supported_context(Comprehensive3DSRStorage)
    server = ours.start_server(
        ("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_STORE, take)]
    )
    try:
        yield taken
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def probes(server: Server, every_s: float, done: Counter[str]) -> Iterator[None]:
    """Open and close a connection to each port meanwhile, again and again."""
    ended = threading.Event()

    def probe() -> None:
        while not ended.wait(every_s):
            for port in (server.dicom, server.http):
                with suppress(OSError), socket.create_connection(("127.0.0.1", port), 5):
                    done["probe"] += 1

    probing = threading.Thread(target=probe, daemon=True)
    probing.start()
    try:
        yield
    finally:
        ended.set()
        probing.join()


def hang_up(server: Server, rng: random.Random) -> str:
    """Begin something and leave in the middle of it; return what."""
    body = rng.randbytes(50_000)
    ways: dict[str, tuple[int, bytes]] = {
        "half a request line": (server.http, b"GET /v1/sc"),
        "half a header": (server.http, b"POST /v1/scans HTTP/1.1\r\nHost: 127.0.0.1\r\nCont"),
        "half an upload": (
            server.http,
            b"POST /v1/scans HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/zip\r\n"
            b"Content-Length: 900000\r\n\r\n" + body,
        ),
        "events, and gone": (
            server.http,
            b"GET /v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n\r\n",
        ),
        "half an association": (server.dicom, b"\x01\x00\x00\x00\x01\x00\x00\x01\x00\x00DARNET"),
        "no DICOM": (server.dicom, body[:100]),
    }
    way = rng.choice(list(ways))
    port, words = ways[way]
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 5) as connection:
        connection.sendall(words)
        time.sleep(rng.uniform(0, 0.1))
    return way


def upload(server: Server, study: Sequence[Instance]) -> str:
    """Send a study as a ZIP; return the answer's status."""
    with io.BytesIO() as written:
        with zipfile.ZipFile(written, "w") as packed:
            for number, instance in enumerate(study):
                packed.writestr(f"{number}.dcm", instance.content)
        content = written.getvalue()
    status, _ = server.ask("POST", "/v1/scans", content, **{"Content-Type": "application/zip"})
    return f"upload {status}"


def infer(server: Server, shape: tuple[int, ...]) -> str:
    """Ask for the logits of a tensor; return the answer's status."""
    tensor = np.zeros((1, 1, *shape), np.float32).tobytes()
    header = json.dumps(
        {
            "inputs": [
                {
                    "name": "volume",
                    "shape": [1, 1, *shape],
                    "datatype": "FP32",
                    "parameters": {"binary_data_size": len(tensor)},
                }
            ]
        }
    ).encode()
    status, _ = server.ask(
        "POST",
        f"/v2/models/{server.model}/infer",
        header + tensor,
        **{"Inference-Header-Content-Length": str(len(header))},
    )
    return f"infer {status}"


def quiet(server: Server, until: float) -> bool:
    """Wait until every study is done; return whether that came in time."""
    while time.monotonic() < until:
        with suppress(OSError, http.client.HTTPException, AssertionError):
            if all(study["state"] == "done" for study in server.studies()):
                return True
        time.sleep(0.1)
    return False


def hour(
    server: Server,
    number: int,
    studies: Sequence[Sequence[Instance]],
    shape: tuple[int, ...],
    length_s: float,
    rng: random.Random,
    soak: Soak,
) -> None:
    """Live through one hour."""
    begun = time.monotonic()

    def note(what: str) -> None:
        soak.answers[what] += 1

    def attempt(act: Callable[[], str]) -> None:
        try:
            note(act())
        except (OSError, http.client.HTTPException) as error:
            note(type(error).__name__)

    server.reload()
    note("reload")
    *sent, packed = studies
    line = Timeline(
        (rng.uniform(0, 0.2 * length_s), instance) for study in sent for instance in study
    )
    done = send_all(
        line, server.dicom, associations=4, aborted=0.1, seed=number, limit_s=length_s + 20
    )
    soak.answers.update(done.answers)
    attempt(lambda: upload(server, packed))
    for _ in range(3):
        attempt(lambda: infer(server, shape))
        note(hang_up(server, rng))
    note("quiet" if quiet(server, begun + length_s + 20) else "not quiet")
    soak.unready += not server.ready
    time.sleep(max(0.0, begun + length_s - 1 - time.monotonic()))


def run(bundle: Path, folder: Path, hours: int, minutes: float, seed: int = 0) -> Soak:
    """Live through some hours, in so many minutes or as fast as it can."""
    length_s, rng, soak = 60 * minutes / hours, random.Random(seed), Soak()
    shape = open_bundle(bundle).manifest.preprocessing.size
    port = free_port()
    send = ("--objects", "sr", "--send", f"RECEIVER@127.0.0.1:{port}")
    keep = ("--settle", 1, "--keep", f"{2 * length_s:g}s")
    with running(bundle, folder, *send, *keep) as server:
        for number in range(hours):
            studies = make_studies(3, 30, first=3 * number)
            up = receiver(port) if number % 2 else nullcontext()
            with up as taken, probes(server, length_s / 360, soak.answers):
                hour(server, number, studies, shape, length_s, rng, soak)
                soak.answers["delivered"] += len(taken or ())
            time.sleep(1)  # what was open is closed
            soak.footprints.append(footprint(server.processes()))
            print(f"hour {number}: {soak.footprints[-1]}", file=sys.stderr, flush=True)
        soak.said = [line for line in server.said.splitlines() if "Traceback" in line]
        assert server.stop() == 0, server.said[-4000:]
    return soak


def main() -> int:
    """Run, and print a table; return 1 where something has grown, or failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--hours", type=int, default=HOURS, help="at least 5")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=float, default=LIMIT, help="share that may be grown")
    given = parser.parse_args()
    print(f"{usable_cpus()} cores of {cpu().name}, load {os.getloadavg()[0]:.1f}", flush=True)
    with TemporaryDirectory() as name:
        soak = run(given.bundle, Path(name), given.hours, given.minutes, given.seed)
    print(f"done: {dict(soak.answers)}")
    grown = []
    for part in fields(Footprint):
        before, after = getattr(soak.before, part.name), getattr(soak.after, part.name)
        print(f"{part.name}: {before:,.0f} → {after:,.0f} ({after / before:.3f})")
        grown += [part.name] if after - before > max(given.limit * before, 1) else []
    print(f"grown: {', '.join(grown) or 'nothing'}")
    print(f"not ready: {soak.unready}; tracebacks: {len(soak.said)}")
    return int(bool(grown or soak.unready or soak.said))


if __name__ == "__main__":
    sys.exit(main())
