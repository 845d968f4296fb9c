"""The service: two doors, one store, one engine, put together."""

from __future__ import annotations

import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

from darnet_trt.bundle.manifest import Artifact, Manifest
from darnet_trt.bundle.reading import Bundle, open_bundle, pick_artifact
from darnet_trt.errors import BusyError, DarnetError, InternalError
from darnet_trt.machine.files import cannot_write, sole_writer
from darnet_trt.runtime.engines.loading import Engine, load_engine
from darnet_trt.runtime.serving.dicom.peers import check_closed
from darnet_trt.runtime.serving.engine.job import Lane
from darnet_trt.runtime.serving.engine.proxy import Proxy
from darnet_trt.runtime.serving.engine.queue import EngineQueue
from darnet_trt.runtime.serving.engine.selftest import SelfTest, self_test
from darnet_trt.runtime.serving.http.security import check_exposure
from darnet_trt.runtime.serving.intake.store import Store
from darnet_trt.runtime.serving.settings import Settings
from darnet_trt.runtime.serving.studies.studies import Studies
from darnet_trt.runtime.serving.telemetry.metrics import Figures, Metrics
from darnet_trt.runtime.serving.telemetry.systemd import Systemd
from darnet_trt.runtime.serving.views import DeliveryView, StudyView

if TYPE_CHECKING:
    from darnet_trt.runtime.serving.dicom.scp import DicomDoor
    from darnet_trt.runtime.serving.http.door import HttpDoor

_LONGEST_PAUSE_S: Final = 60.0  # between two tries to load an engine that failed
_DOORS: Final = 0.5  # share of a stop's time in which peers may finish what they send
_COUNTED: Final = 1024  # results that are remembered, so that none is counted twice


class Service:
    """Serves a bundle until it is closed.

    Args:
        settings: All of it.
        notify: Called with a line on what is unusual; from any thread.

    Attributes:
        settings: As given.
        metrics: What counts.
        ready: Whether it takes work.
        why_not_ready: Why it does not; empty where it does.
        http: The HTTP door; None: there is none.
        dicom: The DICOM door; None: there is none, or not yet.
    """

    def __init__(self, settings: Settings, notify: Callable[[str], None]) -> None:
        self.settings, self.metrics = settings, Metrics(self._figures)
        self.ready, self.why_not_ready = False, "it is starting"
        self.http: HttpDoor | None = None
        self.dicom: DicomDoor | None = None
        self._notify = notify
        self._closing = threading.Event()
        self._reloading = threading.Lock()
        self._replacing = threading.Lock()  # guards the lane that is served, and the next
        self._next: Lane | None = None
        self._opened = ExitStack()
        self._started: Studies | None = None
        self._systemd = Systemd(self._is_alive)
        self._counted: OrderedDict[tuple[str, str], None] = OrderedDict()

    def start(self) -> None:
        """Load the engine and open the doors; close the service if this raises.

        The HTTP door opens first, so that it can say that the service is not ready.

        Raises:
            UsageError: The settings do not fit together, an address cannot be listened on, or
                another process uses the state folder.
            BundleError: The bundle cannot be used, or its engine failed the self-test.
            DeviceError: The engine's GPU is absent or failed.
            MissingPackageError: A package is not installed.
            OutputError: The state folder cannot be written.
        """
        settings = self.settings
        bundle = open_bundle(settings.bundle)
        pick_artifact(bundle, settings.artifact)
        if settings.dicom is not None:
            check_closed(settings.dicom)
        if settings.http is not None:
            check_exposure(settings.http)
        self._opened.enter_context(sole_writer(settings.state))
        try:
            os.chmod(settings.state, 0o700)  # noqa: PTH101
        except OSError as error:
            raise cannot_write(settings.state, error) from error
        self._bundle = bundle
        self._store = Store(
            settings.state,
            settings,
            lambda study: self.studies.admit(study),
            lambda received, peer: self.studies.arrived(received, peer),
        )
        if settings.http is not None:
            from darnet_trt.runtime.serving.http.door import HttpDoor

            self.http = HttpDoor(settings.http, self)
            self._opened.callback(self.http.close)
            self.http.start()
        engine, tested = self._loaded(bundle)
        self._lane = Lane(engine.runner, bundle.manifest.preprocessing.size)
        self._opened.callback(lambda: self._lane.close())
        self._queue = EngineQueue(
            self._lane,
            settings,
            self.metrics,
            volume_s=tested.volume_s,
            failed=self._failed,
        )
        self._opened.callback(self._queue.close)
        self._use(bundle, engine)
        self._studies = Studies(
            settings,
            self._store,
            bundle,
            self._engine,
            notify=self._notify,
        )
        self._opened.callback(self._studies.close)
        self._studies.watch(self._changed)
        self._studies.start()
        self._started = self._studies
        if settings.dicom is not None:
            from darnet_trt.runtime.serving.dicom.scp import DicomDoor

            self.dicom = DicomDoor(settings.dicom, self._store)
            self._opened.callback(self.dicom.close)
        self.ready, self.why_not_ready = True, ""
        if trouble := self._store.trouble:
            self._notify(f"warning: scans are refused: {trouble}")
        self._systemd.ready()

    @property
    def started(self) -> bool:
        """Return whether studies can be asked for."""
        return self._started is not None

    @property
    def manifest(self) -> Manifest:
        """Return the manifest of the bundle that is served now."""
        return self._bundle.manifest

    @property
    def artifact(self) -> Artifact:
        """Return its engine that runs."""
        return self._engine.artifact

    @property
    def queue(self) -> EngineQueue:
        """Return the queue before the engine."""
        return self._queue

    @property
    def store(self) -> Store:
        """Return the files that came."""
        return self._store

    @property
    def studies(self) -> Studies:
        """Return what is made of them."""
        return self._studies

    def deliveries(self) -> Sequence[DeliveryView]:
        """Return how far the deliveries to each receiver are."""
        now = time.time()
        return [
            DeliveryView(
                peer=peer,
                objects=dict(tally.all),
                awaited=tally.awaited,
                next_s=None if tally.next_s is None else max(tally.next_s - now, 0.0),
                why=tally.why_waiting or tally.why_refused,
            )
            for peer, tally in self._studies.deliveries().items()
        ]

    def reload(self) -> None:
        """Serve the bundle that is now at its path; keep the old one where that fails.

        Requests that wait are answered by the engine for which they were taken.

        Raises:
            BusyError: A reload is under way.
            DarnetError: The bundle cannot be used; the old one is.
        """
        if not self._reloading.acquire(blocking=False):
            raise BusyError("a reload is under way", retry_after_s=10.0)
        self._systemd.reloads()
        outcome = "failed"
        try:
            self._replace()
            outcome = "done"
        except DarnetError:
            raise
        except Exception as error:  # of an engine's library: no reason to end
            raise InternalError(error) from error
        finally:
            self.metrics.reloaded(outcome)
            self._systemd.ready()
            self._reloading.release()

    def drain(self, until: float) -> bool:
        """Close the doors, and finish what was taken; return whether all is done.

        Args:
            until: When to stop waiting, by `time.monotonic`.
        """
        self.ready, self.why_not_ready = False, "it ends"
        self._closing.set()
        self._systemd.ends()
        now = time.monotonic()
        doors_until = now + _DOORS * max(until - now, 0.0)
        drains = [
            threading.Thread(target=drain, daemon=True)
            for drain in (lambda: self._drain_dicom(doors_until), lambda: self._drain_http(until))
        ]
        for each in drains:
            each.start()
        for each in drains:
            each.join(max(doors_until - time.monotonic(), 0.0))
        drains[0].join()
        self._studies.drain(until)
        done = self._queue.drain(until)
        drains[1].join(max(until - time.monotonic(), 0.0))
        figures = self._studies.figures()
        left = figures.receiving + figures.queued + figures.running
        return done and not left and not drains[1].is_alive()

    def close(self) -> None:
        """End now; files without results are taken up by the next start."""
        self.ready, self.why_not_ready = False, "it ends"
        self._closing.set()
        self._opened.close()

    def _drain_dicom(self, until: float) -> None:
        """Let peers finish what they send; a slice that is cut off was not acknowledged."""
        if self.dicom is not None and not self.dicom.drain(max(until - time.monotonic(), 0.0)):
            self.dicom.close()

    def _drain_http(self, until: float) -> None:
        if self.http is not None:
            self.http.drain(until)

    def _loaded(self, bundle: Bundle) -> tuple[Engine, SelfTest]:
        """Load and test an engine of a bundle.

        Raises:
            DarnetError: It cannot be used.
        """
        engine = load_engine(bundle, self.settings.artifact, threads=self.settings.threads)
        try:
            tested = self_test(bundle, engine)
        except BaseException:
            engine.runner.close()
            raise
        for warning in (*engine.warnings, *filter(None, [tested.remark])):
            self._notify(f"warning: {warning}")
        return engine, tested

    def _use(self, bundle: Bundle, engine: Engine) -> None:
        """Note which bundle and engine serve from now on."""
        self._bundle = bundle
        self._engine = Engine(engine.artifact, Proxy(self._queue, self._lane), engine.warnings)
        self.metrics.engine(engine.artifact.name, engine.runner.precision, bundle.sha256)

    def _replace(self) -> None:
        """Load the bundle at the path, and let it take over.

        Raises:
            DarnetError: It cannot be used.
        """
        bundle = open_bundle(self.settings.bundle)
        engine, tested = self._loaded(bundle)
        old, lane = self._lane, Lane(engine.runner, bundle.manifest.preprocessing.size)
        proxy = Engine(engine.artifact, Proxy(self._queue, lane), engine.warnings)
        with self._replacing:
            self._next = lane
        if not old.works:
            self._queue.give_up(old, _replaced())
        try:
            self._studies.swap(bundle, proxy)
        except BaseException:
            with self._replacing:
                self._next = None
            engine.runner.close()
            if not old.works:
                self._begin_to_mend(old)
            raise
        self._queue.change(lane, tested.volume_s)
        with self._replacing:
            self._lane, self._next = lane, None
        self._use(bundle, engine)
        self._get_ready()
        self._queue.left(old)
        old.close()

    def _failed(self, lane: Lane, error: Exception) -> None:
        """Load an engine again that failed; called from the queue's thread."""
        why = str(error if isinstance(error, DarnetError) else InternalError(error))
        self._notify(f"warning: the engine failed and is loaded again: {why}")
        with self._replacing:
            leaves = lane is not self._lane or self._next is not None
        if leaves:  # its bundle may be gone from the path
            self._queue.give_up(lane, _replaced())
            return
        self.ready, self.why_not_ready = False, f"the engine failed: {why}"
        self._begin_to_mend(lane)

    def _begin_to_mend(self, lane: Lane) -> None:
        threading.Thread(target=self._mend, args=(lane,), name="mend", daemon=True).start()

    def _mend(self, lane: Lane) -> None:
        with suppress(Exception):  # it is broken
            lane.close()
        pause_s = 1.0
        while not self._closing.is_set() and lane is self._lane:
            try:
                engine, _ = self._loaded(self._bundle)
            except Exception as error:
                why = str(error if isinstance(error, DarnetError) else InternalError(error))
                self.why_not_ready = f"the engine cannot be loaded: {why}"
                self._notify(f"warning: {self.why_not_ready}; the next try is in {pause_s:.0f} s")
                self._closing.wait(pause_s)
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
                continue
            with self._replacing:
                if lane is self._lane and not lane.works:
                    self._queue.mend(lane, engine.runner)
                    self._get_ready()
                else:  # a reload was quicker
                    engine.runner.close()
            return

    def _get_ready(self) -> None:
        if not self._closing.is_set():
            self.ready, self.why_not_ready = True, ""

    def _changed(self, view: StudyView) -> None:
        """Count the results of a study that is done, each once."""
        for result in view.results if view.state == "done" else ():
            known = (result.key, result.finished)
            if known not in self._counted:
                self.metrics.result(result)
            self._counted[known] = None
            self._counted.move_to_end(known)
            if len(self._counted) > _COUNTED:
                self._counted.popitem(last=False)

    def _is_alive(self) -> bool:
        door = self.http is None or self.http.alive or self._closing.is_set()
        return self._started is None or (door and self._queue.alive)

    def _figures(self) -> Figures:
        studies, dicom = self._started, self.dicom
        sent = {} if studies is None else studies.deliveries()
        return Figures(
            ready=self.ready and not self._store.trouble,
            received={str(o): count for o, count in dict(self._store.received).items()},
            received_bytes=self._store.received_bytes,
            associations=0 if dicom is None else dicom.associations(),
            dicom_refused={} if dicom is None else dict(dicom.refused),
            studies={} if studies is None else asdict(studies.figures()),
            deliveries={peer: tally.all for peer, tally in sent.items()},
            free=self._store.free(),
        )


def _replaced() -> BusyError:
    return BusyError("the engine was replaced", retry_after_s=1.0)
