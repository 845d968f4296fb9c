"""Measure the processor time of `predict --watch` while nothing comes, and print it.

    python -m benchmarks.cpu.predict.watching BUNDLE [--folders 10000] [--minutes 5] [--settle 60]

It writes an archive of studies of three files each, which their headers refuse, and waits until the
watch has a result of each; then it counts. All lies in a temporary folder (TMPDIR), which is
removed. At 10,000 folders it takes about 4 minutes before it counts.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil

from benchmarks.cpu.predict.archive import headers_only, phantom_slices, template, write_archive
from darnet_trt.machine.cpus import usable_cpus
from darnet_trt.machine.hardware import cpu


def seconds(process: psutil.Process) -> float:
    """Return the processor time of a process and of those that it started."""
    every = [process, *process.children(recursive=True)]
    return sum(times.user + times.system for times in (each.cpu_times() for each in every))


def count(lines: Path) -> int:
    """Return how many lines a file has; 0 where it is not there yet."""
    return lines.read_bytes().count(b"\n") if lines.exists() else 0


def main() -> None:
    """Measure, and print a line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--folders", type=int, default=10_000)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--settle", type=float, default=60)
    given = parser.parse_args()
    with TemporaryDirectory() as name:
        study = headers_only(template(phantom_slices(48, 14)), 3)
        archive = write_archive(Path(name) / "archive", [study], given.folders)
        results = Path(name) / "results"
        words = ("-q", "predict", given.bundle, archive, "-o", results, "--resume", "--watch")
        command = [sys.executable, "-m", "darnet_trt", *map(str, words)]
        with subprocess.Popen([*command, "--settle", str(given.settle)]) as run:
            while count(results / "results.jsonl") < given.folders:
                if run.poll() is not None:
                    sys.exit("the watch has ended")
                time.sleep(1)
            time.sleep(2 * given.settle)  # its tables are written then, too
            process = psutil.Process(run.pid)
            before = seconds(process)
            time.sleep(60 * given.minutes)
            spent = (seconds(process) - before) / given.minutes
            run.send_signal(signal.SIGTERM)
    print(
        f"{given.folders:,} folders, 3 files each: {spent:.2f} s of processor time a minute "
        f"(over {given.minutes:g} minutes; {usable_cpus()} cores of {cpu().name}; load "
        f"{os.getloadavg()[0]:.1f})"
    )


if __name__ == "__main__":
    main()
