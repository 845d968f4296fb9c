"""A child process that runs functions, and is replaced when it dies.

It is started as a program of its own, not by multiprocessing: its spawn runs the caller's main
module again, which breaks scripts without `if __name__ == "__main__"`, and a fork of a process
with threads (BLAS, an engine) may hang. Functions go there by name, arguments and values as
pickles: over its stdin and stdout, where both ends see at once that the other has gone.
"""

from __future__ import annotations

import atexit
import importlib
import logging
import os
import queue
import signal
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any, Final, NoReturn, TypeVar

from darnet_trt.errors import DarnetError
from darnet_trt.machine.frames import receive, send, unpickled
from darnet_trt.machine.processes import how_ended, last_words
from darnet_trt.machine.shared_arrays import SharedMemory

T = TypeVar("T")

_log: Final = logging.getLogger(__name__)

# It imports nothing before it has the parent's path: its own begins with the working folder, where
# a file may have the name of a module.
_PROGRAM: Final = (
    "import sys; sys.path[:] = sys.argv[2:]; "
    "from darnet_trt.machine.worker import serve; serve(sys.argv[1])"
)
_ENVIRONMENT: Final = {
    # Nothing in the child needs BLAS's threads, and their memory would count against its limit.
    "OPENBLAS_NUM_THREADS": "1",
    # glibc keeps freed memory for the next slice, instead of fetching it anew from the system:
    # the first scan of 300 slices took 0.09 s instead of 0.12 s.
    "MALLOC_MMAP_THRESHOLD_": str(1 << 25),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 28),
}
_KILLED: Final = -9
"""Exit code after SIGKILL: whoever ends processes, such as a system without memory, sends it."""
_STARTS: Final = 20
"""Most children that are killed, one after the other, before they begin a call."""
_SPARE_S: Final = 60
_LEAVING_S: Final = 5
_KEPT_LINES: Final = 20
_TOLD: Final = b"darnet-trt tells: "


class WorkerDied(Exception):  # noqa: N818 (what happened, not what is wrong)
    """A worker ended, or was ended, before it returned a value.

    Args:
        how: "ended by SIGSEGV: last lines that it printed", "not done in 60 s".
        code: Its exit code; minus the signal's number where a signal ended it; None where it was
            not done in time.
        begun: Whether it had begun the call, which therefore may be what ended it.
    """

    def __init__(self, how: str, code: int | None, *, begun: bool = False) -> None:
        self.how = how
        self.code = code
        self.begun = begun
        super().__init__(how)


class Worker:
    """Runs functions in a child process, one at a time; the next call replaces a dead child.

    Args:
        module: Its function `prepare` runs first in each new child: imports, limits.
        shared: Memory that the child inherits; None: some of its own.

    Attributes:
        shared: That memory.
    """

    def __init__(self, module: str, shared: SharedMemory | None = None) -> None:
        self._module = module
        self.shared = shared or SharedMemory()
        self._owns_memory = shared is None
        self._child: _Child | None = None
        self._closed = False
        self._changing = threading.Lock()

    def start(self) -> None:
        """Start the child unless it runs already, so that it is ready for the first call.

        Raises:
            DarnetError: No process can be started.
        """
        self._running()

    def call(
        self, function: Callable[..., T], *arguments: Any, timeout_s: float, kills: int = 0
    ) -> T:
        """Run a function in the child and return its value, or raise what it raises.

        A child that is killed before it begins is replaced, and the call is made again.

        Args:
            function: Of a module's top level; the child imports it by name.
            arguments: Picklable.
            timeout_s: The child is ended after this time.
            kills: Call again so many times where the child is killed (SIGKILL) during the call.

        Raises:
            WorkerDied: The child ended, or was not done in time.
            DarnetError: No process can be started.
        """
        starts = _STARTS
        while True:
            child = self._running()
            try:
                done, value = child.ask((function, arguments, _folder(), timeout_s), timeout_s)
                break
            except WorkerDied as died:
                self._drop(child)
                kills, starts = kills - died.begun, starts - (not died.begun)
                if died.code != _KILLED or kills < 0 or not starts:
                    raise
            except BaseException:
                self._drop(child)
                raise
        if done:
            answer: T = value
            return answer
        raise value

    def rest(self) -> None:
        """End the child until the next call, so that it takes no memory; not during a call."""
        with self._changing:
            child, self._child = self._child, None
        if child is not None:
            child.end()

    def kill(self) -> None:
        """Begin `close`: end the child without waiting until it has ended."""
        with self._changing:
            self._closed = True
            if self._child is not None:
                self._child.kill()

    def close(self) -> None:
        """End the child, also during a call from another thread, which then raises WorkerDied."""
        self.kill()
        self.rest()
        if self._owns_memory:
            self.shared.close()

    def _running(self) -> _Child:
        with self._changing:
            if self._closed:
                raise WorkerDied("closed", None)
            if self._child is not None and not self._child.alive:
                self._child.end()
                self._child = None
            if self._child is None:
                self._child = _Child(self._module, self.shared.inherited)
            return self._child

    def _drop(self, child: _Child) -> None:
        child.end()
        with self._changing:
            if self._child is child:
                self._child = None


@contextmanager
def worker(module: str) -> Iterator[Worker]:
    """Give a worker, and keep its child for the next one that asks; it starts at once.

    Leaving the `with` statement by an exception ends the child at once.

    Args:
        module: As of `Worker`.

    Raises:
        DarnetError: No process can be started.
    """
    process = taken(module)
    process.start()
    try:
        yield process
    except BaseException:
        process.close()
        raise
    keep(module, process)


def taken(module: str) -> Worker:
    """Return a worker that was kept, or a new one whose child is not started yet."""
    try:
        return _idle[module].pop()
    except IndexError:
        return Worker(module)


def start_early(module: str) -> None:
    """Start a child for the next `worker`, while the caller does something else.

    Those that were kept end: they know this process as it was.

    Args:
        module: As of `Worker`.

    Raises:
        DarnetError: No process can be started.
    """
    early = Worker(module)
    early.start()
    _end(_idle[module])
    keep(module, early)


_idle: defaultdict[str, list[Worker]] = defaultdict(list)
"""By module, as many as were at work at once; threads may take and keep them at the same time."""


def keep(module: str, unused: Worker) -> None:
    """Keep a worker for the next one that asks."""
    _idle[module].append(unused)


@atexit.register
def _end_idle() -> None:
    for kept in _idle.values():
        _end(kept)


def _end(kept: list[Worker]) -> None:
    while kept:
        kept.pop().close()


if hasattr(os, "register_at_fork"):  # a forked process must not write into its parent's pipes
    os.register_at_fork(after_in_child=_idle.clear)


class _Child:
    """The process, as its parent sees it."""

    def __init__(self, module: str, inherited: tuple[int, ...]) -> None:
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _PROGRAM, module, *sys.path],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={**os.environ, **_ENVIRONMENT},
                pass_fds=inherited,
                start_new_session=True,  # Ctrl-C reaches the parent alone, which then ends it
            )
        except OSError as error:
            raise _no_process(module, error.strerror or str(error)) from error
        self._said: list[bytes] = []
        self._listening = threading.Thread(target=self._listen, daemon=True)
        try:
            self._listening.start()
        except RuntimeError as error:  # there are too many threads
            self.end()
            assert self._process.stderr is not None
            self._process.stderr.close()
            raise _no_process(module, str(error)) from error

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def ask(self, request: Any, timeout_s: float) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        late = threading.Event()

        def end() -> None:
            late.set()
            self._process.kill()

        timer = threading.Timer(timeout_s, end)
        timer.daemon = True
        timer.start()
        begun = False
        try:
            send(self._process.stdin, request)
            receive(self._process.stdout)
            begun = True
            return unpickled(receive(self._process.stdout))
        except (BrokenPipeError, EOFError) as error:
            if late.is_set():
                raise WorkerDied(f"not done in {timeout_s:g} s", None) from error
            code = self._ended()
            self._listening.join(1)
            said = last_words(line.decode(errors="replace") for line in self._said)
            how = f"{how_ended(code)}{said and f': {said}'}"
            raise WorkerDied(how, code, begun=begun) from error
        finally:
            timer.cancel()

    def _ended(self) -> int:
        """Return the exit code; end a process that closed its pipe and lives on."""
        try:
            return self._process.wait(_LEAVING_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def kill(self) -> None:
        self._process.kill()

    def end(self) -> None:
        self._process.kill()
        with suppress(subprocess.TimeoutExpired):  # it waits for a disk, and ends after that
            self._process.wait(_LEAVING_S)
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with suppress(OSError):
                pipe.close()

    def _listen(self) -> None:
        """Keep the last lines of what it prints; a crash writes there."""
        assert self._process.stderr is not None
        with self._process.stderr as lines:
            for line in lines:
                if line.startswith(_TOLD):
                    _log_once(line.removeprefix(_TOLD).decode(errors="replace").strip())
                else:
                    self._said = [*self._said[-_KEPT_LINES:], line]


_logged: set[str] = set()


def _log_once(line: str) -> None:
    if line not in _logged:
        _logged.add(line)
        _log.warning("%s", line)


def tell(line: str) -> None:
    """Have the parent log a line, once for all its children; for code that runs in a child."""
    shown = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line)
    os.write(2, _TOLD + shown.encode(errors="replace") + b"\n")


def _no_process(module: str, why: str) -> DarnetError:
    return DarnetError(
        f"no process can be started for {module} ({why})",
        do="free memory, or raise the limits on processes and open files (ulimit -u, -n)",
    )


def serve(module: str) -> NoReturn:
    """Run what the parent asks for, until the parent ends; this is the child's program.

    Args:
        module: As of `Worker`.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)  # what a library prints must not come between the answers
    asked: queue.SimpleQueue[list[bytearray]] = queue.SimpleQueue()
    threading.Thread(target=_hear, args=(requests, asked), daemon=True).start()
    importlib.import_module(module).prepare()
    while True:
        function, arguments, folder, timeout_s = unpickled(asked.get())
        if folder not in (None, _folder()):
            os.chdir(folder)
        _alarm(timeout_s + _SPARE_S)
        send(answers, "begun")
        try:
            answer = (True, function(*arguments))
        except Exception as error:
            answer = (False, error)
        _alarm(0)
        send(answers, answer)
        del function, arguments, answer


def _folder() -> str | None:
    """Return the working folder; None where it was removed."""
    try:
        return os.getcwd()  # noqa: PTH109 (a str is all that is needed)
    except OSError:
        return None


def _hear(requests: IO[bytes], asked: queue.SimpleQueue[list[bytearray]]) -> None:
    """Pass requests on; end this process as soon as its parent has ended."""
    try:
        while True:
            asked.put(receive(requests))
    except (EOFError, OSError):
        os._exit(0)  # the main thread may be busy; nobody waits for its answer


def _alarm(seconds: float) -> None:
    """Have the system end this process later: the parent, which does so earlier, may be gone."""
    if hasattr(signal, "setitimer"):  # not on Windows
        signal.setitimer(signal.ITIMER_REAL, seconds)
