"""Several workers that share a queue of calls."""

from __future__ import annotations

import heapq
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from darnet_trt.errors import DarnetError
from darnet_trt.machine.worker import Worker, WorkerDied, keep, taken

T = TypeVar("T")

ENDING_S: Final = 2
"""Longest wait for a thread to end: one that still runs when Python ends may crash it."""
_RAISE: Final = "free memory, or raise the limit on processes (ulimit -u)"


class TimedFuture(Future[T]):
    """A future that also says how long its call took.

    Attributes:
        took_ms: From when the call was submitted, or could run if that was later, to its answer;
            set before the value, 0 where the call failed.
    """

    took_ms = 0.0


@dataclass(order=True)
class _Task:
    rank: tuple[bool, int]
    call: tuple[Any, ...] = field(compare=False)
    timeout_s: float = field(compare=False)
    kills: int = field(compare=False)
    alone: bool = field(compare=False)
    submitted: float = field(compare=False, default_factory=time.perf_counter)
    future: TimedFuture[Any] = field(compare=False, default_factory=TimedFuture)


class Pool:
    """Runs functions in child processes: the urgent calls first, otherwise in order.

    A child is started when a call waits and none is free, and replaced when it dies. Where a child
    cannot be started, the others do its work. Calls may come from any thread.

    Args:
        module: As of `Worker`.
        most: How many children.

    Attributes:
        shared: Memory that every child inherits.
    """

    def __init__(self, module: str, most: int) -> None:
        self._module, self._most = module, most
        self._first = taken(module)
        self.shared = self._first.shared
        self._resting = [self._first]
        self._at_work: list[Worker] = []
        self._threads: list[threading.Thread] = []
        self._tasks: list[_Task] = []
        self._count = self._free = self._running = 0
        self._alone = self._closed = False
        self._opened = 0.0  # when the last call that ran alone had ended
        self._changed = threading.Condition()

    def submit(
        self,
        function: Callable[..., T],
        *arguments: Any,
        timeout_s: float,
        kills: int = 0,
        urgent: bool = False,
        alone: bool = False,
    ) -> TimedFuture[T]:
        """Run a function in one of the children.

        Args:
            function: As of `Worker.call`.
            arguments: As of `Worker.call`.
            timeout_s: As of `Worker.call`.
            kills: As of `Worker.call`.
            urgent: Whether to run it before what is not.
            alone: Whether to run it while nothing else runs, and to end the other children before,
                so that it may have their memory.

        Returns:
            The value to come; or WorkerDied, what the function raises, or DarnetError where no
            process can be started.
        """
        with self._changed:
            self._count += 1
            rank = (not urgent, self._count)
            task = _Task(rank, (function, *arguments), timeout_s, kills, alone)
            if self._closed:
                task.future.set_exception(WorkerDied("closed", None))
                return task.future
            heapq.heappush(self._tasks, task)
            lost: _Lost = [], None
            if self._lacks_one():
                lost = self._start_one()
            self._changed.notify_all()
        _fail(*lost)
        return task.future

    def grow(self, most: int) -> None:
        """Allow more children, and start one for each call that waits.

        Args:
            most: How many in all.
        """
        lost: _Lost = [], None
        with self._changed:
            self._most = most
            while self._lacks_one() and lost[1] is None:
                lost = self._start_one()
        _fail(*lost)

    def close(self, *, keep_one: bool = False) -> None:
        """End all children at once; calls that run or wait fail with WorkerDied.

        Args:
            keep_one: Whether to keep a child for the next one that asks for it.
        """
        with self._changed:
            if self._closed:
                return
            self._closed = True
            waiting, self._tasks = self._tasks, []
            idle = self._running == 0
            workers = {*self._at_work, *self._resting} - {self._first}
            self._changed.notify_all()
        _fail(waiting, WorkerDied("closed", None))
        for worker in workers:
            worker.kill()
        if keep_one and idle:
            self.shared.clear()
            keep(self._module, self._first)
        else:
            self._first.close()
        for worker in workers:
            worker.close()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(ENDING_S)

    def _lacks_one(self) -> bool:
        return len(self._tasks) > self._free and len(self._at_work) < self._most

    def _start_one(self) -> _Lost:
        worker = self._resting.pop() if self._resting else Worker(self._module, self.shared)
        thread = threading.Thread(
            target=self._work, args=(worker, time.perf_counter()), name="pool", daemon=True
        )
        self._at_work.append(worker)
        self._free += 1
        try:
            thread.start()
            self._threads.append(thread)
        except RuntimeError as error:  # there are too many threads
            self._free -= 1
            return self._without(worker, DarnetError(str(error), do=_RAISE))
        return [], None

    def _work(self, worker: Worker, free: float) -> None:
        while (task := self._next()) is not None:
            could_run = max(task.submitted, free, self._opened)
            start = time.perf_counter() if task.alone else could_run
            try:
                worker.start()
            except (DarnetError, WorkerDied) as error:  # none can be started; or it was closed
                with self._changed:
                    self._running -= 1
                    self._open()
                    heapq.heappush(self._tasks, task)
                    lost = self._without(worker, error)
                    self._changed.notify_all()
                _fail(*lost)
                return
            outcome: Any = None
            error_of_it: BaseException | None = None
            try:
                if task.alone:
                    self._rest_others(worker)
                outcome = worker.call(*task.call, timeout_s=task.timeout_s, kills=task.kills)
                task.future.took_ms = (time.perf_counter() - start) * 1000
            except BaseException as error:
                error_of_it = error
            free = time.perf_counter()
            with self._changed:
                self._running -= 1
                self._free += 1
                self._open()
                self._changed.notify_all()
            if error_of_it is None:
                task.future.set_result(outcome)
            else:
                task.future.set_exception(error_of_it)
            del task, outcome, error_of_it

    def _next(self) -> _Task | None:
        """Wait for a task that may run now; None where the pool was closed."""
        with self._changed:
            while not self._closed:
                if self._tasks and not self._alone:
                    alone = self._tasks[0].alone
                    if not alone or self._running == 0:
                        self._alone = alone
                        self._running += 1
                        self._free -= 1
                        return heapq.heappop(self._tasks)
                self._changed.wait()
        return None

    def _open(self) -> None:
        """Let other calls run where one has run alone."""
        if self._alone:
            self._alone, self._opened = False, time.perf_counter()

    def _rest_others(self, own: Worker) -> None:
        for worker in list(self._at_work):
            if worker is not own:
                worker.rest()

    def _without(self, worker: Worker, error: Exception) -> _Lost:
        """Take out a worker that cannot start; the last one leaves what waits to nobody."""
        self._at_work.remove(worker)
        self._resting.append(worker)
        waiting: list[_Task] = []
        if not self._at_work or self._closed:
            waiting, self._tasks = self._tasks, []
        return waiting, error


_Lost = tuple[list[_Task], Exception | None]


def _fail(tasks: list[_Task], error: Exception | None) -> None:
    """Fail tasks; not while the pool is locked, as who waits for them may want to submit more."""
    for task in tasks:
        task.future.set_exception(error)


def each_in_workers(
    module: str,
    function: Callable[..., T],
    calls: Iterable[tuple[Any, ...]],
    count: int,
    *,
    timeout_s: float,
) -> Iterator[T | WorkerDied]:
    """Yield the function's value for each call, in order; WorkerDied where it ended its child.

    Whatever ends the iteration early also ends the children at once.

    Args:
        module: As of `Worker`.
        function: As of `Worker.call`.
        calls: The arguments of each.
        count: Number of children.
        timeout_s: As of `Worker.call`.

    Raises:
        Exception: As the function raises.
        DarnetError: No process can be started.
    """
    pool = Pool(module, count)
    try:
        coming = [pool.submit(function, *call, timeout_s=timeout_s) for call in calls]
        coming.reverse()
        while coming:
            try:
                yield coming.pop().result()
            except WorkerDied as died:
                yield died
    finally:
        pool.close()
