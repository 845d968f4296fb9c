"""Read scans in a child process: what kills it, or fills its memory, costs one scan.

Decoders of pixels (imagecodecs, Pillow, SimpleITK, zlib) are native code. A damaged file can make
one crash, wait for ever, or ask for any amount of memory.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from darnet_trt.errors import (
    DarnetError,
    Finding,
    InternalError,
    ScanError,
    UnreadableScanError,
    UsageError,
    cannot_read,
)
from darnet_trt.machine.pool import Pool, TimedFuture, each_in_workers
from darnet_trt.machine.worker import Worker, WorkerDied, worker

T = TypeVar("T")

MODULE: Final = __name__
"""The module that a worker or a pool is made for."""
LONGEST_S: Final = 600
"""Most time for the pixels of one scan: a thousand slices over a slow network take a minute or two.

Judgement, not measured.
"""
MEMORY: Final = 3 * 2**29
"""Bytes that reading may take beyond what the child has after its imports."""

OF_ONE_SCAN: Final = (ScanError, UsageError, InternalError)
"""Errors that cost one scan: every other `DarnetError` would come again with the next one."""

# How libraries say that memory ran out, where they raise another exception than MemoryError.
_NO_MEMORY: Final = ("bad_alloc", "bad allocation", "allocate memory", "memory allocation")


@dataclass(frozen=True, eq=False)
class Reader:
    """Reads scans in a child process, one at a time."""

    worker: Worker

    def run(self, function: Callable[..., T], *arguments: Any, where: Path) -> T:
        """Run a function that reads one scan.

        Args:
            function: Of a module's top level.
            arguments: Picklable.
            where: The scan, for errors.

        Raises:
            UnreadableScanError: The process died, was not done in time, or its memory ran out; or
                the function raised an OSError.
            DarnetError: As the function raises; an unexpected exception is an InternalError. Or no
                process can be started.
            ImportError: A package is not installed.
        """
        try:
            value: T = self.worker.call(_guarded, function, arguments, where, timeout_s=LONGEST_S)
        except WorkerDied as died:
            raise ended(died, where) from died
        return value


@contextmanager
def reader() -> Iterator[Reader]:
    """Give a reader; its process starts at once, and stays for the next reader.

    Leaving the `with` statement by an exception ends the process.
    """
    with worker(__name__) as process:
        yield Reader(process)


def read_each(
    function: Callable[..., T], scans: Sequence[tuple[Path, tuple[Any, ...]]], processes: int
) -> Iterator[T | DarnetError]:
    """Run a function for each scan in several processes; yield its value or the error, in order.

    Args:
        function: As of `Reader.run`.
        scans: Of each the path, for errors, and the function's arguments.
        processes: How many.

    Raises:
        DarnetError: One that does not concern a single scan, as where no process can be started.
        ImportError: A package is not installed.
    """
    calls = [(function, arguments, where) for where, arguments in scans]
    found = each_in_workers(__name__, _value_or_error, calls, processes, timeout_s=LONGEST_S)
    for (where, _), value in zip(scans, found, strict=True):
        yield ended(value, where) if isinstance(value, WorkerDied) else value


def submit(
    pool: Pool,
    function: Callable[..., T],
    *arguments: Any,
    where: Path,
    memory: int = MEMORY,
    kills: int = 0,
    urgent: bool = False,
    alone: bool = False,
) -> TimedFuture[T]:
    """Run a function that reads one scan, or finds some, in a process of a pool for this module.

    Args:
        pool: For `MODULE`.
        function: As of `Reader.run`.
        arguments: As of `Reader.run`.
        where: As of `Reader.run`.
        memory: Bytes that it may take beyond what the process has after its imports.
        kills: As of `Pool.submit`.
        urgent: As of `Pool.submit`.
        alone: As of `Pool.submit`.

    Returns:
        The value to come, or the errors of `Reader.run`; but WorkerDied where the process died,
        which `ended` makes an error of.
    """
    call = (_guarded, function, arguments, where, memory)
    return pool.submit(*call, timeout_s=LONGEST_S, kills=kills, urgent=urgent, alone=alone)


def ended(died: WorkerDied, where: Path, what: str = "its pixels") -> UnreadableScanError:
    """Return the error for a scan whose reading ended its process.

    Args:
        died: How.
        where: The scan.
        what: What was read.
    """
    if died.code is None:
        return UnreadableScanError(
            Finding("reading-too-slow", f"reading {what} was {died.how}"),
            where=where,
            do="copy it to a local disk, or export it again",
        )
    if died.code == -getattr(signal, "SIGKILL", 0):
        return UnreadableScanError(
            Finding(
                "reading-killed",
                f"the process that read {what} was ended from outside (SIGKILL): the system "
                "ran out of memory, or somebody ended it",
            ),
            where=where,
            do="free memory and try again",
        )
    return UnreadableScanError(
        Finding("reading-crashed", f"the process that read {what} {died.how}"),
        where=where,
        do="export or convert it again; report it if other programs read it",
    )


# In the child process


def prepare() -> None:
    """Import what finds and reads scans, look for a GPU, and limit this process's memory."""
    import pydicom  # noqa: F401

    import darnet_trt.scan.discovery.gather
    import darnet_trt.scan.loading.load  # noqa: F401
    from darnet_trt.scan.dicom.encoding.gpu import use_gpu

    use_gpu()  # before memory is limited: CUDA takes much

    try:
        import resource
    except ImportError:  # Windows
        return
    global _after_imports
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core file would hold a patient's scan
    status = Path("/proc/self/status")
    if status.exists():
        # Without read-only mappings (libraries, files) and addresses that are only reserved.
        fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
        _after_imports = int(fields["VmData"].split()[0]) * 1024
    _limit(MEMORY)


_after_imports: int | None = None


def _limit(memory: int) -> None:
    """Let this process take so much memory beyond what it had after its imports."""
    if _after_imports is None:
        return
    import resource

    most = _after_imports + memory
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (most, hard))


def _guarded(
    function: Callable[..., T], arguments: Sequence[Any], where: Path, memory: int = MEMORY
) -> T:
    _limit(memory)
    try:
        return function(*arguments)
    except Exception as error:
        raise as_scan_error(error, where) from None


def as_scan_error(error: Exception, where: Path) -> DarnetError:
    """Return the error for an exception that concerns one scan; raise one that every scan meets.

    Args:
        error: What was raised.
        where: The scan.
    """
    if _memory_ran_out(error):
        return out_of_memory(where)
    if isinstance(error, OF_ONE_SCAN):
        return error
    if isinstance(error, DarnetError | ImportError):
        raise error
    if isinstance(error, OSError):
        file = error.filename if isinstance(error.filename, str) else where
        return cannot_read(Path(file), error)
    return InternalError(error, where=where)


def _value_or_error(
    function: Callable[..., T], arguments: Sequence[Any], where: Path
) -> T | DarnetError:
    try:
        return _guarded(function, arguments, where)
    except OF_ONE_SCAN as error:
        return error


def _memory_ran_out(error: BaseException | None) -> bool:
    """Return whether an exception, or one that it follows, says that memory ran out."""
    while error is not None:
        said = str(error).lower()
        if isinstance(error, MemoryError) or any(words in said for words in _NO_MEMORY):
            return True
        error = error.__cause__ or error.__context__
    return False


def out_of_memory(where: Path) -> UnreadableScanError:
    """Return the error for a scan that needs more memory than there is."""
    return UnreadableScanError(
        Finding("out-of-memory", "reading it needs too much memory"),
        where=where,
        do="export fewer or smaller slices; if it is small, its header is damaged: copy it again",
    )
