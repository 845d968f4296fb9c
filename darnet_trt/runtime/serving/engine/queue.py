"""The queue before the engine: one thread gives it batches, earliest deadline first."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from darnet_trt.errors import BusyError, Finding, UsageError
from darnet_trt.runtime.engines.runner import Outputs, Runner
from darnet_trt.runtime.prediction.pipeline.batches import largest_batch
from darnet_trt.runtime.serving.engine.admission import TOO_LATE, Admission, Place
from darnet_trt.runtime.serving.engine.pace import Pace

if TYPE_CHECKING:
    from darnet_trt.runtime.serving.metrics import Metrics
    from darnet_trt.runtime.serving.settings import Settings

Volumes = npt.NDArray[np.float32]

FIRST_S: Final = 0.5
"""The engine's time for a volume where nothing is known of it."""
ENDS: Final = Finding("ends", "the service ends")
FAILED: Final = Finding("engine-failed", "the engine failed and is loaded again")
_TRIES: Final = 2  # a batch that an engine fails on is tried again with the next engine
_LOOK_S: Final = 0.25  # how often deadlines are looked at while no engine works
_AGAIN_S: Final = 10.0  # until an engine is loaded, or the service was started again


@dataclass(eq=False)
class Lane:
    """Leads to an engine of a bundle.

    Attributes:
        runner: The engine; another one of the same bundle takes its place when it has failed.
        size: Of the volumes it takes: d, h, w.
        works: Whether it can be used; False: it failed.
        closed: Whether it was closed.
    """

    runner: Runner
    size: tuple[int, int, int]
    works: bool = True
    closed: bool = False

    def close(self) -> None:
        """Free the engine, once."""
        if not self.closed:
            self.closed = True
            self.runner.close()


@dataclass(eq=False)
class _Job:
    """A request, and how far the engine is with it.

    Attributes:
        lane: To its engine.
        volumes: Float32 (n, 1, d, h, w).
        place: Where it waits; None: apart.
        answer: What the caller waits for.
        done: Outputs of its first volumes.
        begun: How many of its volumes the engine has begun.
        tries: How often an engine failed on it.
    """

    lane: Lane
    volumes: Volumes
    place: Place | None
    answer: Future[Outputs] = field(default_factory=Future)
    done: list[Outputs] = field(default_factory=list)
    begun: int = 0
    tries: int = 0

    def begin(self, most: int) -> int:
        """Count the next volumes, at most so many, as begun; return how many."""
        count = min(len(self.volumes) - self.begun, most)
        self.begun += count
        if self.place is not None:
            self.place.volumes -= count
        return count


_Batch = list[tuple[_Job, int]]
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
        self._jobs: dict[Place, _Job] = {}
        self._apart: deque[_Job] = deque()
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
            job = self._jobs[place] = _Job(lane, batch, place)
            self._tell()
        job.answer.add_done_callback(lambda answer: self._leave(place))
        return job.answer

    def apart(self, lane: Lane, batch: Volumes) -> Future[Outputs]:
        """Take volumes of studies, which are never refused.

        Args:
            lane: To the engine.
            batch: Volumes, (n, 1, d, h, w).
        """
        job = _Job(lane, batch, None)
        with self._changed:
            self._apart.append(job)
            self._changed.notify_all()
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
            lane.runner, lane.works, lane.closed = runner, True, False
            self._free_s = time.monotonic()
            self._changed.notify_all()

    def give_up(self, lane: Lane, error: Exception) -> None:
        """Answer with an error all that waits for an engine that failed and does not come back."""
        with self._changed:
            lost = [job for job in self._all() if job.lane is lane]
            self._leave_apart(lost)
            lane.works = True  # what still comes fails at once
            self._changed.notify_all()
        for job in lost:
            if job.answer.set_running_or_notify_cancel():
                job.answer.set_exception(error)

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
            left = [*self._jobs.values(), *self._apart]
        for job in left:
            _refuse(job, self._refused(ENDS, _AGAIN_S))

    def _all(self) -> list[_Job]:
        return [*self._jobs.values(), *self._apart, *(job for job, _ in self._batch)]

    def _work(self) -> None:
        while not self._closed:
            with self._changed:
                late = [self._jobs[p] for p in self._admission.too_late(time.monotonic())]
                self._batch = [] if late else self._pick()
                if not late and not self._batch:
                    # Without an engine deadlines pass while nothing happens.
                    self._changed.wait(_LOOK_S if self._jobs else None)
                    continue
            for job in late:
                _refuse(job, self._refused(TOO_LATE, self.expected_s(1)))
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
        given = parts[0] if len(parts) == 1 else np.concatenate(parts)
        start = time.monotonic()
        try:
            outputs = batch[0][0].lane.runner.infer(given)
        except Exception as error:
            self._give_back(batch, error)
            return
        end = time.monotonic()
        whole: list[_Job] = []
        with self._changed:
            self._metrics.ran(len(given), end - start)
            self._learn(batch, len(given), end)
            at = 0
            for job, count in batch:
                part = slice(at, at + count)
                job.done.append(Outputs(outputs.logits[part], outputs.cam[part]))
                at += count
                if job.begun == len(job.volumes):
                    whole.append(job)
            self._leave_apart(whole)
        for job in whole:
            if job.answer.set_running_or_notify_cancel():
                job.answer.set_result(_joined(job.done))
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
        lost: list[_Job] = []
        lane = batch[0][0].lane
        with self._changed:
            lane.works = False
            for job, count in batch:
                job.begun -= count
                job.tries += 1
                if job.place is not None and job.place in self._jobs:
                    self._admission.put_back(job.place, count)
                if job.tries == _TRIES:
                    lost.append(job)
            self._leave_apart(lost)
        for job in lost:
            if job.answer.set_running_or_notify_cancel():
                job.answer.set_exception(error)
        self._finish()
        self._failed(lane, error)

    def _leave_apart(self, jobs: list[_Job]) -> None:
        for job in jobs:
            if job.place is None:
                self._apart.remove(job)

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


def _refuse(job: _Job, busy: BusyError) -> None:
    if job.answer.set_running_or_notify_cancel():
        job.answer.set_exception(busy)


def _times(size: Sequence[int]) -> str:
    return "×".join(map(str, size))


def _joined(parts: list[Outputs]) -> Outputs:
    if len(parts) == 1:
        return parts[0]
    return Outputs(
        np.concatenate([part.logits for part in parts]), np.concatenate([p.cam for p in parts])
    )
