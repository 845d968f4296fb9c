"""Give studies to the pipeline when they are due, and keep that pipeline alive."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Final

from darnet_trt.bundle.reading import Bundle
from darnet_trt.errors import DarnetError, InternalError
from darnet_trt.runtime.engines.loading import Engine
from darnet_trt.runtime.prediction.history.history import TRANSIENT
from darnet_trt.runtime.prediction.pipeline.loading import Closed
from darnet_trt.runtime.prediction.results.result import OBJECTS
from darnet_trt.runtime.serving.intake.names import is_conflict
from darnet_trt.runtime.serving.settings import Settings
from darnet_trt.runtime.serving.studies.fates import CONFLICT, ELSEWHERE
from darnet_trt.runtime.serving.studies.generation import Generation
from darnet_trt.runtime.serving.studies.instances import Instances, elsewhere
from darnet_trt.runtime.serving.studies.job import Job
from darnet_trt.runtime.serving.studies.records import Records
from darnet_trt.runtime.serving.studies.waiting import LONGEST_TRY_S, Open, Waiting

if TYPE_CHECKING:
    from darnet_trt.runtime.serving.intake.store import Store

TRIES: Final = 3
"""So often a study is read whose reading fails for a reason that may pass."""
LONGEST_PASSING_S: Final = 3600.0
"""Longest time until what failed for such a reason is read once more."""
_LEAVE_S: Final = 10.0
_LONGEST_PAUSE_S: Final = 60.0


class Work:
    """Takes studies that are due, in a thread of its own.

    Args:
        settings: Of the service.
        store: Where the files are.
        records: Where the results go.
        changed: Guards the following three.
        recent: All studies.
        waiting: Those that are not finished.
        instances: Their instances.
        engine: Returns the bundle and the engine that are served; called again after it failed.
        told: Called with the name of a study whose state has changed.
        notify: Called with a line on what went wrong.

    Attributes:
        trouble: Why nothing is classified now; empty where it is.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        records: Records,
        changed: threading.Condition,
        recent: Collection[str],
        waiting: Waiting,
        instances: Instances,
        engine: Callable[[], tuple[Bundle, Engine]],
        told: Callable[[str], None],
        notify: Callable[[str], None],
    ) -> None:
        self._settings, self._store, self._waiting = settings, store, waiting
        self._recent, self._instances, self._changed = recent, instances, changed
        self._records, self._engine, self._told = records, engine, told
        self._notify = notify
        self._kinds = settings.objects or (OBJECTS if settings.send else ())
        self._generation: Generation | None = None
        self._next: Generation | None = None
        self._broken: Exception | None = None
        self._breaks = 0
        self._stopped = False
        self.trouble = ""
        self._thread = threading.Thread(target=self._run, name="studies", daemon=True)

    def start(self) -> None:
        """Begin.

        Raises:
            UsageError: There is too little memory.
        """
        self._generation = self._made(*self._engine())
        self._generation.start()
        self._thread.start()

    def swap(self, bundle: Bundle, engine: Engine) -> None:
        """Let another engine take the place of this one, when that has done what it has begun.

        Raises:
            UsageError: There is too little memory; the old one stays.
        """
        following = self._made(bundle, engine)
        with self._changed:
            self._next = following
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._next is not following or self._stopped)

    def close(self) -> None:
        """End; what has no result yet is begun anew by the next start."""
        with self._changed:
            self._stopped = True
            generation = self._generation
            self._changed.notify_all()
        if generation is not None:
            generation.take_no_more()
        self._join()
        for each in (generation, self._next):
            if each is not None:
                each.close()
        self._join()

    def _join(self) -> None:
        if self._thread.ident is not None:
            self._thread.join(_LEAVE_S)

    def _made(self, bundle: Bundle, engine: Engine) -> Generation:
        return Generation(
            bundle,
            engine,
            self._settings,
            self._kinds,
            self._records.result,
            self._done,
            self._ended,
        )

    def _run(self) -> None:
        while True:
            try:
                taken = self._wait()
                if self._stopped:
                    return
                if self._next is not None:
                    self._swap(self._next)
                elif self._broken is not None:
                    self._mend()
                elif taken and self._generation is not None:
                    self._begin(self._generation, taken)
            except Closed:
                continue
            except Exception as error:
                self._ended(error)

    def _wait(self) -> list[Open]:
        """Wait until something is to be done; return the studies that are due."""
        with self._changed:
            while not (self._stopped or self._next is not None or self._broken is not None):
                assert self._generation is not None
                if taken := self._waiting.take(self._generation.at_once):
                    return taken
                self._changed.wait(self._waiting.next_in_s())
            return []

    def _swap(self, following: Generation) -> None:
        old = self._generation
        if old is not None:
            old.end()
            old.close()
        try:
            self._replaced_by(following)
        finally:
            with self._changed:
                self._next = None
                self._changed.notify_all()

    def _mend(self) -> None:
        """Begin again after something failed, with what was under way, too."""
        error, self._broken = self._broken, None
        assert error is not None
        why = str(error if isinstance(error, DarnetError) else InternalError(error))
        self.trouble = why
        self._notify(f"warning: {why}; what was under way is begun again")
        if self._generation is not None:
            self._generation.close()
            self._generation = None
        self._put_back(why)
        pause_s = min(2.0**self._breaks - 1, _LONGEST_PAUSE_S)
        self._breaks += 1
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or self._next is not None, pause_s)
            if self._stopped or self._next is not None:
                return
        self._replaced_by(self._made(*self._engine()))

    def _replaced_by(self, following: Generation) -> None:
        self._put_back("the engine was replaced")
        try:
            following.start()
        except BaseException:
            following.close()
            raise
        with self._changed:
            self._generation, self._broken, self.trouble = following, None, ""

    def _put_back(self, why: str) -> None:
        with self._changed:
            left = [each.study for each in self._waiting.all() if each.taken]
            for study in left:
                self._waiting.failed(study, why)
        for study in left:
            self._told(study)

    def _begin(self, generation: Generation, taken: Sequence[Open]) -> None:
        """Look at studies that are due, and have those classified that are complete."""
        jobs = [job for each in taken if (job := self._job(each)) is not None]
        if jobs:
            generation.find(jobs)
        for job in jobs:
            with self._changed:
                each = self._waiting.get(job.study)
                assert each is not None
                late = self._waiting.is_late(each)
                if not late and (job.missing or each.arrivals != job.arrivals):
                    self._waiting.go_on(each, job.arrivals, time.monotonic() - job.began)
                    continue
            self._told(job.study)
            generation.put(job)

    def _job(self, each: Open) -> Job | None:
        """Return what is to be looked at; None where the study's ledger lists all of it."""
        study, arrivals = each.study, each.arrivals
        files = self._store.files(study)
        if not files or self._records.finished(study, files) is not None:
            with self._changed:
                self._waiting.done(study, arrivals)
                self._changed.notify_all()
            self._told(study)
            return None
        return Job(
            study, self._store.folder(study), tuple(files), arrivals, self._apart(study, files)
        )

    def _apart(self, study: str, files: Sequence[str]) -> dict[str, str]:
        """Return why some files of a study are not looked at."""
        with self._changed:
            twice = self._instances.twice(files)
            others = list(self._recent) if twice else []
        late = elsewhere(self._store, study, twice, others)
        return dict.fromkeys(late, ELSEWHERE) | dict.fromkeys(filter(is_conflict, files), CONFLICT)

    def _done(self, job: Job) -> None:
        """Let the results of a job stand; an error costs this job alone, which is tried again.

        What failed for a reason that may pass is tried again first, and stands only then; it is
        tried again later all the same.
        """
        with self._changed:
            each = self._waiting.get(job.study)
            assert each is not None
            times, tries = (each.first, each.last), each.tries
        why = next((r.reason for _, r, _ in job.results if r.code in TRANSIENT), "")
        longest_s = LONGEST_TRY_S
        if not why or tries >= TRIES - 1:
            try:
                self._records.commit(job, times)
                longest_s = LONGEST_PASSING_S
            except Exception as error:
                why = str(error if isinstance(error, DarnetError) else InternalError(error))
                if why != self.trouble:
                    self._notify(f"warning: a result cannot be kept: {why}")
                self.trouble = why
        with self._changed:
            if why:
                self._waiting.failed(job.study, why, longest_s)
            else:
                self._waiting.done(job.study, job.arrivals)
                self._breaks, self.trouble = 0, ""
            self._changed.notify_all()
        self._told(job.study)

    def _ended(self, error: Exception | None) -> None:
        if error is None:
            return
        with self._changed:
            self._broken = error
            self._changed.notify_all()
