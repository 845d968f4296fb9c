"""A service whose engine is as quick or slow as a test wants it, behind the real HTTP door."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np

from darnet_trt.bundle.reading import open_bundle
from darnet_trt.runtime.engines.runner import Outputs
from darnet_trt.runtime.serving.http.door import HttpDoor
from darnet_trt.runtime.serving.intake.store import Store
from darnet_trt.runtime.serving.settings import HttpSettings, Settings
from tests.runtime.serving import asking
from tests.tiny_bundle import FEATURES, SIZE, write_bundle

PAPER_CLASSES = 3


def outputs_of(batch):
    """What the network gives: all of it follows from the volumes' means."""
    mean = batch.mean(axis=(1, 2, 3, 4), dtype=np.float64).astype(np.float32)
    logits = mean[:, None] * np.arange(1, PAPER_CLASSES + 1, dtype=np.float32)
    d, h, w = (size // step for size, step in zip(batch.shape[2:], (8, 16, 16), strict=True))
    cam = np.broadcast_to(logits[:, :, None, None, None], (len(batch), PAPER_CLASSES, d, h, w))
    features = np.repeat(mean[:, None], FEATURES, axis=1)
    return Outputs(logits, np.ascontiguousarray(cam), features)


class Queue:
    """One thread that runs what is submitted, while it is let."""

    def __init__(self):
        self.pool = ThreadPoolExecutor(1)
        self.let = threading.Event()
        self.let.set()
        self.submitted = []
        self.error = None
        self.refuse = None

    def submit(self, batch, *, deadline=None, ticket=""):
        if self.refuse is not None:
            raise self.refuse
        future = self.pool.submit(self._run, batch)
        self.submitted.append(SimpleNamespace(
            batch=batch, deadline=deadline, ticket=ticket, future=future))  # fmt: skip
        return future

    def _run(self, batch):
        self.let.wait(60)
        if self.error is not None:
            raise self.error
        with np.errstate(all="ignore"):
            return outputs_of(batch)


class Metrics:
    def __init__(self):
        self.requests, self.refusals = [], []

    def request(self, method, route, status, seconds):
        self.requests.append((method, route, status))

    def refused(self, reason):
        self.refusals.append(reason)

    def text(self):
        return b"# none\n"


class StandIn:
    """A service over a tiny bundle."""

    def __init__(self, folder, **http):
        http = {"port": 0, **http}
        self.settings = Settings(
            bundle=folder / "bundle",
            state=folder / "state",
            http=HttpSettings(**http),
            least_free=0,
        )
        bundle = open_bundle(write_bundle(folder / "bundle"))
        self.manifest = bundle.manifest
        self.artifact = self.manifest.artifacts[0]
        self.queue, self.metrics = Queue(), Metrics()
        self.store = Store(folder / "state", self.settings, lambda study: None, lambda *of: None)
        self.started, self.ready, self.why_not_ready = True, True, ""

    def close(self):
        self.queue.let.set()
        self.queue.pool.shutdown()


@contextmanager
def serving(service):
    """Open the door of a service; give it."""
    door = HttpDoor(service.settings.http, service)
    door.start()
    try:
        yield door
    finally:
        door.close()
        service.close()


def ask(door, method, path, body=None, headers=None):
    """Ask, and return status, headers and body; JSON is parsed."""
    return asking.ask(door.port, method, path, body, headers)


def wait_until(condition, seconds=60.0):
    """Wait until something holds; fail where it does not."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.005)


VOLUME = np.random.default_rng(0).random((1, 1, *SIZE), np.float32)
