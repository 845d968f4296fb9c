"""Run the installed command over an archive, end it in every way, and read what it left."""

from __future__ import annotations

import csv
import json
import random
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from tests.cli.command import COMMAND

AGAIN_S = 60
"""How long anything may take that a test waits for."""

Facts = dict[str, dict[str, Any]]
"""Key of a study → its result, without times and without what it replaces."""


def words(bundle: Path, archive: Path, out: Path, *more: object) -> list[str]:
    """Return a command that classifies an archive into a folder."""
    return list(map(str, (COMMAND, "predict", bundle, archive, "-o", out, *more)))


@dataclass
class Run:
    """A command that runs, and every process that it started so far."""

    process: subprocess.Popen[bytes]
    log: Path

    def __post_init__(self) -> None:
        self._met: dict[int, psutil.Process] = {}

    @property
    def running(self) -> bool:
        self.children()
        return self.process.poll() is None

    def children(self) -> list[psutil.Process]:
        """Return the processes below it."""
        with suppress(psutil.NoSuchProcess):
            found = psutil.Process(self.process.pid).children(recursive=True)
            self._met |= {child.pid: child for child in found}
            return found
        return []

    def kill(self, whom: str, rng: random.Random) -> None:
        """SIGKILL the parent, a worker, or all at once."""
        children = self.children()
        if whom == "worker":
            if children:
                with suppress(psutil.NoSuchProcess):
                    rng.choice(children).kill()
            return
        self.process.kill()
        if whom == "all":
            for child in children:
                with suppress(psutil.NoSuchProcess):
                    child.kill()

    def end(self) -> int:
        """Wait for it; return its exit code. No process may outlive it for long."""
        while self.running:
            time.sleep(0.01)
        alive = psutil.wait_procs(self._met.values(), timeout=AGAIN_S)[1]
        assert [child for child in alive if child.status() != psutil.STATUS_ZOMBIE] == []
        return self.process.returncode

    @property
    def said(self) -> str:
        return self.log.read_text(errors="replace")


def start(command: Sequence[str], log: Path, **more: Any) -> Run:
    """Start a command; stderr goes to a file, stdout nowhere unless `more` says otherwise."""
    with log.open("wb") as stderr:
        streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": stderr}
        process = subprocess.Popen(command, **{**streams, **more}, start_new_session=True)
    return Run(process, log)


def finish(command: Sequence[str], log: Path, **more: Any) -> tuple[int, str]:
    """Run a command to its end; return its exit code and what it said on stderr."""
    run = start(command, log, **more)
    code = run.end()
    assert "Traceback" not in run.said, run.said[-4000:]
    return code, run.said


def known(out: Path) -> set[str]:
    """Return the keys of the studies that have a whole line so far."""
    try:
        *whole, _ = (out / "results.jsonl").read_bytes().split(b"\n")
    except FileNotFoundError:
        return set()
    return {json.loads(line)["key"] for line in whole}


def wait_for(happened: Callable[[], bool], run: Run) -> None:
    """Wait until something has happened or the run has ended."""
    limit = time.monotonic() + AGAIN_S
    while not happened() and run.running:
        assert time.monotonic() < limit, f"waited too long:\n{run.said[-4000:]}"
        time.sleep(0.002)


def facts(out: Path) -> Facts:
    """Return what stands in an output folder; the table must hold the same studies once."""
    written = [json.loads(line) for line in (out / "results.jsonl").read_bytes().splitlines()]
    standing = {result["key"]: result for result in written}
    with (out / "results.csv").open(newline="", errors="surrogateescape") as table:
        in_table = [row["key"] for row in csv.DictReader(table)]
    assert sorted(in_table) == sorted(standing)
    return {key: _fact(result) for key, result in standing.items()}


def _fact(result: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in result.items() if k not in ("stages_ms", "finished", "replaces")}


def left_behind(out: Path) -> set[str]:
    """Return the names in an output folder that a finished run does not leave there."""
    return {file.name for file in out.iterdir()} - {
        "results.jsonl", "results.csv", ".darnet-trt.index", ".darnet-trt.lock",
    }  # fmt: skip
