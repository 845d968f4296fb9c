"""Read scans in a child process that is watched: crashes, hangs and memory are seen."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self

import psutil

ROOT = Path(__file__).parents[3]
MAX_S = 10.0
"""CPU time of one scan; a scan that only waits may take twelve times as long by the clock."""
MAX_BYTES = 1_500_000_000
"""Peak memory of the whole process while it reads any scan."""


@dataclass(frozen=True)
class End:
    """How reading a scan ended.

    Attributes:
        codes: "ok", or the codes of its errors.
        defect: What must not happen, or empty.
        peak: Highest memory of the process so far, in bytes.
    """

    codes: str
    defect: str
    peak: int = 0


class Child:
    """A process that reads scans; a new one takes the place of one that ended."""

    def __init__(self, command: tuple[str, ...] = ("-m", "tests.scan.fuzz.child")) -> None:
        self._command = (sys.executable, *command)
        self._process: subprocess.Popen[bytes] | None = None
        self._stderr: IO[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.end()

    def read(self, path: Path) -> End:
        """Read the scans under a path."""
        process = self._process or self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        begun, cpu = time.monotonic(), _cpu_s(process.pid)
        process.stdin.write(json.dumps(str(path)).encode() + b"\n")
        process.stdin.flush()
        while not select.select([process.stdout], [], [], 0.25)[0]:
            waited, worked = time.monotonic() - begun, _cpu_s(process.pid) - cpu
            if worked > MAX_S or waited > 12 * MAX_S:
                self.end()
                return End("", f"hang: {worked:.0f} s of CPU time in {waited:.0f} s")
        line = process.stdout.readline()
        if not line:
            status = process.wait()
            assert self._stderr is not None
            self._stderr.seek(0)
            where = self._stderr.read().decode(errors="replace")[:3000]
            self.end()
            return End("", f"crash: exit status {status}\n{where}")
        answer = json.loads(line)
        defect = answer["defect"]
        if answer["peak"] > MAX_BYTES:
            self.end()  # the peak would stay
            defect = defect or f"memory: {answer['peak'] / 1e9:.1f} GB"
        if not defect and answer["cpu_s"] > MAX_S:
            defect = f"slow: {answer['cpu_s']:.0f} s of CPU time"
        return End(answer["end"], defect, answer["peak"])

    def end(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None
        if self._stderr is not None:
            self._stderr.close()
            self._stderr = None

    def _start(self) -> subprocess.Popen[bytes]:
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 (closed in `end`)
        self._process = subprocess.Popen(
            self._command,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
        )
        return self._process


def _cpu_s(pid: int) -> float:
    """Return CPU time of a process and its children, so far."""
    total = 0.0
    with contextlib.suppress(psutil.Error):
        parent = psutil.Process(pid)
        for process in (parent, *parent.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                times = process.cpu_times()
                total += times.user + times.system
    return total
