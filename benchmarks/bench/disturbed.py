"""Show how far another process shifts the times of a CPU-bound runner of 20 ms.

    python -m benchmarks.bench.disturbed [--windows 60]

The runner uses all CPUs, as an engine does, in windows of 1 s, while a process that is none of its
children burns a part of one CPU in bursts; the part changes from window to window. In each window
the runner also takes turns with itself: that ratio should be 1. The windows are grouped by what
`Watch` saw of other processes, of the burner and of whatever else runs.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from itertools import pairwise

import numpy as np

from darnet_trt.runtime.bench.signs.watch import Watch

WINDOW_S = 1.0
QUERY_MS = 20.0
EDGES = (0, 1, 2, 3, 5, 10, 20, 100)

# Reads which part of the time to burn, until its input ends.
BURN = """
import random, select, sys, time
part = 0.0
while True:
    if select.select([sys.stdin], [], [], 0)[0]:
        line = sys.stdin.readline()
        if not line:
            break
        part = float(line)
    burst = random.uniform(0.02, 0.2)
    until = time.perf_counter() + burst * part
    while time.perf_counter() < until:
        pass
    time.sleep(burst * (1 - part))
"""


def runner(size: int = 400):
    """Return a function that multiplies matrices on all CPUs for some 20 ms."""
    matrix = np.random.default_rng(0).random((size, size), np.float32)
    times = []
    for _ in range(200):
        start = time.perf_counter()
        matrix @ matrix
        times.append(time.perf_counter() - start)
    repeats = max(1, round(QUERY_MS / 1000 / float(np.percentile(times, 10))))

    def query() -> None:
        for _ in range(repeats):
            matrix @ matrix

    return query


def window(query) -> np.ndarray:
    """Return others %, median ms, ratio to itself, switches/s, waiting % and watcher %."""
    taken = []
    with Watch() as watch:
        until = time.perf_counter() + WINDOW_S
        while time.perf_counter() < until:
            start = time.perf_counter()
            query()
            taken.append((time.perf_counter() - start) * 1000)
    seen = watch.conditions
    ratio = np.median(taken[1::2]) / np.median(taken[::2])
    waiting = np.nan if seen.waiting_percent is None else seen.waiting_percent
    row = (
        seen.others_percent, np.median(taken), ratio, seen.involuntary_switches_per_s, waiting,
        seen.watcher_percent,
    )  # fmt: skip
    return np.array(row, dtype=float)


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--windows", type=int, default=60)
    windows = parser.parse_args().windows
    query = runner()
    # The shell ends at once, so that the burner is no child of ours.
    words = ["sh", "-c", 'exec 3<&0; "$0" -c "$1" <&3 &', sys.executable, BURN]
    rng = np.random.default_rng(0)
    with subprocess.Popen(words, stdin=subprocess.PIPE, text=True) as shell:
        rows = []
        for at in range(windows):
            part = 0.0 if at % 4 == 0 else rng.random() ** 3
            print(part, file=shell.stdin, flush=True)
            time.sleep(0.3)
            rows.append(window(query))
    found = np.array(rows)
    others, medians = found[:, 0], found[:, 1]
    quiet = np.median(medians[others <= max(EDGES[1], others.min())])
    print("| others | windows | median slower by | at most | ratio to itself off by, 9 in 10 "
          "| switches/s | waiting |")  # fmt: skip
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for low, high in pairwise(EDGES):
        here = (others >= low) & (others < high)
        if here.any():
            slower = 100 * (medians[here] / quiet - 1)
            off = 100 * np.percentile(np.abs(found[here, 2] - 1), 90)
            print(
                f"| {low} to {high} % | {here.sum()} | {np.median(slower):.1f} % "
                f"| {slower.max():.1f} % | {off:.1f} % | {np.median(found[here, 3]):.0f} "
                f"| {np.median(found[here, 4]):.0f} % |"
            )
    few = others < 15
    if few.sum() > 2:
        slope = 100 * np.polyfit(others[few], np.log(medians[few]), 1)[0]
        print(f"for each percent that others took, below 15 %, the median rose by {slope:.1f} %")
    print(f"the watcher took {np.median(found[:, 5]):.2f} % of a CPU")


if __name__ == "__main__":
    main()
