"""What the HTTP door asks of the service."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, Protocol

from darnet_trt.bundle.manifest import Artifact, Manifest
from darnet_trt.runtime.engines.runner import Outputs
from darnet_trt.runtime.prediction.results.result import Evidence
from darnet_trt.runtime.serving.http.tensors import Volumes
from darnet_trt.runtime.serving.intake.store import Store
from darnet_trt.runtime.serving.settings import Settings
from darnet_trt.runtime.serving.views import InstanceView, StudyView


class Queue(Protocol):
    """The queue before the engine."""

    def submit(
        self, batch: Volumes, *, deadline: float | None = None, ticket: str = ""
    ) -> Future[Outputs]:
        """Take a request; to cancel what is returned frees its place."""
        ...


class Studies(Protocol):
    """The studies that came in."""

    def whole(self, study: str) -> None:
        """Begin with a study at once: nothing more of it comes."""
        ...

    def list(self, limit: int, before: str) -> Sequence[StudyView]:
        """Return the latest studies that came before another one, the latest first."""
        ...

    def view(self, study: str) -> StudyView | None:
        """Return a study as it is now."""
        ...

    def instances(self, study: str) -> Sequence[InstanceView]:
        """Return what became of its files."""
        ...

    def evidence(self, study: str) -> Evidence | None:
        """Return what its pictures are drawn from."""
        ...

    def object(self, study: str, kind: str) -> bytes | None:
        """Return a DICOM object of its result."""
        ...

    def overlay(self, study: str) -> bytes | None:
        """Return the overlay of its result, PNG."""
        ...

    def watch(self, callback: Callable[[StudyView], None]) -> Callable[[], None]:
        """Call a function whenever a study changes; return what ends that."""
        ...


class Metrics(Protocol):
    """What counts."""

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request."""
        ...

    def text(self) -> bytes:
        """Return all in Prometheus' text format."""
        ...


class Service(Protocol):
    """The service."""

    @property
    def settings(self) -> Settings:
        """Return its settings."""
        ...

    @property
    def manifest(self) -> Manifest:
        """Return the manifest of the bundle that is served now."""
        ...

    @property
    def artifact(self) -> Artifact:
        """Return its engine that runs."""
        ...

    @property
    def queue(self) -> Queue:
        """Return the queue before the engine."""
        ...

    @property
    def store(self) -> Store:
        """Return the files that came."""
        ...

    @property
    def studies(self) -> Studies:
        """Return what is made of them."""
        ...

    @property
    def metrics(self) -> Metrics:
        """Return what counts."""
        ...

    @property
    def ready(self) -> bool:
        """Return whether it takes work."""
        ...

    @property
    def why_not_ready(self) -> str:
        """Return why it does not."""
        ...

    def reload(self) -> None:
        """Serve the bundle that is now at its path; keep the old one where that fails."""
        ...

    def deliveries(self) -> Sequence[Any]:
        """Return what is on its way to each receiver."""
        ...
