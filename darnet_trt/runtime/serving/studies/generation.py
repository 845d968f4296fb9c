"""One bundle and its engine at work, until another one takes its place."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from darnet_trt.bundle.reading import Bundle
from darnet_trt.machine.cpus import usable_cpus
from darnet_trt.machine.worker import WorkerDied
from darnet_trt.runtime.engines.loading import Engine
from darnet_trt.runtime.prediction.pipeline.finding import KILLS
from darnet_trt.runtime.prediction.pipeline.loading import Ready, Task
from darnet_trt.runtime.prediction.pipeline.making import Earlier
from darnet_trt.runtime.prediction.pipeline.memory import planned
from darnet_trt.runtime.prediction.pipeline.pipeline import Pipeline
from darnet_trt.runtime.prediction.results.result import Result
from darnet_trt.runtime.serving.settings import Settings
from darnet_trt.runtime.serving.studies.fates import Note, noted
from darnet_trt.runtime.serving.studies.job import Job, nothing_readable
from darnet_trt.scan.discovery.examine import Examined
from darnet_trt.scan.discovery.gather import FoundStudy
from darnet_trt.scan.discovery.units import Unit
from darnet_trt.scan.isolated import OF_ONE_SCAN, submit

_LEAVE_S: Final = 30.0
"""How long `close` waits for the engine."""


class Generation:
    """Finds and classifies studies with one engine; its processes stay open.

    Args:
        bundle: What classifies.
        engine: Loaded; it stays open.
        settings: Of the service.
        kinds: Kinds of DICOM objects.
        earlier: Returns the result that stands for a key.
        done: Called with each job that has all its results, from a thread of its own.
        ended: Called last from that thread, with what ended it; None: all is done.

    Attributes:
        at_once: How many studies to find at once.
        jobs: Those that were put and have no results yet, by study.

    Raises:
        UsageError: There is too little memory.
    """

    def __init__(
        self,
        bundle: Bundle,
        engine: Engine,
        settings: Settings,
        kinds: Sequence[str],
        earlier: Earlier,
        done: Callable[[Job], None],
        ended: Callable[[Exception | None], None],
    ) -> None:
        plan = planned(
            bundle,
            engine.artifact,
            settings.workers or usable_cpus(),
            settings.memory,
            objects=bool(kinds),
        )
        self.at_once, self.jobs = plan.workers, dict[str, Job]()
        self._memory, self._kinds = plan.share, kinds
        self._engine, self._done, self._ended = engine, done, ended
        self._pipeline = Pipeline(
            bundle, plan, kinds, earlier, evidence=True, mixed=True, eager=True
        )
        self._left = False
        self._thread = threading.Thread(target=self._run, name="classifying", daemon=True)

    def start(self) -> None:
        """Begin to classify; every process starts now, so that the first study need not wait."""
        for _ in range(self.at_once):
            submit(self._pipeline.pool, _warm, bool(self._kinds), where=Path())
        self._thread.start()

    def find(self, jobs: Sequence[Job]) -> None:
        """Look what the folders of some jobs hold.

        Raises:
            Closed: `close` was called.
        """
        finder = self._pipeline.finder
        parts: dict[Path, list[Examined]] = defaultdict(list)
        listed = (listing for job in jobs for listing in job.listings())
        for listing, examined, _ in finder.examined(listed, lambda _: True):
            parts[listing.folder] += examined
        filled = [job for job in jobs if job.folder in parts]
        units = [Unit(tuple(parts[job.folder])) for job in filled]
        for job, (_, gathered, _) in zip(filled, finder.gathered(units), strict=True):
            job.take(gathered.studies or self._failed(job))
        for job in jobs:
            if not job.found:
                job.take(self._failed(job))

    def put(self, job: Job) -> None:
        """Have a job that was found classified; wait while many wait.

        Raises:
            Closed: `close` was called, or the thread has ended.
        """
        job.notes = self._notes(job)
        self.jobs[job.study] = job
        found, job.unread = job.found, ()
        job.found = tuple(replace(study, pickled=b"", files=()) for study in found)
        for study, small in zip(found, job.found, strict=True):
            kept = self._pipeline.spool.put(study.pickled)
            self._pipeline.loads.put(Task(job.study, small, kept, 0.0))

    def end(self) -> None:
        """Take no more, and wait until all is done."""
        self._pipeline.loads.end()
        self._thread.join()

    def take_no_more(self) -> None:
        """Let nobody wait any more until a job can be put."""
        self._pipeline.loads.close()

    def close(self) -> None:
        """End all that runs; what has no result gets none."""
        self.take_no_more()
        self._pipeline.loads.end(_LeftError())
        if self._thread.ident is not None:  # first, or ended processes would give failed results
            self._thread.join(_LEAVE_S)
        self._left = True
        self._pipeline.close()

    def _failed(self, job: Job) -> tuple[FoundStudy, ...]:
        error = nothing_readable(job)
        return self._pipeline.finder.failed(job.folder.parent, error).studies

    def _notes(self, job: Job) -> dict[str, Note]:
        readable = (study for study in job.found if not job.is_unread(study))
        found = [(s.key, s.pickled, [file.name for file in s.files]) for s in readable]
        for read in (True, False):  # a file may end the process that reads it
            call = (noted, found, job.unread, job.files, job.apart, job.folder, read)
            coming = submit(
                self._pipeline.pool, *call, where=job.folder, memory=self._memory, kills=KILLS
            )
            try:
                return coming.result()
            except (WorkerDied, *OF_ONE_SCAN) as error:
                failed = error
        raise failed

    def _run(self) -> None:
        error: Exception | None = None
        try:
            for result in self._pipeline.results(self._engine, self._classified):
                if self._left:
                    return
                job = self.jobs[result.scan]
                key, first = job.chosen[result.key]
                job.results.append((key, result, first))
                if job.whole:
                    self._done(job)
                    del self.jobs[job.study]
        except _LeftError:
            return
        except Exception as raised:
            error = raised
        self.take_no_more()
        self._ended(error)

    def _classified(self, ready: Ready, result: Result) -> None:
        choice = ready.read.choice
        first = choice.series.files[0].name if choice and choice.series.files else ""
        self.jobs[result.scan].chosen[result.key] = ready.task.study.key, first


class _LeftError(Exception):
    """The generation was closed."""


def _warm(objects: bool) -> None:
    """Import what the first study would wait for; runs in a process of the pool."""
    if objects:
        import highdicom  # noqa: F401
