"""Measure whether `bench` finds that a runner has become 5 % slower, beside a busy process.

    python -m benchmarks.bench.finds_5_percent [--threads 1 2] [--runs 40] [--seconds 30]
        [--benchmark-app-runs 40]

The runner is a chain of 20 matrix products in OpenVINO, some 20 ms, on one thread or on more; the
slower one has 21. Another process burns one CPU in bursts of 0.2 to 2 s, half of the time. One
baseline is stored; then slower and equal runners take turns, each measured against it with
`--fail-above 1.025` until the answer is known or the time is up. Beside it stands what the ratio of
two medians says, each by OpenVINO's benchmark_app over the whole time: slower, where it is above
1.025.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import openvino as ov
from openvino import opset13 as ops

from benchmarks.bench.benchmark_app import by_benchmark_app
from benchmarks.bench.targets import Target, judged, table
from darnet_trt.errors import counted
from darnet_trt.machine.cpus import usable_cpus
from darnet_trt.runtime.bench.regression.baseline import StoredLatencies
from darnet_trt.runtime.bench.regression.guard import Guard
from darnet_trt.runtime.bench.regression.yardstick import yardstick
from darnet_trt.runtime.bench.subject import Subject, Trace
from darnet_trt.runtime.bench.turns import in_turns

LIMIT = 1.025
FOUND, ACCUSED = 0.95, 0.05
"""Shares of runs: slowed ones that are found, at least; equal ones that are accused, at most."""
WIDTH, ROWS = 512, 192
"""Columns, and rows for each thread: the weights, 21 MB, fit the last-level cache of a server's
CPU."""
BURN = """
import random, time
while True:
    time.sleep(random.uniform(0.2, 2))
    until = time.perf_counter() + random.uniform(0.2, 2)
    while time.perf_counter() < until:
        pass
"""


class Chain(NamedTuple):
    """A model, and on how many threads it runs."""

    file: Path
    threads: int

    def subject(self) -> Subject:
        """Return the runner."""
        compiled = ov.Core().compile_model(
            self.file,
            "CPU",
            {
                "PERFORMANCE_HINT": "LATENCY",
                "INFERENCE_PRECISION_HINT": "f32",
                "INFERENCE_NUM_THREADS": self.threads,
            },
        )
        request = compiled.create_infer_request()
        value = np.random.default_rng(1).random((ROWS * self.threads, WIDTH), np.float32)
        return Subject("chain", lambda: request.infer([value]))

    def measured(self, seconds: float, guard: Guard | None = None) -> dict[str, Trace]:
        """Measure the runner and the yardstick in turns."""
        traces: dict[str, Trace] = {}
        look = guard.look if guard else lambda traces, passed: False
        in_turns([self.subject(), yardstick()], traces, seconds=seconds, look=look)
        return traces

    def by_benchmark_app(self, seconds: float) -> float:
        """Return the median in ms."""
        # It takes a number of threads only without a hint; one stream is what the hint gives.
        own = ("-hint", "none", "-nstreams", "1", "-nthreads", str(self.threads))
        return by_benchmark_app(self.file, seconds, *own)


def write_chain(layers: int, threads: int, folder: Path) -> Chain:
    """Write a chain of matrix products as an OpenVINO model."""
    rng = np.random.default_rng(0)
    entry = ops.parameter([ROWS * threads, WIDTH], np.float32, name="input")
    node = entry
    for _ in range(layers):
        weights = rng.normal(0, WIDTH**-0.5, (WIDTH, WIDTH)).astype(np.float32)
        node = ops.tanh(ops.matmul(node, ops.constant(weights), False, False))
    file = folder / f"{layers}-{threads}.xml"
    ov.save_model(ov.Model([node], [entry], "chain"), file, compress_to_fp16=False)
    return Chain(file, threads)


def main(words: list[str] | None = None) -> list[Target]:
    """Print the tables; return the targets."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, usable_cpus()])
    parser.add_argument("--runs", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--benchmark-app-runs", type=int, default=40)
    given = parser.parse_args(words)
    found: list[Target] = []
    burner = subprocess.Popen([sys.executable, "-c", BURN])
    try:
        for threads in dict.fromkeys(given.threads):
            said = compare(threads, given.runs, given.seconds, given.benchmark_app_runs)
            found += found_5_percent(said, threads)
    finally:
        burner.kill()
        burner.wait()
    return found


def compare(threads: int, runs: int, seconds: float, app_runs: int) -> dict[str, Counter[str]]:
    """Print and count the answers: runner → answer → runs.

    "above", "below" and "not known" are the guard's. "app" counts runs of benchmark_app, "app
    above" those above the limit.
    """
    with tempfile.TemporaryDirectory() as folder:
        chains = {
            "equal": write_chain(20, threads, Path(folder)),
            "slower": write_chain(21, threads, Path(folder)),
        }
        before = chains["equal"].measured(seconds)
        stored = StoredLatencies(*(tuple(trace.latencies_ms) for trace in before.values()))
        stored_app = chains["equal"].by_benchmark_app(seconds) if app_runs else 0.0
        said: dict[str, Counter[str]] = {name: Counter() for name in chains}
        print(f"\nOn {counted(threads, 'thread')}, {before['chain'].median_ms:.1f} ms:\n")
        print("| run | runner | bench: ratio | answer | decided after | benchmark_app: ratio |")
        print("| ---: | --- | ---: | --- | ---: | ---: |")
        for run in range(runs):
            for name, chain in chains.items():
                guard = Guard("chain", stored, LIMIT)
                started = time.monotonic()
                chain.measured(seconds, guard)
                took_s = time.monotonic() - started
                answer = guard.verdict or "not known"
                said[name][answer] += 1
                shown = "–"
                if run < app_runs:
                    app = chain.by_benchmark_app(seconds) / stored_app
                    said[name]["app"] += 1
                    said[name]["app above"] += app > LIMIT
                    shown = f"{app:.3f}"
                ratio = f"{guard.ratio.value:.3f}" if guard.ratio else "–"
                cells = (str(run), name, ratio, answer, f"{took_s:.0f} s", shown)
                print(f"| {' | '.join(cells)} |", flush=True)
    return said


def found_5_percent(said: Mapping[str, Counter[str]], threads: int) -> list[Target]:
    """Print a table; return the targets.

    Args:
        said: "slower" and "equal" → answer → how often.
        threads: Of the runner.
    """
    verdicts = ("above", "below", "not known")
    runs = {name: sum(map(answers.__getitem__, verdicts)) for name, answers in said.items()}
    rows = (
        [name, *(f"{answers[one]} of {runs[name]}" for one in verdicts),
         f"{answers['app above']} of {answers['app']}"]
        for name, answers in said.items()
    )  # fmt: skip
    heads = ["runner", "bench: slower", "bench: not slower", "bench: not known"]
    table([*heads, "benchmark_app: slower"], rows)
    on = f"on {counted(threads, 'thread')}"
    slower = {name: one["above"] for name, one in said.items()}
    return [
        Target(
            f"slower by 5 % {on}: found", slower["slower"], FOUND * runs["slower"], at_least=True
        ),
        Target(f"equal {on}: accused", slower["equal"], ACCUSED * runs["equal"]),
    ]


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: the burner ends
    sys.exit(not judged(main()))
