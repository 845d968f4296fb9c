"""Run shards as tasks of a Ray cluster; each runs our own command, as a person would.

Ray decides where a shard runs, and starts it elsewhere when its node dies. What was finished is
kept in the shard's folder, on a file system that all nodes see, and is continued there.
"""

from __future__ import annotations

import logging
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from darnet_trt.errors import MissingPackageError, UsageError, one_line
from darnet_trt.machine.archives import archive_of
from darnet_trt.machine.files import refuse_being_written
from darnet_trt.machine.processes import how_ended, last_words
from darnet_trt.runtime.prediction.results.lines import JSONL
from darnet_trt.runtime.prediction.shards.shard import MOST, Shard, named

FOLDER: Final = "shards"
"""Where in the folder of results those of the shards lie."""
TOLD_S: Final = 60.0
"""Seconds between two lines that say how far the run is."""

_RETRIES: Final = 5  # of a shard whose node or worker died
_FREE_S: Final = 120.0  # a share keeps a dead node's lock for a while
_ANSWER_S: Final = 10.0
_KEPT_LINES: Final = 20
_ADDRESS: Final = re.compile(r"auto|[^/\s]+:[0-9]{1,5}")

# The child ends with the worker that started it, however that ends: no orphan goes on writing.
_PROGRAM: Final = (
    "import ctypes, os, runpy, signal, sys\n"
    "ctypes.CDLL(None).prctl(1, signal.SIGKILL)\n"  # PR_SET_PDEATHSIG, of prctl(2)
    "os.getppid() == int(sys.argv.pop(1)) or os._exit(1)\n"
    "runpy.run_module('darnet_trt', run_name='__main__', alter_sys=True)\n"
)


@dataclass(frozen=True)
class Work:
    """What the shards have in common.

    Attributes:
        words: Of the command, with absolute paths: "predict", the bundle, the scans, options.
        shards: The folder with the shards' folders; absolute, seen by all nodes.
        seen: Paths that must be there on each node, and must not be empty.
        key: Of the pseudonyms; None: none are made.
    """

    words: tuple[str, ...]
    shards: Path
    seen: tuple[Path, ...]
    key: bytes | None

    def folder(self, shard: Shard) -> Path:
        """Return the folder of a shard."""
        return self.shards / f"{shard[0]}-of-{shard[1]}"


@contextmanager
def connected(address: str) -> Iterator[Any]:
    """Join a Ray cluster, whose node must run on this machine, and leave it; yield the module ray.

    Args:
        address: Of its head, such as 10.0.0.1:6379; "auto": of the node that runs here.

    Raises:
        UsageError: No cluster answers.
        MissingPackageError: ray is not installed.
    """
    if not _ADDRESS.fullmatch(address):
        raise UsageError(
            f"{address!r} is no address of a Ray cluster",
            where="--ray",
            do="give that of its head, such as 10.0.0.1:6379, or auto",
        )
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # it is read at the import
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        import ray
    except ImportError as error:
        raise MissingPackageError("ray", extra="cluster") from error
    try:
        if address != "auto":  # Ray itself tries for minutes
            host, _, port = address.rpartition(":")
            socket.create_connection((host.strip("[]"), int(port)), timeout=_ANSWER_S).close()
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR)
    except Exception as error:
        raise UsageError(
            f"no Ray cluster answers ({_last_line(error)})",
            where=address,
            do="start a node of it on this machine (ray start --address HEAD:PORT), with its token",
        ) from error
    finally:
        for number, handler in before.items():  # Ray puts its own in their place
            signal.signal(number, handler)
    try:
        yield ray
    finally:
        ray.shutdown()


def divided(ray: Any, work: Work, *, cpus: int, gpus: int) -> list[Shard]:
    """Return the shards: those of an earlier run, or as many as can run at once.

    Args:
        ray: From `connected`.
        work: The shards' work.
        cpus: CPUs of each shard.
        gpus: GPUs of each.

    Raises:
        UsageError: The cluster has no node for a shard.
    """
    slots = 0
    for node in ray.nodes():
        if node["Alive"]:
            has = node["Resources"]
            room = [int(has.get("CPU", 0)) // cpus]
            room += [int(has.get("GPU", 0)) // gpus] if gpus else []
            slots += min(room)
    if not slots:
        needed = f"{cpus} CPU{'s' * (cpus > 1)}{' and a GPU' * bool(gpus)}"
        raise UsageError(
            f"no node of the cluster has {needed}, which a shard takes",
            where="--ray",
            do="add one, or choose other --threads, --workers or another --artifact",
        )
    names = os.listdir(work.shards) if work.shards.is_dir() else []  # noqa: PTH208
    known = [int(m[1]) for name in names if (m := re.fullmatch(r"[0-9]+-of-([0-9]+)", name))]
    of = max(known, default=min(slots, MOST))
    return [(number, of) for number in range(1, of + 1)]


def run_shards(
    ray: Any,
    work: Work,
    shards: Sequence[Shard],
    *,
    cpus: int,
    gpus: int,
    say: Callable[[str], None],
    warn: Callable[[str], None],
) -> None:
    """Run shards to their ends.

    When an exception such as Ctrl-C's comes, the shards are ended; what they finished is kept.

    Args:
        ray: From `connected`.
        work: The shards' work; its folder exists.
        shards: Which.
        cpus: CPUs of each.
        gpus: GPUs of each.
        say: Called with how far the run is.
        warn: Called with what shards warn of.

    Raises:
        UsageError: Some could not run.
    """
    task = ray.remote(_run).options(
        num_cpus=cpus, num_gpus=gpus, max_retries=_RETRIES, scheduling_strategy="SPREAD"
    )
    pending = {task.remote(work, shard): shard for shard in shards}
    broken: list[str] = []
    count, told = _Count(), time.monotonic()
    try:
        while pending:
            for ended in ray.wait(list(pending), timeout=0.5)[0]:
                shard = pending.pop(ended)
                code, lines = _outcome(ray, ended)
                done = len(shards) - len(pending)
                if code not in (0, 1):
                    broken.append(f"shard {named(shard)}: {last_words(lines)}")
                    say(f"[{done}/{len(shards)}] shard {named(shard)} could not run")
                    continue
                for line in lines[: len(lines) - code]:  # with code 1 the last one is its tally
                    warn(f"shard {named(shard)}: {line}")
                say(f"[{done}/{len(shards)}] shard {named(shard)} is done")
            if time.monotonic() >= told + TOLD_S:
                told = time.monotonic()
                number = count.of([work.folder(shard) / JSONL for shard in shards])
                done = len(shards) - len(pending)
                say(f"{done} of {len(shards)} shards done, {number:,} results so far")
    except BaseException as error:
        for running in pending:
            ray.cancel(running, force=True)
        ray.wait(list(pending), num_returns=len(pending), timeout=10)
        if isinstance(error, SystemError) and error.__cause__:  # raised by a signal in Ray's code
            raise error.__cause__ from None
        raise
    if broken:
        raise UsageError(
            f"{len(broken)} of {len(shards)} shards could not run to the end: {broken[0]}",
            do="mend that, and type the same command with --resume",
        )


def is_filled(path: Path) -> bool:
    """Return whether a path is a file, also in an archive, or a folder that is not empty.

    An archive that is not mounted is an empty folder.
    """
    try:
        with os.scandir(path) as entries:
            return any(entries)
    except NotADirectoryError:
        return True
    except OSError:
        return archive_of(path) is not None


def _outcome(ray: Any, ended: Any) -> tuple[int, list[str]]:
    """Return a shard's exit code, and the lines that it printed."""
    try:
        code, lines = ray.get(ended)
        return int(code), list(lines)
    except ray.exceptions.RayError as error:  # its nodes died too often; or no darnet-trt there
        return 2, [_last_line(error)]


def _last_line(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return one_line(lines[-1]).rstrip(".")


class _Count:
    """Counts the lines of files that grow, and reads each line once."""

    def __init__(self) -> None:
        self._known: dict[Path, tuple[int, int]] = {}  # bytes, lines

    def of(self, files: Sequence[Path]) -> int:
        for path in files:
            size, lines = self._known.get(path, (0, 0))
            with suppress(OSError), path.open("rb") as file:
                file.seek(size)
                while piece := file.read(1 << 20):
                    size, lines = size + len(piece), lines + piece.count(b"\n")
            self._known[path] = size, lines
        return sum(lines for _, lines in self._known.values())


def _run(work: Work, shard: Shard) -> tuple[int, list[str]]:
    """Run a shard on a node of the cluster; return its exit code and the lines on stderr."""
    absent = [path for path in work.seen if not is_filled(path)]
    if not work.shards.is_dir():
        absent.insert(0, work.shards)
    if absent:
        return 2, [f"{absent[0]}: is absent or empty on {socket.gethostname()}; mount it there"]
    folder = work.folder(shard)
    _wait_for_the_lock(folder)
    words = [*work.words, "-q", "--resume", "--shard", named(shard), "--out", str(folder)]
    key = None
    if work.key is not None:
        key = os.memfd_create("key")
        os.write(key, work.key)
        words += ["--pseudonym-key", f"/proc/self/fd/{key}"]
    try:
        ended = subprocess.run(
            [sys.executable, "-P", "-c", _PROGRAM, str(os.getpid()), *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            pass_fds=() if key is None else (key,),
            check=False,
        )
    finally:
        if key is not None:
            os.close(key)
    lines = ended.stderr.splitlines()[-_KEPT_LINES:]
    if ended.returncode not in (0, 1):
        last = last_words(lines[-1:]).removeprefix("darnet-trt: ")
        lines = [f"{last or how_ended(ended.returncode)} (on {socket.gethostname()})"]
    return ended.returncode, lines


def _wait_for_the_lock(folder: Path) -> None:
    """Wait until the worker that ran this shard before is really gone, at most `_FREE_S`."""
    until = time.monotonic() + _FREE_S
    while time.monotonic() < until:
        with suppress(UsageError):
            refuse_being_written(folder)
            return
        time.sleep(1)
