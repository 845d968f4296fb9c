"""Several children that share a queue of calls; each may die at any time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import psutil
import pytest

from darnet_trt.errors import DarnetError
from darnet_trt.machine import worker as workers
from darnet_trt.machine.pool import Pool, each_in_workers
from darnet_trt.machine.worker import WorkerDied
from tests.machine import functions

MODULE = "tests.machine.functions"


@pytest.fixture
def pool() -> Iterator[Pool]:
    made = Pool(MODULE, 2)
    yield made
    made.close()
    assert not children()


def children() -> set[int]:
    """Return the children of this module; other tests may have left a process that reads scans."""
    return {p.pid for p in psutil.Process().children() if MODULE in p.cmdline()}


def meet(pool: Pool, place: Path) -> set[int]:
    """Have two calls wait for each other; return the processes that they ran in."""
    both = [pool.submit(functions.meet_another, str(place), timeout_s=60) for _ in "ab"]
    return {future.result(60) for future in both}


def test_a_call_says_how_long_it_took(pool):
    first = pool.submit(functions.wait_a_moment, timeout_s=60)
    behind = [pool.submit(functions.wait_a_moment, timeout_s=60) for _ in "abc"]
    for future in (first, *behind):
        assert future.result(60) <= future.took_ms
    failed = pool.submit(functions.fail, timeout_s=60)
    assert failed.exception(60)
    assert failed.took_ms == 0


def test_the_wait_for_a_free_child_counts_in_no_call():
    start = time.perf_counter()
    with closing(Pool(MODULE, 1)) as pool:
        futures = [pool.submit(functions.wait_a_moment, timeout_s=60) for _ in "abcdef"]
        took_ms = [future.result(60) and future.took_ms for future in futures]
    assert sum(took_ms) <= (time.perf_counter() - start) * 1000


def test_the_wait_for_a_child_that_is_allowed_later_counts_in_no_call(tmp_path):
    with closing(Pool(MODULE, 1)) as pool:
        first, second = (
            pool.submit(functions.meet_another, str(tmp_path / "both"), timeout_s=60) for _ in "ab"
        )
        start = time.perf_counter()
        time.sleep(0.5)
        grown = time.perf_counter()
        pool.grow(2)
        second.result(60)
        ended = time.perf_counter()
        first.result(60)
    assert second.took_ms <= (ended - grown) * 1000
    assert first.took_ms >= (grown - start) * 1000


def test_the_wait_for_a_call_that_runs_alone_counts_in_no_other(pool):
    start = time.perf_counter()
    alone = pool.submit(functions.wait_a_moment, timeout_s=60, alone=True)
    other = pool.submit(functions.wait_a_moment, timeout_s=60)
    alone.result(60), other.result(60)
    assert alone.took_ms + other.took_ms <= (time.perf_counter() - start) * 1000


def test_a_second_child_is_started_only_where_the_first_is_busy(pool, tmp_path):
    for _ in range(3):
        pool.submit(functions.add, 1, 2, timeout_s=60).result(60)
    assert len(children()) == 1
    assert len(meet(pool, tmp_path / "both")) == 2


def test_a_pool_grows_where_a_call_waits(tmp_path):
    pool = Pool(MODULE, 1)
    pairs = [str(tmp_path / pair) for pair in "aabb"]
    calls = [pool.submit(functions.meet_another, pair, timeout_s=60) for pair in pairs]
    assert len(pool._at_work) == 1
    pool.grow(4)
    assert len(pool._at_work) == 4
    for future in calls:
        future.result(60)
    pool.close()
    pool.grow(3)
    assert not children()


def test_urgent_calls_come_first_and_others_in_order(pool, tmp_path):
    file = tmp_path / "order"
    busy = [pool.submit(functions.wait_for, str(tmp_path / "go"), timeout_s=60) for _ in "ab"]
    later = [pool.submit(functions.append, str(file), "later", timeout_s=60, alone=True)]
    later += [
        pool.submit(functions.append, str(file), "urgent", timeout_s=60, urgent=True, alone=True)
    ]
    (tmp_path / "go").touch()
    for future in (*busy, *later):
        future.result(60)
    assert file.read_text().split() == ["urgent", "later"]


def test_what_runs_alone_has_the_others_memory(pool, tmp_path):
    place = str(tmp_path / "busy")
    busy = [pool.submit(functions.meet_another, place, timeout_s=60) for _ in range(2)]
    found = pool.submit(functions.brothers, timeout_s=60, alone=True)
    assert found.result(60) == 1
    assert all(future.done() for future in busy)
    assert len(meet(pool, tmp_path / "after")) == 2


def test_each_death_fails_its_own_call_and_nobody_waits(pool):
    calls = [pool.submit(functions.square_or_die, n % 5, timeout_s=60) for n in range(40)]
    found = [f.exception(60) or f.result() for f in calls]
    assert [n for n, value in enumerate(found) if isinstance(value, WorkerDied)] == list(
        range(4, 40, 5)
    )


def test_a_child_that_is_killed_from_outside_costs_at_most_its_call(pool):
    calls = [pool.submit(functions.meet, 0.02, timeout_s=60) for _ in range(60)]
    died = 0
    for killed in range(5):
        calls[killed * 10].exception(60)
        for child in children():
            os.kill(child, signal.SIGKILL)
    for future in calls:
        error = future.exception(60)
        if error is not None:
            assert isinstance(error, WorkerDied)
            assert error.code == -signal.SIGKILL
            died += 1
    assert died <= 10


def test_closing_ends_what_runs_and_what_waits():
    pool = Pool(MODULE, 2)
    calls = [pool.submit(functions.sleep, timeout_s=3600) for _ in range(5)]
    while len(children()) < 2:
        time.sleep(0.01)
    pool.close()
    assert not children()
    calls.append(pool.submit(functions.add, 1, 2, timeout_s=60))
    for future in calls:
        assert isinstance(future.exception(60), WorkerDied)


def test_one_child_may_be_kept(tmp_path):
    first = Pool(MODULE, 2)
    meet(first, tmp_path / "both")
    first.close(keep_one=True)
    (kept,) = children()
    second = Pool(MODULE, 2)
    assert second.submit(functions.identity, timeout_s=60).result(60)[0] == kept
    second.close()
    assert not children()
    busy = Pool(MODULE, 2)
    running = busy.submit(functions.sleep, timeout_s=60)
    while not children():
        time.sleep(0.01)
    busy.close(keep_one=True)  # a child with a call that nobody wants is of no use
    assert isinstance(running.exception(60), WorkerDied)
    workers._end_idle()
    assert not children()


def test_where_no_child_can_be_started_each_call_says_so(pool, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    calls = [pool.submit(functions.add, n, n, timeout_s=60) for n in range(5)]
    for future in calls:
        with pytest.raises(DarnetError, match="No such file or directory"):
            future.result(60)
    monkeypatch.undo()
    assert pool.submit(functions.add, 1, 2, timeout_s=60).result(60) == 3


def test_the_children_that_there_are_do_the_work_of_one_that_cannot_start(pool, monkeypatch):
    assert pool.submit(functions.add, 1, 2, timeout_s=60).result(60) == 3
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    calls = [pool.submit(functions.meet, 0.05, timeout_s=60) for _ in range(6)]
    assert len({future.result(60) for future in calls}) == 1


def test_no_thread_can_be_started(pool, monkeypatch):
    def fail(_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", fail)
    future = pool.submit(functions.add, 1, 2, timeout_s=60)
    with pytest.raises(DarnetError, match="can't start new thread"):
        future.result(60)


def test_arrays_come_through_shared_memory(pool):
    slots = [pool.shared.take(slot) for slot in pool.shared.slots(2, (100,))]
    calls = [pool.submit(functions.fill, slot, timeout_s=60) for slot in slots]
    for number, future in enumerate(calls):
        assert future.result(60) is None
        assert slots[number].array().tolist() == list(range(100))


def numbers(count: int) -> list[tuple[int]]:
    return [(n,) for n in range(count)]


def test_results_come_in_order_and_a_death_takes_one():
    found = list(each_in_workers(MODULE, functions.square_or_die, numbers(9), 3, timeout_s=60))
    assert [type(f) for f in found] == [int] * 4 + [WorkerDied] + [int] * 4
    assert [f for f in found if isinstance(f, int)] == [0, 1, 4, 9, 25, 36, 49, 64]
    assert not children()


def test_leaving_early_ends_all_at_once():
    found = each_in_workers(MODULE, functions.sleep_unless_zero, numbers(9), 3, timeout_s=60)
    assert next(found) == 0
    found.close()
    assert not children()


def test_an_error_of_one_ends_all():
    with pytest.raises(KeyError):
        list(each_in_workers(MODULE, functions.fail_at_five, numbers(99), 2, timeout_s=60))
    assert not children()


POOL = """
import sys
sys.path.insert(0, {root!r})
from darnet_trt.machine.pool import Pool
from tests.machine import functions
pool = Pool("tests.machine.functions", 2)
calls = [pool.submit(functions.meet_another, {place!r}, timeout_s=60) for _ in range(2)]
print(*[call.result() for call in calls], flush=True)
calls = [pool.submit(functions.sleep, timeout_s=3600) for _ in range(4)]
calls[0].result()
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_all_children_end_with_their_parent(tmp_path, number):
    file = tmp_path / "script.py"
    root, place = str(Path(__file__).parents[2]), str(tmp_path / "both")
    file.write_text(POOL.format(root=root, place=place))
    parent = subprocess.Popen(
        [sys.executable, file], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert parent.stdout is not None
    known = [psutil.Process(int(word)) for word in parent.stdout.readline().split()]
    assert len(set(known)) == 2
    for _ in range(15):  # Python loses a SIGINT that comes just before it begins to wait
        parent.send_signal(number)
        with suppress(subprocess.TimeoutExpired):
            parent.communicate(timeout=2)
            break
    _, left = psutil.wait_procs(known, timeout=60)
    assert not left
