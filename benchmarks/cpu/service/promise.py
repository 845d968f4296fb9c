"""Kill the service again and again while it receives, and judge whether it kept its promise.

    python -m benchmarks.cpu.service.promise BUNDLE [--short] [--seed 0] [--struck]

20 studies of 100 slices (`benchmarks.cpu.service.senders.studies` says of which kinds) come over 8
associations, and by STOW-RS and as ZIPs over HTTP: shuffled, some slices twice, some at once on two
associations, some after the quiet time; a fifth of the associations is torn in the middle of a
slice. SIGKILL ends the service 20 times at random moments (with --struck, at one of its changes of
the disk); now and then a worker is killed, or it is made to reload its bundle, or ended by SIGTERM.
It sends its reports to Orthanc. At the end every file that it acknowledged must be in exactly one
standing result (`benchmarks.cpu.service.judging.judge`).
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil

from benchmarks.cpu.service.ending import struck
from benchmarks.cpu.service.ending.kills import LONG, SHORT, Size, send_and_kill, strike
from benchmarks.cpu.service.judging.judge import Found, ask, faults, unexpected
from benchmarks.cpu.service.orthanc import PROGRAM, Orthanc
from benchmarks.cpu.service.senders.dicom import Acknowledged
from benchmarks.cpu.service.senders.studies import make_studies
from benchmarks.cpu.service.server import Server, running
from darnet_trt.machine.cpus import usable_cpus
from darnet_trt.machine.hardware import cpu

SETTLES_S = 300


@dataclass(frozen=True)
class Outcome:
    """Say how a run ended.

    Attributes:
        done: What was acknowledged.
        found: What the service said at the end.
        faults: How the promise was broken.
        said: Lines of its stderr that speak of a programming error.
    """

    done: Acknowledged
    found: Found
    faults: tuple[str, ...]
    said: tuple[str, ...]


def run(
    bundle: Path, folder: Path, size: Size, seed: int = 0, *, at_changes: bool = False
) -> Outcome:
    """Run and judge.

    Args:
        bundle: What is served.
        folder: For all that is written.
        size: How much.
        seed: Draws all that is drawn.
        at_changes: Whether it dies at changes of the disk, and not at random moments.
    """
    kill = struck.strike if at_changes else _trouble
    archive = Orthanc(folder / "orthanc") if PROGRAM else None
    if archive:
        archive.start(SynchronousCMove=True)
    send = ("--objects", "sr", "--send", archive.ae) if archive else ()
    try:
        with running(bundle, folder / "service", "--settle", size.quiet_s, *send) as server:
            done = send_and_kill(server, size, seed, web=server.http, kill=kill)
            settle(server, archive)
            found = ask(server, archive)
            said = [line for line in server.said.splitlines() if "Traceback" in line]
            assert server.stop() == 0, server.said[-4000:]
    finally:
        if archive:
            archive.stop()
    wrong = faults(done.times, found, sent=archive is not None)
    wrong += unexpected(make_studies(size.studies, size.slices), found)
    return Outcome(done, found, tuple(wrong), tuple(said))


def _trouble(server: Server, size: Size, rng: random.Random) -> None:
    """Kill it at a random moment; before, now and then, kill a worker, reload it or end it."""
    workers = server.processes()[1:]
    if workers and rng.random() < 0.3:
        with suppress(psutil.NoSuchProcess):
            rng.choice(workers).kill()
    if rng.random() < 0.3:
        server.reload()
    if rng.random() < 0.2:
        assert server.stop() in (0, 1), server.said[-4000:]  # 1: something was left
        server.start()
    strike(server, size, rng)


def settle(server: Server, archive: Orthanc | None) -> None:
    """Wait until every study is done and nothing more comes to the archive."""
    limit, before = time.monotonic() + SETTLES_S, None
    while time.monotonic() < limit:
        states = Counter(study["state"] for study in server.studies())
        now = (states, len(archive.instances()) if archive else 0)
        if set(states) == {"done"} and now == before:
            return
        before = now
        time.sleep(2)


def table(outcome: Outcome) -> list[str]:
    """Return what is printed."""
    fates = Counter(
        each["fate"] for entries in outcome.found.instances.values() for each in entries
    )
    states = Counter(r["status"] for study in outcome.found.studies for r in study["results"])
    contents = outcome.done.contents()
    files = sum(map(len, contents.values()))
    return [
        f"answers to senders: {dict(outcome.done.answers)}",
        f"acknowledged: {files} files of {len(contents)} instances, "
        f"{outcome.done.times.total()} times in all",
        f"listed at the end: {dict(fates)} in {len(outcome.found.studies)} studies",
        f"standing results: {dict(states)}; lines of results.jsonl: {len(outcome.found.lines)}",
        f"reports in Orthanc: {len(outcome.found.reports)}",
        f"faults: {len(outcome.faults)}; tracebacks: {len(outcome.said)}",
        *outcome.faults[:40],
    ]


def main() -> int:
    """Run, print a table; return 1 where the promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--short", action="store_true", help="4 studies of 30 slices, 3 kills")
    parser.add_argument("--struck", action="store_true", help="die at changes of the disk")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="keep what is written here")
    given = parser.parse_args()
    size = SHORT if given.short else LONG
    print(size)
    print(f"{usable_cpus()} cores of {cpu().name}, load {os.getloadavg()[0]:.1f}", flush=True)
    with TemporaryDirectory() as name:
        folder = given.folder or Path(name)
        outcome = run(given.bundle, folder, size, given.seed, at_changes=given.struck)
    print("\n".join(table(outcome)))
    return int(bool(outcome.faults or outcome.said))


if __name__ == "__main__":
    sys.exit(main())
