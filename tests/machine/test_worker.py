"""A child process that runs functions: values and errors come back; it may die at any time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import pytest

from darnet_trt.errors import DarnetError, MissingPackageError
from darnet_trt.machine import worker as workers
from darnet_trt.machine.worker import Worker, WorkerDied, worker
from tests.machine import functions

MODULE = "tests.machine.functions"


@pytest.fixture
def child() -> Iterator[Worker]:
    made = Worker(MODULE)
    yield made
    made.close()


def children() -> set[int]:
    """Return the children of this module; other tests may have left a process that reads scans."""
    found = set()
    for process in psutil.Process().children():
        with suppress(psutil.NoSuchProcess):  # it has been killed
            found |= {process.pid} if MODULE in process.cmdline() else set()
    return found


def test_values_arrays_and_errors_come_back(child):
    array = np.arange(3_000_000, dtype=np.float32).reshape(3, -1)
    given, doubled = child.call(functions.doubled, {"a": [array, 1]}, timeout_s=60)
    np.testing.assert_array_equal(given["a"][0], array)
    np.testing.assert_array_equal(doubled, 2 * array)
    doubled += 1  # is writable
    with pytest.raises(KeyError, match="nowhere"):
        child.call(functions.fail, timeout_s=60)
    with pytest.raises(MissingPackageError, match=r"pip install 'darnet-trt\[cpu\]'") as caught:
        child.call(functions.lack, timeout_s=60)
    assert caught.value.extra == "cpu"


def test_one_child_serves_many_calls_and_prepares_once(child):
    found = {child.call(functions.identity, timeout_s=60) for _ in range(3)}
    ((process, prepared),) = found
    assert process != os.getpid()
    assert prepared == 1


def test_what_a_function_prints_does_not_disturb(child):
    assert child.call(functions.print_much, timeout_s=60) == "value"
    assert child.call(functions.read_stdin, timeout_s=60) == ""


def test_the_child_follows_the_working_folder(child, tmp_path, monkeypatch):
    child.start()
    monkeypatch.chdir(tmp_path)
    assert Path(child.call(os.getcwd, timeout_s=60)) == tmp_path
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert child.call(functions.add, 1, 2, timeout_s=60) == 3


@pytest.mark.parametrize(
    ("function", "how", "code"),
    [
        (functions.segv, "ended by SIGSEGV", -signal.SIGSEGV),
        (functions.abort, "ended by SIGABRT: last words", -signal.SIGABRT),
        (functions.kill, "ended by SIGKILL", -signal.SIGKILL),
        (functions.leave, "ended with code 0", 0),
        (functions.close_everything_and_hang, "ended by SIGKILL", -signal.SIGKILL),
        (functions.return_a_lock, "ended with code 1: ", 1),
    ],
)
def test_a_death_is_told_and_the_next_call_has_a_new_child(child, function, how, code):
    before = child.call(functions.identity, timeout_s=60)
    with pytest.raises(WorkerDied) as caught:
        child.call(function, timeout_s=60)
    assert caught.value.how.startswith(how)
    assert caught.value.code == code
    assert child.call(functions.identity, timeout_s=60) != before
    assert len(children()) == 1


def test_the_child_imports_nothing_from_the_working_folder(child, tmp_path, monkeypatch):
    for name in ("json", "struct", "numpy", "darnet_trt"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit(3)\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    assert child.call(functions.add, 1, 2, timeout_s=60) == 3


def test_a_death_between_calls_costs_nothing(child):
    process, _ = child.call(functions.identity, timeout_s=60)
    os.kill(process, signal.SIGKILL)
    psutil.wait_procs([psutil.Process(process)] if psutil.pid_exists(process) else [], timeout=60)
    assert child.call(functions.add, 1, 2, timeout_s=60) == 3


def test_a_child_killed_while_it_starts_costs_nothing(child):
    killed = []

    def kill() -> None:
        while len(killed) < 3:
            for process in children() - set(killed):
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
                killed.append(process)

    killing = threading.Thread(target=kill, daemon=True)
    killing.start()
    assert child.call(functions.add, 1, 2, timeout_s=60) == 3
    killing.join(60)
    assert len(killed) == 3


@pytest.mark.parametrize("times", [2, 3])
def test_a_call_is_made_again_as_often_as_its_child_may_be_killed(child, tmp_path, times):
    call = (functions.kill_until, str(tmp_path / "marks"), times)
    if times == 2:
        assert child.call(*call, timeout_s=60, kills=2) == 2
    else:
        with pytest.raises(WorkerDied, match="SIGKILL"):
            child.call(*call, timeout_s=60, kills=2)


@pytest.mark.parametrize("function", [functions.sleep, functions.sleep_with_the_gil])
def test_a_hang_is_ended(child, function):
    with pytest.raises(WorkerDied) as caught:
        child.call(function, timeout_s=1)
    assert caught.value.code is None
    assert caught.value.how == "not done in 1 s"
    assert child.call(functions.add, 1, 2, timeout_s=60) == 3


def test_no_process_can_be_started(child, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(DarnetError, match="No such file or directory"):
        child.start()


def test_no_thread_can_be_started(child, monkeypatch):
    def fail(_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", fail)
    with pytest.raises(DarnetError, match="can't start new thread"):
        child.start()
    assert not children()


def test_a_request_larger_than_a_pipe_to_a_child_that_dies(child):
    with pytest.raises(WorkerDied):
        child.call(functions.segv_with, b"x" * 10**7, timeout_s=60)


def test_closing_ends_a_call_of_another_thread(child):
    ended: list[BaseException] = []

    def call() -> None:
        try:
            child.call(functions.sleep, timeout_s=3600)
        except BaseException as error:
            ended.append(error)

    waiting = threading.Thread(target=call)
    waiting.start()
    while not children():
        time.sleep(0.01)
    child.close()
    waiting.join(60)
    assert len(ended) == 1
    assert not children()
    with pytest.raises(WorkerDied):
        child.call(functions.add, 1, 2, timeout_s=60)


def test_a_child_is_kept_for_the_next_user_unless_an_exception_ends_the_first():
    with worker(MODULE) as first:
        process = first.call(functions.identity, timeout_s=60)
    with suppress(KeyError), worker(MODULE) as second:
        assert second.call(functions.identity, timeout_s=60) == process
        raise KeyError
    with worker(MODULE) as third, worker(MODULE) as fourth:
        others = [w.call(functions.identity, timeout_s=60) for w in (third, fourth)]
    assert len({process, *others}) == 3
    workers._end_idle()
    assert not children()


GUARDLESS = """
import sys, time
sys.path.insert(0, {root!r})
print("main runs", flush=True)
from darnet_trt.machine.worker import Worker
from tests.machine import functions
child = Worker("tests.machine.functions")
print(child.call(functions.identity, timeout_s=60)[0], flush=True)
{then}
"""


def script(tmp_path: Path, then: str) -> subprocess.Popen[str]:
    file = tmp_path / "script.py"
    root = str(Path(__file__).parents[2])
    file.write_text(GUARDLESS.format(root=root, then=then))
    return subprocess.Popen(
        [sys.executable, file], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def gone(process: int) -> bool:
    return (
        not psutil.pid_exists(process)
        or not psutil.wait_procs([psutil.Process(process)], timeout=60)[1]
    )


def test_a_script_without_a_guard_runs_once_and_leaves_no_process(tmp_path):
    out, err = script(tmp_path, "").communicate(timeout=60)
    first, process = out.splitlines()
    assert (first, err) == ("main runs", "")
    assert gone(int(process))


@pytest.mark.parametrize(
    "doing", ["time.sleep(3600)", "child.call(functions.sleep, timeout_s=3600)"]
)
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_the_child_ends_with_its_parent_however_that_ends(tmp_path, doing, number):
    parent = script(tmp_path, doing)
    assert parent.stdout is not None
    parent.stdout.readline()
    process = int(parent.stdout.readline())
    time.sleep(0.2)
    parent.send_signal(number)
    parent.communicate(timeout=60)
    assert gone(process)


def test_what_children_tell_is_logged_once(caplog):
    told = f"no GPU {time.time_ns()}"
    for _ in range(2):
        process = Worker(MODULE)
        process.call(functions.say, told, told, "two\nlines \x1b[2J", timeout_s=60)
        with pytest.raises(WorkerDied) as died:  # nothing of it is taken for its last words
            process.call(os._exit, 3, timeout_s=60)
        assert "no GPU" not in died.value.how
        process.close()
    assert [r.message for r in caplog.records].count(told) == 1
    assert "two\N{REPLACEMENT CHARACTER}lines \N{REPLACEMENT CHARACTER}[2J" in caplog.text
