"""Load studies in other processes, ahead of the engine; inputs wait in shared memory."""

from __future__ import annotations

import pickle
import threading
import time
from collections import deque
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field, replace
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from darnet_trt.errors import DarnetError, Finding, InternalError, ScanError
from darnet_trt.evaluation.texture import texture
from darnet_trt.machine.cpus import usable_cpus, use_cpus
from darnet_trt.machine.pool import Pool
from darnet_trt.machine.shared_arrays import Slot
from darnet_trt.machine.worker import WorkerDied
from darnet_trt.runtime.prediction.pipeline.memory import Plan
from darnet_trt.runtime.prediction.pipeline.spool import Spool
from darnet_trt.scan import Choice, LoadedInput, Preprocessing, Series, Study
from darnet_trt.scan.discovery.examine import Stored
from darnet_trt.scan.discovery.gather import FoundStudy
from darnet_trt.scan.isolated import as_scan_error, ended, submit
from darnet_trt.scan.loading.choice import rank
from darnet_trt.scan.loading.load import load_best
from darnet_trt.scan.preprocessing import Span

if TYPE_CHECKING:
    from darnet_trt.runtime.delivery.source import Source


_FIRST_S: Final = 2.0
"""Other processes help once the engine has waited so long for the first study."""


@dataclass(frozen=True, eq=False)
class Task:
    """A study to load.

    Attributes:
        name: Its path, relative to what was given.
        study: What was found; without its pickle.
        pickled: The pickle, as the spool keeps it.
        find_ms: Time to find it.
        warnings: What finding it showed.
    """

    name: str
    study: FoundStudy
    pickled: bytes | Stored
    find_ms: float
    warnings: tuple[Finding, ...] = ()


@dataclass(frozen=True, eq=False)
class Read:
    """What a process made of a study.

    Attributes:
        choice: The series that was loaded, or that failed to load; with one header at most.
        loaded: Its input, the array empty where it is in shared memory; None where it failed.
        texture: Of the input, float64 (TEXTURES,), by `evaluation.texture`; empty where it failed.
        error: Why it failed.
        ms: Stage → milliseconds, for `StageTimes`.
        source: What DICOM objects take over from it, or why there can be none; None where none are
            wanted.
    """

    choice: Choice | None = None
    loaded: LoadedInput | None = None
    texture: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    error: DarnetError | None = None
    ms: dict[str, float] = field(default_factory=dict)
    source: Source | Finding | None = None


@dataclass(frozen=True, eq=False)
class Ready:
    """A study that was loaded, or could not be; `Loads.release` frees its place.

    Attributes:
        task: Which.
        read: What became of it.
        slot: Where its array is; None: in `read`.
    """

    task: Task
    read: Read
    slot: Slot | None

    @property
    def array(self) -> npt.NDArray[np.float32]:
        """Return the input, (1, d, h, w); it stays until `Loads.release`."""
        assert self.read.loaded is not None
        return self.read.loaded.array if self.slot is None else self.slot.array()


class Closed(Exception):  # noqa: N818 (nothing is wrong)
    """The results are not wanted any more."""


class Loads:
    """Loads studies in the order in which they come, as many at once as there are places.

    Args:
        pool: What loads.
        spool: What keeps the studies.
        spec: What makes the input.
        plan: How much may wait.
        sources: Whether DICOM objects are to be made.
        grows: Whether the pool gets the plan's processes once `next` has to wait: for the first
            study longer than 2 s, or for a later one.
    """

    def __init__(
        self,
        pool: Pool,
        spool: Spool,
        spec: Preprocessing,
        plan: Plan,
        *,
        sources: bool = False,
        grows: bool = False,
    ) -> None:
        self._pool, self._spool, self._spec, self._plan = pool, spool, spec, plan
        self._sources = sources
        self._free = pool.shared.slots(plan.inputs, (1, *spec.size))
        self._waiting: deque[Task] = deque()
        self._in_flight = 0
        self._ended = self._closed = False
        self._changed = threading.Condition()
        self._ready: SimpleQueue[Ready | BaseException | None] = SimpleQueue()
        self._patience_s: float | None = _FIRST_S if grows else None

    def put(self, task: Task) -> None:
        """Add a study; wait while many wait.

        Raises:
            Closed: No more are wanted.
        """
        with self._changed:
            self._changed.wait_for(lambda: len(self._waiting) < self._plan.ahead or self._closed)
            if self._closed:
                raise Closed
            self._waiting.append(task)
        self._load()

    def wait(self) -> None:
        """Wait until all that came so far are ready: what comes now is ready after them.

        Raises:
            Closed: No more are wanted.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._is_idle() or self._closed)
            if self._closed:
                raise Closed

    def end(self, error: BaseException | None = None) -> None:
        """Say that no more come.

        Args:
            error: What ended them; raised where the next one is asked for.
        """
        if error is not None:
            self._ready.put(error)
        with self._changed:
            self._ended = True
            self._tell_the_end()

    def next(self, timeout_s: float | None = None) -> Ready | None:
        """Wait for the next study that is ready; None where no more come.

        Raises:
            Empty: None was ready in time.
            Exception: What ended the search.
        """
        ready = self._wait(timeout_s)
        if isinstance(ready, BaseException):
            raise ready
        if ready is None:
            self._ready.put(None)
        return ready

    def _wait(self, timeout_s: float | None) -> Ready | BaseException | None:
        patience_s = self._patience_s
        if patience_s is not None and (timeout_s is None or timeout_s > patience_s):
            self._patience_s = 0.0
            with suppress(Empty):
                return self._ready.get(timeout=patience_s)
            self._patience_s = None
            self._pool.grow(self._plan.workers)
            timeout_s = None if timeout_s is None else timeout_s - patience_s
        return self._ready.get(timeout=timeout_s)

    def more(self) -> bool:
        """Return whether another one comes soon: it is being loaded, or waits for that."""
        with self._changed:
            return not self._ready.empty() or self._in_flight > 0

    def release(self, ready: Ready) -> None:
        """Let the next study use this one's place."""
        with self._changed:
            self._free.append(ready.slot)
        self._load()

    def close(self) -> None:
        """Let nothing wait any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _load(self) -> None:
        """Begin as many loads as there are places."""
        while True:
            with self._changed:
                if self._closed or not self._waiting or not self._free:
                    return
                taken = time.perf_counter()
                task, slot = self._waiting.popleft(), self._pool.shared.take(self._free.pop())
                self._in_flight += 1
                alone = self._in_flight == 1 and not self._waiting
                self._changed.notify_all()
            pickled = self._spool.take(task.pickled)
            threads = usable_cpus() if alone else 1
            task = replace(task, find_ms=task.find_ms + _ms_since(taken))
            self._submit(task, slot, pickled, threads)

    def _submit(
        self, task: Task, slot: Slot | None, pickled: bytes, threads: int, *, alone: bool = False
    ) -> None:
        memory = self._plan.whole if alone else self._plan.share
        arguments = (pickled, self._spec, slot, threads, self._sources)
        path = task.study.path
        coming = submit(
            self._pool, load, *arguments, where=path, memory=memory, urgent=True, alone=alone
        )

        def done(future: Future[Read]) -> None:
            try:
                read = future.result()
            except WorkerDied as died:
                self._choose(task, slot, pickled, Read(error=ended(died, path)))
                return
            except Exception as error:
                self._ready.put(error)
                return
            lacks = read.error is not None and read.error.code == "out-of-memory"
            if lacks and not alone and self._plan.whole > self._plan.share:
                self._submit(task, slot, pickled, threads, alone=True)
            else:
                # What the process did not time: handing over, and preparing DICOM objects.
                rest_ms = coming.took_ms - sum(read.ms.values())
                stage = "read" if read.ms.get("read") else "find"
                read.ms[stage] = read.ms.get(stage, 0.0) + rest_ms
                self._done(Ready(task, read, slot))

        coming.add_done_callback(done)

    def _choose(self, task: Task, slot: Slot | None, pickled: bytes, read: Read) -> None:
        """Add to what failed which series it was: the headers say so."""
        coming = submit(self._pool, chosen, pickled, where=task.study.path, urgent=True)

        def done(future: Future[Choice | None]) -> None:
            choice = None if future.exception() else future.result()
            self._done(Ready(task, replace(read, choice=choice), slot))

        coming.add_done_callback(done)

    def _done(self, ready: Ready) -> None:
        self._ready.put(ready)
        with self._changed:
            self._in_flight -= 1
            self._changed.notify_all()
            self._tell_the_end()

    def _tell_the_end(self) -> None:
        if self._ended and self._is_idle():
            self._ready.put(None)

    def _is_idle(self) -> bool:
        return not self._waiting and not self._in_flight


def load(
    pickled: bytes, spec: Preprocessing, slot: Slot | None, threads: int, sources: bool = False
) -> Read:
    """Choose a study's series and load its input; runs in a process of the pool.

    Args:
        pickled: The study.
        spec: What makes the input.
        slot: Where to put the array; None: into the value.
        threads: Most threads that decode.
        sources: Whether DICOM objects are to be made.
    """
    start = time.perf_counter()
    use_cpus(threads)
    study: Study = pickle.loads(pickled)
    choice, ms = None, {}
    try:
        ranked = rank(study)
        choice = ranked[0]
        ms["find"] = _ms_since(start)
        start = time.perf_counter()
        into = None if slot is None else slot.array()
        choice, loaded = load_best(study, ranked, spec, into=into)
        described = time.perf_counter()
        found = texture(loaded.array)
        if into is not None:
            loaded = replace(loaded, array=loaded.array[:, :0])
    except Exception as error:
        ms.setdefault("find", _ms_since(start))
        ms["read"] = _ms_since(start) if choice else 0.0
        failed = as_scan_error(error, study.path)
        # The series that failed, or the largest where none was chosen.
        series = choice.series if choice else max(study.series, key=lambda s: len(s.headers))
        source = _source(series) if sources else None
        return Read(_slim(choice), error=failed, ms=ms, source=source)
    ms["preprocess"] = loaded.preprocess_ms + _ms_since(described)
    ms["read"] = _ms_since(start) - ms["preprocess"]
    first, last = loaded.sampled.covered
    source = _source(choice.series, spec, (first, last + 1)) if sources else None
    return Read(_slim(choice), loaded, found, None, ms, source)


def _source(
    series: Series, spec: Preprocessing | None = None, span: Span | None = None
) -> Source | Finding:
    # Imported here: most runs make no objects.
    from darnet_trt.runtime.delivery.source import source_of
    from darnet_trt.runtime.prediction.results.result import NO_OBJECTS

    try:
        return source_of(series, spec, span)
    except Exception as error:  # whatever it is, the study's result is not lost
        return Finding(NO_OBJECTS, f"no DICOM objects: {InternalError(error).what}")


def chosen(pickled: bytes) -> Choice | None:
    """Return the series that the headers say is best; runs in a process of the pool."""
    try:
        return _slim(rank(pickle.loads(pickled))[0])
    except ScanError:
        return None


def _slim(choice: Choice | None) -> Choice | None:
    """Return a choice without what a result does not need: megabytes of headers and paths."""
    if choice is None:
        return None
    series = choice.series
    slim = replace(series, headers=series.headers[:1], files=series.files[:1], stack=None)
    return replace(choice, series=slim)


def _ms_since(start: float) -> float:
    return (time.perf_counter() - start) * 1000
