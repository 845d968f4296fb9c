"""What the service counts, for Prometheus.

No label holds a text of a request: not a patient's, no UID, and no title of a stranger.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from darnet_trt.runtime.prediction.results.result import StageTimes

if TYPE_CHECKING:
    from darnet_trt.runtime.prediction.results.result import Result

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
"""Of `Metrics.text`."""
_SECONDS: Final = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100)
_BATCHES: Final = (1, 2, 4, 8, 16, 32, 64)
_STATES: Final = ("receiving", "queued", "running", "done")


class Metrics:
    """Counters in a registry of their own; every method may be called from any thread."""

    def __init__(self) -> None:
        from prometheus_client import (
            CollectorRegistry,
            Counter,
            Gauge,
            Histogram,
            ProcessCollector,
        )

        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)

        def of(kind: Any, name: str, text: str, *labels: str, **more: Any) -> Any:
            return kind(f"darnet_{name}", text, labels, registry=registry, **more)

        self._ready = of(Gauge, "ready", "1 while the service is ready.")
        self._engine = of(
            Gauge, "engine_info", "The engine that runs.", "artifact", "precision", "bundle"
        )
        self._reloads = of(Counter, "reloads", "Reloads of the bundle.", "outcome")
        self._volumes = of(Gauge, "queue_volumes", "Volumes of requests that wait.")
        self._bytes = of(Gauge, "queue_bytes", "Bytes of them.")
        self._tickets = of(Gauge, "queue_tickets", "Places that are kept for refused clients.")
        self._batches = of(
            Histogram, "batch_volumes", "Volumes in a batch of the engine.", buckets=_BATCHES
        )
        self._infer = of(
            Histogram, "infer_seconds", "Time of a batch in the engine.", buckets=_SECONDS
        )
        self._refused = of(Counter, "refused", "What was refused, to come again later.", "reason")
        self._received = of(Counter, "received", "Files that were received.", "door", "outcome")
        self._received_bytes = of(Counter, "received_bytes", "Bytes of them.", "door")
        self._associations = of(Gauge, "associations", "DICOM associations that are open.")
        self._rejected = of(Counter, "associations_rejected", "Associations refused.", "reason")
        self._requests = of(
            Counter, "http_requests", "Requests over HTTP.", "method", "route", "status"
        )
        self._request_s = of(
            Histogram, "http_request_seconds", "Time of a request.", "route", buckets=_SECONDS
        )
        self._studies = of(Gauge, "studies", "Studies by state.", "state")
        self._results = of(Counter, "results", "Results that were made.", "status")
        self._stages = of(
            Histogram, "stage_seconds", "Time of a study's stages.", "stage", buckets=_SECONDS
        )
        self._deliveries = of(Gauge, "deliveries", "Objects on their way.", "peer", "state")
        self._free = of(Gauge, "disk_free_bytes", "Free bytes of the state folder's disk.")
        registry.register(_Gpus())

    def ready(self, is_ready: bool) -> None:
        """Note whether the service is ready."""
        self._ready.set(is_ready)

    def engine(self, artifact: str, precision: str, bundle: str) -> None:
        """Note which engine runs.

        Args:
            artifact: Its name.
            precision: What it runs in.
            bundle: The SHA-256 of its bundle.
        """
        self._engine.clear()
        self._engine.labels(artifact, precision, bundle[:12]).set(1)

    def reloaded(self, outcome: str) -> None:
        """Count a reload: "done" or "failed"."""
        self._reloads.labels(outcome).inc()

    def waiting(self, volumes: int, size: int, tickets: int) -> None:
        """Note what waits for the engine: volumes, their bytes, and the places that are kept."""
        self._volumes.set(volumes)
        self._bytes.set(size)
        self._tickets.set(tickets)

    def ran(self, volumes: int, seconds: float) -> None:
        """Count a batch of the engine."""
        self._batches.observe(volumes)
        self._infer.observe(seconds)

    def refused(self, reason: str) -> None:
        """Count what was refused for a while.

        Args:
            reason: A code of ours.
        """
        self._refused.labels(reason).inc()

    def received(self, door: str, outcome: str, size: int) -> None:
        """Count a file.

        Args:
            door: "dicom" or "http".
            outcome: "new", "known", "conflict" or "not taken".
            size: Its bytes.
        """
        self._received.labels(door, outcome).inc()
        self._received_bytes.labels(door).inc(size)

    def associations(self, now_open: int) -> None:
        """Note how many associations are open."""
        self._associations.set(now_open)

    def rejected(self, reason: str) -> None:
        """Count an association that was refused.

        Args:
            reason: A code of ours.
        """
        self._rejected.labels(reason).inc()

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request over HTTP.

        Args:
            method: "GET", …; "other" where it is none of HTTP's own.
            route: Its template, such as "/v1/scans/{id}"; never the path that was asked for.
            status: Of the answer.
            seconds: To the answer's end.
        """
        self._requests.labels(method, route, str(status)).inc()
        self._request_s.labels(route).observe(seconds)

    def studies(self, counts: Mapping[str, int]) -> None:
        """Note how many studies are in each state."""
        for state in _STATES:
            self._studies.labels(state).set(counts.get(state, 0))

    def result(self, result: Result) -> None:
        """Count a result, and its stages' times."""
        self._results.labels(result.status).inc()
        for stage in StageTimes.model_fields:
            if (ms := getattr(result.stages_ms, stage)) is not None:
                self._stages.labels(stage).observe(ms / 1000)

    def deliveries(self, peer: str, counts: Mapping[str, int]) -> None:
        """Note how many objects are in each state on their way to a peer of ours."""
        for state, count in counts.items():
            self._deliveries.labels(peer, state).set(count)

    def disk(self, free: Callable[[], float]) -> None:
        """Ask a function for the free bytes whenever the metrics are read."""
        self._free.set_function(free)

    def text(self) -> bytes:
        """Return all in Prometheus' text format."""
        from prometheus_client import generate_latest

        written: bytes = generate_latest(self._registry)
        return written


class _Gpus:
    """Reads the GPUs' figures, where there are some and the package nvidia-ml-py is installed."""

    def describe(self) -> list[Any]:
        return []

    def collect(self) -> Iterator[Any]:
        from prometheus_client.core import GaugeMetricFamily

        try:
            import pynvml

            pynvml.nvmlInit()
        except Exception:  # not installed, no driver, no device: the library has many errors
            return
        used = GaugeMetricFamily("darnet_gpu_memory_bytes", "Memory in use.", labels=["gpu"])
        load = GaugeMetricFamily("darnet_gpu_load", "Share of time at work.", labels=["gpu"])
        heat = GaugeMetricFamily("darnet_gpu_celsius", "Temperature.", labels=["gpu"])
        try:
            for index in range(pynvml.nvmlDeviceGetCount()):
                one = pynvml.nvmlDeviceGetHandleByIndex(index)
                name = [str(index)]
                used.add_metric(name, pynvml.nvmlDeviceGetMemoryInfo(one).used)
                load.add_metric(name, pynvml.nvmlDeviceGetUtilizationRates(one).gpu / 100)
                heat.add_metric(name, pynvml.nvmlDeviceGetTemperature(one, 0))
        except pynvml.NVMLError:  # a figure that this device does not give
            pass
        yield from (used, load, heat)
