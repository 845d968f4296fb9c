"""What the service counts, for Prometheus.

No label holds a text of a request: not a patient's, no UID, and no title of a stranger.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from darnet_trt.runtime.prediction.results.result import StageTimes

if TYPE_CHECKING:
    from darnet_trt.runtime.prediction.results.result import Result

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
"""Of `Metrics.text`."""
_SECONDS: Final = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100)
_BATCHES: Final = (1, 2, 4, 8, 16, 32, 64)


@dataclass(frozen=True)
class Figures:
    """What others count, as it is when the metrics are read.

    Attributes:
        ready: Whether the service is ready.
        received: What became of files → how many.
        received_bytes: How many bytes they had.
        associations: DICOM associations that are open.
        dicom_refused: Why associations and slices were refused → how many.
        studies: State → how many studies.
        deliveries: Peer of ours → state → how many objects.
        free: Bytes of the disk that may still be used.
    """

    ready: bool
    received: Mapping[str, int]
    received_bytes: int
    associations: int
    dicom_refused: Mapping[str, int]
    studies: Mapping[str, int]
    deliveries: Mapping[str, Mapping[str, int]]
    free: int


class Metrics:
    """Counters in a registry of their own; every method may be called from any thread.

    Args:
        figures: Returns what others count; None: nothing is asked.
    """

    def __init__(self, figures: Callable[[], Figures] | None = None) -> None:
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
        self._requests = of(
            Counter, "http_requests", "Requests over HTTP.", "method", "route", "status"
        )
        self._request_s = of(
            Histogram, "http_request_seconds", "Time of a request.", "route", buckets=_SECONDS
        )
        self._results = of(Counter, "results", "Results that were made.", "status")
        self._stages = of(
            Histogram, "stage_seconds", "Time of a study's stages.", "stage", buckets=_SECONDS
        )
        if figures is not None:
            registry.register(_Others(figures))
        registry.register(_Gpus())

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

    def result(self, result: Result) -> None:
        """Count a result, and its stages' times."""
        self._results.labels(result.status).inc()
        for stage in StageTimes.model_fields:
            if (ms := getattr(result.stages_ms, stage)) is not None:
                self._stages.labels(stage).observe(ms / 1000)

    def text(self) -> bytes:
        """Return all in Prometheus' text format."""
        from prometheus_client import generate_latest

        written: bytes = generate_latest(self._registry)
        return written


class _Others:
    """Collects what others count."""

    def __init__(self, figures: Callable[[], Figures]) -> None:
        self._figures = figures

    def describe(self) -> list[Any]:
        return []

    def collect(self) -> Iterator[Any]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        now = self._figures()
        for name, text, value in (
            ("ready", "1 while the service is ready.", now.ready),
            ("associations", "DICOM associations that are open.", now.associations),
            ("disk_free_bytes", "Bytes of the disk that may still be used.", now.free),
        ):
            yield GaugeMetricFamily(f"darnet_{name}", text, value=value)
        size = now.received_bytes
        yield CounterMetricFamily("darnet_received_bytes", "Bytes that were received.", value=size)
        for name, text, label, values in (
            ("received", "Files that were received.", "outcome", now.received),
            ("dicom_refused", "Refused over DICOM.", "reason", now.dicom_refused),
        ):
            counter = CounterMetricFamily(f"darnet_{name}", text, labels=[label])
            for key, count in sorted(values.items()):
                counter.add_metric([key], count)
            yield counter
        studies = GaugeMetricFamily("darnet_studies", "Studies by state.", labels=["state"])
        for state, count in now.studies.items():
            studies.add_metric([state], count)
        yield studies
        labels = ["peer", "state"]
        objects = GaugeMetricFamily("darnet_deliveries", "Objects for our peers.", labels=labels)
        for peer, states in now.deliveries.items():
            for state, count in states.items():
                objects.add_metric([peer, state], count)
        yield objects


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
