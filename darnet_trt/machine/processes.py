"""Child processes: one that is run to its end, and a pool of workers."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, Queue
from typing import IO, TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from concurrent.futures import ProcessPoolExecutor

Stream = Literal["stdout", "stderr"]

_LAST_LINES: Final = 3  # enough to name a crash on one line


@dataclass(frozen=True)
class Ended:
    """A child process that has ended.

    Attributes:
        code: Its exit code; minus the signal's number where a signal ended it.
        how: The same in words: "ended with code 3", "ended by SIGABRT", "not done in 60 s".
        stdout: All that it printed.
        stderr: All that it printed there.
    """

    code: int
    how: str
    stdout: str
    stderr: str


def run_child(
    words: Sequence[str | os.PathLike[str]],
    *,
    stdin: str = "",
    env: Mapping[str, str] | None = None,
    timeout_s: float | None = None,
    heard: Callable[[Stream, str], None] = lambda stream, line: None,
) -> Ended:
    """Run a program to its end and return what it printed.

    The program gets a session of its own. When time runs out, or an exception such as Ctrl-C's
    unwinds this process, it is killed together with the processes that it started.

    Args:
        words: The program and its arguments.
        stdin: What it reads.
        env: Its environment; None: this process's.
        timeout_s: Kill it after this time; None: never.
        heard: Called with each line as it comes, in this thread.

    Raises:
        OSError: The program cannot be started.
    """
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    said: dict[Stream, list[str]] = {"stdout": [], "stderr": []}
    with subprocess.Popen(
        words,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        env=env,
        start_new_session=True,
    ) as child:
        try:
            for stream, line in _lines(child, stdin, deadline):
                said[stream].append(line)
                heard(stream, line)
            code = child.wait(_left(deadline))
            how = how_ended(code)
        except (Empty, subprocess.TimeoutExpired):
            _kill(child)
            code, how = child.wait(), f"not done in {timeout_s:g} s"
        except BaseException:
            _kill(child)
            raise
    return Ended(code, how, "".join(said["stdout"]), "".join(said["stderr"]))


def how_ended(code: int) -> str:
    """Return an exit code in words: "ended with code 3", "ended by SIGSEGV"."""
    return f"ended with code {code}" if code >= 0 else f"ended by {_name(-code)}"


def last_words(lines: Iterable[str]) -> str:
    """Return the last lines that are not blank, on one line; empty for none."""
    said = [line.strip() for line in lines if line.strip()]
    return " | ".join(said[-_LAST_LINES:])


def _lines(
    child: subprocess.Popen[str], stdin: str, deadline: float | None
) -> Iterable[tuple[Stream, str]]:
    """Yield the lines of both streams as they come.

    Raises:
        Empty: The deadline passed.
    """
    lines: Queue[tuple[Stream, str]] = Queue()
    for target, arguments in (
        (_write, (child.stdin, stdin)),
        (_read, (child.stdout, "stdout", lines)),
        (_read, (child.stderr, "stderr", lines)),
    ):
        threading.Thread(target=target, args=arguments, daemon=True).start()
    child.stdin = child.stdout = child.stderr = None  # each thread closes its own
    streams_open = 2
    while streams_open:
        stream, line = lines.get(timeout=_left(deadline))
        if line:
            yield stream, line
        else:
            streams_open -= 1


def _write(file: IO[str], text: str) -> None:
    with suppress(BrokenPipeError), file:  # it may end before it has read all
        file.write(text)


def _read(file: IO[str], stream: Stream, lines: Queue[tuple[Stream, str]]) -> None:
    """Put each line into the queue, and an empty one for the end."""
    with file:
        for line in file:
            lines.put((stream, line))
    lines.put((stream, ""))


def _left(deadline: float | None) -> float | None:
    return None if deadline is None else max(0.0, deadline - time.monotonic())


def _kill(child: subprocess.Popen[str]) -> None:
    with suppress(OSError):  # all have ended
        os.killpg(child.pid, signal.SIGKILL)


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"


def worker_pool(processes: int) -> ProcessPoolExecutor:
    """Start a pool of worker processes that end when this process ends, however it ends.

    Workers are spawned, because a fork of a process with threads (BLAS, torch) may hang. Each
    watches its parent: if that is killed, the workers would otherwise wait for ever, because each
    of them keeps the pipe open from which the next call would come.
    """
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    return ProcessPoolExecutor(
        processes, multiprocessing.get_context("spawn"), initializer=_end_with_parent
    )


def _end_with_parent() -> None:
    threading.Thread(target=_wait_and_end, daemon=True).start()


def _wait_and_end() -> None:
    import multiprocessing

    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)  # the main thread may be blocked; nobody reads the code
