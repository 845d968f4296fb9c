"""The queue before the engine: one thread gives it batches, earliest deadline first."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Final

import numpy as np

from darnet_trt.errors import BusyError, Finding, UsageError
from darnet_trt.runtime.engines.runner import Outputs, Runner
from darnet_trt.runtime.prediction.pipeline.batches import largest_batch
from darnet_trt.runtime.serving.engine.admission import TOO_LATE, Admission, Place
from darnet_trt.runtime.serving.engine.job import Job, Lane, Volumes
from darnet_trt.runtime.serving.engine.pace import Pace

if TYPE_CHECKING:
    from darnet_trt.runtime.serving.settings import Settings
    from darnet_trt.runtime.serving.telemetry.metrics import Metrics

FIRST_S: Final = 0.5
"""The engine's time for a volume where nothing is known of it."""
ENDS: Final = Finding("ends", "the service ends")
FAILED: Final = Finding("engine-failed", "the engine failed and is loaded again")
_TRIES: Final = 2  # a batch that an engine fails on is tried again with the next engine
_LOOK_S: Final = 0.25  # how often deadlines are looked at while no engine works
_AGAIN_S: Final = 10.0  # until an engine is loaded, or the service was started again

_Batch = list[tuple[Job, int]]
"""Jobs, each with how many of its volumes."""


class EngineQueue:
    """Runs requests on an engine, one batch at a time, in a thread of its own.

    Requests over HTTP wait in places that are bounded (see `Admission`). Studies wait apart, and
    the engine takes from both in turns.

    What an engine failed on is kept, and nothing runs on it until `mend` brings it anew.

    Args:
        lane: To the engine.
        settings: Of the service.
        metrics: What counts.
        volume_s: The engine's time for a volume, where it is known.
        failed: Called with the engine's exception, from the queue's thread.

    Attributes:
        lane: Where requests go now.
    """

    def __init__(
        self,
        lane: Lane,
        settings: Settings,
        metrics: Metrics,
        *,
        volume_s: float = FIRST_S,
        failed: Callable[[Lane, Exception], None] = lambda lane, error: None,
    ) -> None:
        self.lane = lane
        self._metrics, self._failed = metrics, failed
        self._pace = Pace(volume_s)
        self._admission = Admission(settings.volumes, settings.volume_bytes, self._pace)
        self._jobs: dict[Place, Job] = {}
        self._apart: deque[Job] = deque()
        self._batch: _Batch = []
        self._was_apart = False
        self._free_s = 0.0  # since when the engine could have begun with what waits
        self._ends = self._closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="engine", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Return whether its thread runs."""
        return self._thread.is_alive()

    def submit(
        self, batch: Volumes, *, deadline: float | None = None, ticket: str = ""
    ) -> Future[Outputs]:
        """Take a request; to cancel what is returned frees its place.

        Args:
            batch: Volumes, (n, 1, d, h, w).
            deadline: When the answer must be there, by `time.monotonic`; None: at any time.
            ticket: Of the `BusyError` of the last try.

        Raises:
            BusyError: It cannot be taken now, or not be done before its deadline. What is returned
                raises it, too, where the engine turns out slower than it was.
            UsageError: It has more volumes than are ever taken, or of another size.
        """
        with self._changed:
            lane = self.lane
            if batch.shape[2:] != lane.size:
                raise UsageError(
                    f"the volumes have {_times(batch.shape[2:])} voxels, and the network takes "
                    f"{_times(lane.size)}",
                    do="read the model's metadata again: another bundle was loaded",
                )
            if self._ends:
                raise self._refused(ENDS, _AGAIN_S)
            if not lane.works:
                raise self._refused(FAILED, _AGAIN_S)
            now = time.monotonic()
            try:
                place = self._admission.admit(now, len(batch), batch.nbytes, deadline, ticket)
            except BusyError as busy:
                self._metrics.refused(busy.code)
                raise
            job = self._jobs[place] = Job(lane, batch, place)
            self._tell()
        job.answer.add_done_callback(lambda answer: self._leave(place))
        return job.answer

    def apart(self, lane: Lane, batch: Volumes) -> Future[Outputs]:
        """Take volumes of studies, which are never refused.

        Args:
            lane: To the engine.
            batch: Volumes, (n, 1, d, h, w).
        """
        job = Job(lane, batch, None)
        with self._changed:
            if (lost := lane.lost) is None:
                self._apart.append(job)
                self._changed.notify_all()
        if lost is not None:
            job.fail(lost)
        return job.answer

    def expected_s(self, volumes: int) -> float:
        """Return the estimated seconds until so many volumes would be done if they came now."""
        with self._changed:
            return self._admission.expected_s(time.monotonic(), volumes)

    def change(self, lane: Lane, volume_s: float) -> None:
        """Use another engine for what comes from now on; what waits keeps its own.

        Args:
            lane: To the other engine.
            volume_s: Its time for a volume.
        """
        with self._changed:
            self.lane = lane
            self._pace.reset(volume_s)

    def left(self, lane: Lane) -> None:
        """Wait until nothing waits for an engine any more, nor runs on it."""
        with self._changed:
            self._changed.wait_for(lambda: all(job.lane is not lane for job in self._all()))

    def mend(self, lane: Lane, runner: Runner) -> None:
        """Go on with an engine that was loaded again after it had failed.

        Args:
            lane: To it.
            runner: The same engine, anew.
        """
        with self._changed:
            lane.runner, lane.works, lane.lost, lane.closed = runner, True, None, False
            self._free_s = time.monotonic()
            self._changed.notify_all()

    def give_up(self, lane: Lane, error: Exception) -> None:
        """Answer with an error all that waits for an engine that failed, and what still comes."""
        with self._changed:
            lane.works, lane.lost = False, error
            lost = self._claim(job for job in self._all() if job.lane is lane)
            self._changed.notify_all()
        for job in lost:
            job.fail(error)

    def drain(self, until: float) -> bool:
        """Take nothing more over HTTP, and finish what was taken; return whether all is done.

        Args:
            until: When to stop waiting, by `time.monotonic`.
        """
        with self._changed:
            self._ends = True
            return self._changed.wait_for(
                lambda: not self._all(),
                max(until - time.monotonic(), 0.0),
            )

    def close(self) -> None:
        """End after the batch that runs; what still waits is refused."""
        with self._changed:
            self._ends = self._closed = True
            self._changed.notify_all()
        self._thread.join()
        with self._changed:
            left = self._claim(self._all())
        for job in left:
            job.fail(self._refused(ENDS, _AGAIN_S))

    def _all(self) -> list[Job]:
        return [*self._jobs.values(), *self._apart, *(job for job, _ in self._batch)]

    def _work(self) -> None:
        while not self._closed:
            with self._changed:
                overdue = self._admission.too_late(time.monotonic())
                late = self._claim(self._jobs[place] for place in overdue)
                self._batch = [] if late else self._pick()
                if not late and not self._batch:
                    # Without an engine deadlines pass while nothing happens.
                    self._changed.wait(_LOOK_S if self._jobs else None)
                    continue
            for job in late:
                job.fail(self._refused(TOO_LATE, self.expected_s(1)))
            if self._batch:
                self._run(self._batch)

    def _pick(self) -> _Batch:
        """Take the next batch out of the queue."""
        batch: _Batch = []
        waiting = [place for place in self._admission.waiting if self._jobs[place].lane.works]
        apart = next((job for job in self._apart if job.lane.works), None)
        if apart is not None and not (self._was_apart and waiting):
            batch.append((apart, apart.begin(largest_batch(apart.lane.runner))))
        elif waiting:
            lane = self._jobs[waiting[0]].lane
            room = largest_batch(lane.runner)
            for place in waiting:
                job = self._jobs[place]
                if not room or job.lane is not lane:
                    break
                count = job.begin(room)
                batch.append((job, count))
                room -= count
                if not place.volumes:
                    self._admission.remove(place)
        if not batch:
            return []
        self._was_apart = batch[0][0].place is None
        volumes = sum(count for _, count in batch)
        self._admission.busy_until = time.monotonic() + volumes * self._pace.volume_s
        self._tell()
        return batch

    def _run(self, batch: _Batch) -> None:
        parts = [job.volumes[job.begun - count : job.begun] for job, count in batch]
        start = time.monotonic()
        try:
            given = parts[0] if len(parts) == 1 else np.concatenate(parts)
            outputs = batch[0][0].lane.runner.infer(given)
        except Exception as error:
            self._give_back(batch, error)
            return
        end = time.monotonic()
        with self._changed:
            self._metrics.ran(len(given), end - start)
            self._learn(batch, len(given), end)
            at = 0
            for job, count in batch:
                job.done.append(outputs.part(slice(at, at + count)))
                at += count
            whole = self._claim(job for job, _ in batch if job.begun == len(job.volumes))
        for job in whole:
            job.succeed()
        self._finish()

    def _learn(self, batch: _Batch, volumes: int, end: float) -> None:
        """Correct the estimate, by the time that a batch took with studies between."""
        came = [job.place.came for job, _ in batch if job.place is not None]
        if came:
            self._pace.took(volumes, end - max(self._free_s, min(came)))
            self._free_s = end
        self._admission.busy_until = end

    def _give_back(self, batch: _Batch, error: Exception) -> None:
        """Keep what an engine failed on for the next engine; give up what two failed on."""
        lane = batch[0][0].lane
        with self._changed:
            lane.works = False
            for job, count in batch:
                job.begun -= count
                job.tries += 1
                if job.place is not None and job.place in self._jobs:
                    self._admission.put_back(job.place, count)
            lost = self._claim(job for job, _ in batch if job.tries == _TRIES)
        for job in lost:
            job.fail(error)
        self._finish()
        self._failed(lane, error)

    def _claim(self, jobs: Iterable[Job]) -> list[Job]:
        """Return those of some jobs that nobody answers yet: the caller does, and without the lock.

        Two threads may come to the same job: the engine's, and one that gives its lane up.
        """
        own = [job for job in dict.fromkeys(jobs) if not job.answered]
        for job in own:
            job.answered = True
            if job.place is None:
                self._apart.remove(job)
        return own

    def _finish(self) -> None:
        with self._changed:
            self._batch = []
            self._changed.notify_all()

    def _leave(self, place: Place) -> None:
        """Free the place of a request that was answered, refused or cancelled."""
        with self._changed:
            del self._jobs[place]
            self._admission.remove(place)
            self._tell()

    def _tell(self) -> None:
        waiting = self._admission
        self._metrics.waiting(waiting.volumes, waiting.size, len(waiting.tickets))
        self._changed.notify_all()

    def _refused(self, why: Finding, retry_after_s: float) -> BusyError:
        self._metrics.refused(why.code)
        return BusyError(why, retry_after_s=retry_after_s)


def _times(size: Sequence[int]) -> str:
    return "×".join(map(str, size))
