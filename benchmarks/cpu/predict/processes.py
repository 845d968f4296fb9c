"""Run a program, and watch the memory of it and of all processes that it starts."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil

ROOT: Final = Path(__file__).parents[3]
"""Names the folder where Python finds the benchmarks."""
_EVERY_S: Final = 0.1


@dataclass(frozen=True)
class Ran:
    """Holds what a program printed last, and what it used.

    Attributes:
        printed: Its last line of stdout, JSON.
        said: What it wrote to stderr.
        began: When it was started, by `time.time`.
        wall_s: From start to end.
        busy_s: Processor time of all its processes.
        peak_mb: Most memory of all its processes at once: the sum of their PSS, in which a page
            that two share counts half for each.
        workers: Most processes below it at once.
    """

    printed: dict[str, Any]
    said: str
    began: float
    wall_s: float
    busy_s: float
    peak_mb: float
    workers: int


def run(module: str, *words: object) -> Ran:
    """Run a module of Python to its end.

    Raises:
        SystemExit: It failed.
    """
    command = [sys.executable, "-m", module, *map(str, words)]
    began = time.time()
    # The last line: processor time of the program and of all children that were waited for
    process = psutil.Popen(
        [sys.executable, "-c", _WAITED, *command],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
    )  # fmt: skip
    peak = _Peak(process)
    peak.start()
    out, said = process.communicate()
    peak.ended.set()
    peak.join()
    *_, printed, used = ["", *out.splitlines()]
    if process.returncode != 0:
        sys.exit(f"{' '.join(command)} ended with {process.returncode}:\n{said}")
    wall_s, busy_s = map(float, used.split())
    return Ran(json.loads(printed), said, began, wall_s, busy_s, peak.mb, peak.workers)


_WAITED: Final = """
import resource, subprocess, sys, time
started = time.monotonic()
code = subprocess.call(sys.argv[1:])
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(time.monotonic() - started, used.ru_utime + used.ru_stime)
sys.exit(code)
"""


class _Peak(threading.Thread):
    """Sample the memory of the processes below one."""

    def __init__(self, above: psutil.Process) -> None:
        super().__init__(daemon=True)
        self._above = above
        self.ended = threading.Event()
        self.mb = 0.0
        self.workers = 0

    def run(self) -> None:
        while not self.ended.wait(_EVERY_S):
            with suppress(psutil.NoSuchProcess):
                found = self._above.children(recursive=True)
                self.workers = max(self.workers, len(found) - 1)
                self.mb = max(self.mb, sum(map(_pss, found)) / 1e6)


def _pss(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().pss)
    except psutil.Error:
        return 0
