"""The studies of the service: from the files that come in to results that stand.

The files are the truth. A study whose ledger does not list every file of its folder is not
finished; all that is kept in memory follows from that, and a start makes it anew.
"""

from __future__ import annotations

import io
import threading
import time
from array import array
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING

from darnet_trt.bundle.reading import Bundle
from darnet_trt.runtime.delivery.queue import Tally
from darnet_trt.runtime.engines.loading import Engine
from darnet_trt.runtime.prediction.results.overlay import draw_overlay
from darnet_trt.runtime.prediction.results.result import Evidence
from darnet_trt.runtime.serving.settings import Settings
from darnet_trt.runtime.serving.studies.instances import Instances, numbers
from darnet_trt.runtime.serving.studies.keeping import Keeping
from darnet_trt.runtime.serving.studies.ledger import Summary
from darnet_trt.runtime.serving.studies.records import Records
from darnet_trt.runtime.serving.studies.waiting import Open, Waiting
from darnet_trt.runtime.serving.studies.work import Work
from darnet_trt.runtime.serving.views import InstanceView, State, StudyView

if TYPE_CHECKING:
    from darnet_trt.runtime.serving.intake.store import Received, Store

Watcher = Callable[[StudyView], None]


@dataclass(frozen=True)
class Figures:
    """How many studies there are.

    Attributes:
        receiving: More may come of them.
        queued: They are complete, and wait for the engine.
        running: They are being read or classified.
        done: Their results stand.
    """

    receiving: int
    queued: int
    running: int
    done: int


class Studies:
    """All studies, from many threads; three threads of its own, beside those of the deliveries.

    Call `start` once, and at last `close`.

    Args:
        settings: Of the service.
        store: Where the files are. It calls `admit` and `arrived`.
        bundle: What classifies.
        engine: Its engine, loaded; any runner will do. It stays open, and is asked again after it
            has failed.
        notify: Called with a line on what is unusual; from any thread.

    Raises:
        UsageError: Another process uses the state folder, or its results have patients' fields in
            the other form.
        OutputError: It cannot be written.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        bundle: Bundle,
        engine: Engine,
        *,
        notify: Callable[[str], None] = lambda line: None,
    ) -> None:
        self._settings, self._store = settings, store
        self._served = bundle, engine
        self._changed = threading.Condition(threading.RLock())
        self._waiting = Waiting(settings)
        self._recent: dict[str, None] = {}  # all studies, by their last change
        self._records = Records(settings, notify)
        self._instances = Instances()
        shared = self._changed, self._recent, self._waiting, self._instances
        self._keeping = Keeping(settings, store, self._records, *shared, self.view, notify)
        self._work = Work(
            settings,
            store,
            self._records,
            *shared,
            lambda: self._served,
            self._keeping.changed,
            notify,
        )

    def start(self) -> None:
        """Find what an earlier run left, and begin.

        Raises:
            UsageError: There is too little memory.
        """
        last, finished = dict[str, float](), set[str]()
        every = array("Q")
        for study, files in self._store.studies():
            every.extend(numbers(files))
            if (summary := self._records.finished(study, files)) is not None:
                last[study] = summary.last
                finished.add(study)
                continue
            first, last[study] = self._times_of_files(study, files)
            known = self._times(study)
            self._waiting.resume(study, (known[0] if known else first, last[study]))
        self._instances.fill(every)
        self._records.tidy(finished, last.keys() - finished)
        self._recent.update(dict.fromkeys(sorted(last, key=last.__getitem__)))
        self._records.send()
        self._work.start()
        self._keeping.start()

    def admit(self, study: str) -> None:
        """Keep a place for a study, of which a file is about to be kept.

        Raises:
            BusyError: There is none.
        """
        with self._changed:
            if self._waiting.get(study) is not None:
                return
        times = self._times(study)
        with self._changed:
            self._waiting.admit(study, times)

    def arrived(self, received: Received, peer: str) -> None:
        """Note that a file is on the disk."""
        study = received.study
        with self._changed:
            if received.outcome == "known" and self._is_finished(study):
                self._waiting.forget(study)
                return
            if received.outcome == "new":
                self._instances.add(received.file)
            first = (each := self._waiting.get(study)) is None or not each.arrivals
            times = self._times(study) if each is None else None
            self._waiting.arrived(study, peer, times)
            if not received.file.endswith(".dcm"):  # a volume file is all of its study
                self._waiting.whole(study)
            self._recent.pop(study, None)
            self._recent[study] = None
            if first:
                self._changed.notify_all()
        self._keeping.changed(study)

    def whole(self, study: str) -> None:
        """Note that nothing more of a study is to come: it waits for no quiet time."""
        with self._changed:
            self._waiting.whole(study)
            self._changed.notify_all()

    def list(self, limit: int, before: str = "") -> Sequence[StudyView]:
        """Return studies, those that changed last first.

        Args:
            limit: Most studies.
            before: The last one of the list before; empty: from the start.
        """
        with self._changed:
            names = iter([*reversed(self._recent)])
        if before:
            for name in names:
                if name == before:
                    break
        return [view for name in islice(names, limit) if (view := self.view(name)) is not None]

    def view(self, study: str) -> StudyView | None:
        """Return a study; None where there is none of that name."""
        with self._changed:
            if study not in self._recent:
                return None
            each = self._waiting.get(study)
            open_ = each is not None and each.arrivals > 0
            state: State = self._state(each) if each is not None and open_ else "done"
            ahead = self._waiting.ahead(each) if each is not None and state == "queued" else None
            wait_s = self._waiting.wait_s(each) if each is not None and open_ else None
            error = each.error if each is not None else ""
        summary = self._records.ledgers.summary(study)
        files = len(self._store.files(study)) if open_ else 0
        if each is not None:
            first, last = each.first, each.last
        elif summary is not None:
            first, last = summary.first, summary.last
        else:  # removed in between
            return None
        return StudyView(
            id=study,
            state=state,
            received=max(files, summary.received if summary else 0),
            first=_iso(first),
            last=_iso(last),
            ahead=ahead,
            wait_s=None if wait_s is None else round(wait_s, 1),
            results=self._records.results(summary) if summary else (),
            used=summary.used if summary else 0,
            left_out=summary.left_out if summary else 0,
            refused=summary.refused if summary else 0,
            error=error,
        )

    def instances(self, study: str) -> Sequence[InstanceView]:
        """Return what became of each file that the standing results count."""
        return [*self._records.ledgers.instances(study).values()]

    def evidence(self, study: str) -> Evidence | None:
        """Return the network's input and activation map of a study; None where there are none."""
        return self._records.evidence.read(study)

    def object(self, study: str, kind: str) -> bytes | None:
        """Return a DICOM object of a study's results; None where there is none of that kind."""
        summary = self._records.ledgers.summary(study)
        results = self._records.results(summary) if summary else ()
        found = (self._records.object(result, kind) for result in results)
        return next(filter(None, found), None)

    def overlay(self, study: str) -> bytes | None:
        """Return the picture of a study's activation map as PNG; None where there is none."""
        summary, evidence = self._records.ledgers.summary(study), self.evidence(study)
        results = self._records.results(summary) if summary else ()
        shown = next((result for result in results if result.status == "ok"), None)
        if shown is None or evidence is None:
            return None
        picture = io.BytesIO()
        draw_overlay(shown, evidence).save(picture, "PNG", compress_level=4)
        return picture.getvalue()

    def watch(self, callback: Watcher) -> Callable[[], None]:
        """Call a function with each study that changes, from another thread, until told to stop.

        Args:
            callback: Quick; raises nothing.

        Returns:
            What stops it.
        """
        return self._keeping.watch(callback)

    def deliveries(self) -> dict[str, Tally]:
        """Return how far the deliveries to each peer are."""
        return self._records.sending.tallies()

    def figures(self) -> Figures:
        """Return how many studies there are in each state."""
        with self._changed:
            states = [self._state(each) for each in self._waiting.all() if each.arrivals]
            done = len(self._recent) - len(states)
        count = states.count
        return Figures(count("receiving"), count("queued"), count("running"), done)

    @property
    def trouble(self) -> str:
        """Return why nothing is classified now; empty where it is."""
        return self._work.trouble

    def swap(self, bundle: Bundle, engine: Engine) -> None:
        """Let another engine take the place of this one, when that has done what it has begun.

        When this returns, the old one is no longer used; it is not closed.

        Raises:
            UsageError: There is too little memory; the old one stays.
        """
        old, self._served = self._served, (bundle, engine)
        try:
            self._work.swap(bundle, engine)
        except BaseException:
            self._served = old
            raise

    def drain(self, until: float) -> None:
        """Wait until all has results and is sent; what falls due meanwhile is classified, too.

        Args:
            until: How long, as of `time.monotonic`. A study that is not complete until then is
                left to the next start.
        """
        with self._changed:
            left_s = until - time.monotonic()
            self._changed.wait_for(lambda: not self._waiting.busy(until), max(left_s, 0.0))
        self._records.sending.finish(max(until - time.monotonic(), 0.0))

    def close(self) -> None:
        """End; what has no result is begun anew by the next start."""
        self._work.close()
        self._keeping.close()
        self._records.close()

    def _state(self, each: Open) -> State:
        if each.taken:
            return "running"
        return "queued" if self._waiting.is_late(each) else "receiving"

    def _is_finished(self, study: str) -> bool:
        each = self._waiting.get(study)
        return study in self._recent and (each is None or not each.arrivals)

    def _times(self, study: str) -> tuple[float, float] | None:
        """Return when the first and the last file of a finished study came."""
        summary: Summary | None = self._records.ledgers.summary(study)
        return (summary.first, summary.last) if summary else None

    def _times_of_files(self, study: str, files: Sequence[str]) -> tuple[float, float]:
        times = [time.time()]
        folder = self._store.folder(study)
        for file in files:
            with suppress(OSError):
                times.append((folder / file).stat().st_mtime)
        return min(times), max(times[1:], default=times[0])


def _iso(seconds: float) -> str:
    at = datetime.fromtimestamp(seconds, UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
