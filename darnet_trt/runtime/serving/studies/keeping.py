"""What is done now and then: tell who watches, remove what is old, and begin deliveries again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final

from darnet_trt.errors import DarnetError, InternalError
from darnet_trt.runtime.serving.settings import Settings
from darnet_trt.runtime.serving.studies.instances import Instances
from darnet_trt.runtime.serving.studies.records import Records
from darnet_trt.runtime.serving.studies.waiting import Waiting
from darnet_trt.runtime.serving.views import StudyView

if TYPE_CHECKING:
    from darnet_trt.runtime.serving.intake.store import Store

TELL_S: Final = 0.2
"""Least time between two tellings: a study of 500 slices comes in a few seconds."""
TIDY_S: Final = 10.0
"""Time between two looks at what is old."""


class Keeping:
    """Keeps house, in a thread of its own.

    Args:
        settings: Of the service.
        store: Where the files are.
        records: Where the results are.
        guard: Guards the following three.
        recent: All studies, by their last change.
        waiting: Those that are not finished.
        instances: Their instances.
        view: Returns what is shown of a study.
        notify: Called with a line on what went wrong.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        records: Records,
        guard: threading.Condition,
        recent: dict[str, None],
        waiting: Waiting,
        instances: Instances,
        view: Callable[[str], StudyView | None],
        notify: Callable[[str], None],
    ) -> None:
        self._keep_s, self._store, self._records = settings.keep_s, store, records
        self._guard, self._recent, self._waiting = guard, recent, waiting
        self._instances, self._view, self._notify = instances, view, notify
        self._changing = threading.Condition()
        self._changed: dict[str, None] = {}
        self._watchers: list[Callable[[StudyView], None]] = []
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="keeping", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """End; whoever watches is told what changed last."""
        with self._changing:
            self._stopped = True
            self._changing.notify_all()
        if self._thread.ident is not None:
            self._thread.join()

    def changed(self, study: str) -> None:
        """Note that a study has changed."""
        with self._changing:
            if self._watchers:
                self._changed[study] = None
                self._changing.notify_all()

    def watch(self, callback: Callable[[StudyView], None]) -> Callable[[], None]:
        """Tell somebody what changes; return what stops that."""
        with self._changing:
            self._watchers.append(callback)

        def stop() -> None:
            with self._changing, suppress(ValueError):
                self._watchers.remove(callback)

        return stop

    def _run(self) -> None:
        tidied = time.monotonic()
        while not self._stopped:
            with self._changing:
                self._changing.wait_for(lambda: self._changed or self._stopped, TIDY_S)
            self._attempt(self._tell)
            if time.monotonic() - tidied > TIDY_S:
                self._attempt(self._tidy)
                tidied = time.monotonic()
            if not self._stopped:
                time.sleep(TELL_S)
        self._attempt(self._tell)

    def _attempt(self, step: Callable[[], None]) -> None:
        """Do something; what goes wrong, such as a full disk, is tried again the next time."""
        try:
            step()
        except Exception as error:
            known = isinstance(error, DarnetError | OSError)
            self._notify(f"warning: {error if known else InternalError(error)}")

    def _tell(self) -> None:
        with self._changing:
            changed, self._changed = self._changed, {}
            watchers = list(self._watchers)
        for study in changed if watchers else ():
            if (view := self._view(study)) is not None:
                for watcher in watchers:
                    watcher(view)

    def _tidy(self) -> None:
        with self._guard:
            self._waiting.sweep()
        self._remove_old()
        self._records.compact()
        self._records.send()

    def _remove_old(self) -> None:
        """Remove what did not change for longer than it is to be kept."""
        if self._keep_s is None:
            return
        while True:
            with self._guard:
                study = next((s for s in self._recent if self._waiting.get(s) is None), None)
            if study is None:
                return
            summary = self._records.ledgers.summary(study)
            if summary is not None and summary.last + self._keep_s > time.time():
                return
            with self._guard:  # no file of it may arrive meanwhile
                if self._waiting.get(study) is not None:
                    continue
                files = self._store.files(study)
                if files and summary is None:  # its ledger cannot be read: nobody knows its age
                    now = time.time()
                    self._waiting.resume(study, (now, now))
                    self._guard.notify_all()
                    continue
                if not self._records.forget(study, partial(self._store.remove, study)):
                    return
                del self._recent[study]
                self._instances.remove(files)
