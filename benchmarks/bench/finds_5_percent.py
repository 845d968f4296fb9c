"""Measure whether `bench` finds that an engine has become 5 % slower, beside a busy process.

    python -m benchmarks.bench.finds_5_percent [--runs 40] [--seconds 30] [--no-benchmark-app]

The engine is a chain of 20 matrix products in OpenVINO, some 20 ms; the slower one has 21. Another
process burns one CPU in bursts of 0.2 to 2 s, half of the time. One baseline is stored; then slower
and equal engines take turns, each measured against it with `--fail-above 1.025` until the answer is
known or the time is up. Beside it stands what the ratio of two medians says, each by OpenVINO's
benchmark_app over the same time: slower, where it is above 1.025.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import openvino as ov
from openvino import opset13 as ops

from benchmarks.bench.benchmark_app import by_benchmark_app
from benchmarks.bench.targets import Target, judged, table
from darnet_trt.runtime.bench.regression.baseline import Turns
from darnet_trt.runtime.bench.regression.guard import Guard
from darnet_trt.runtime.bench.regression.yardstick import YARDSTICK, yardstick
from darnet_trt.runtime.bench.subject import Subject, Trace
from darnet_trt.runtime.bench.turns import in_turns

LIMIT = 1.025
FOUND, ACCUSED = 0.95, 0.05
"""Shares of runs: slowed ones that are found, at least; equal ones that are accused, at most."""
WIDTH, ROWS = 1024, 128
BURN = """
import random, time
while True:
    time.sleep(random.uniform(0.2, 2))
    until = time.perf_counter() + random.uniform(0.2, 2)
    while time.perf_counter() < until:
        pass
"""


def write_model(layers: int, file: Path) -> None:
    """Write a chain of matrix products as an OpenVINO model."""
    rng = np.random.default_rng(0)
    entry = ops.parameter([ROWS, WIDTH], np.float32, name="input")
    node = entry
    for _ in range(layers):
        weights = rng.normal(0, WIDTH**-0.5, (WIDTH, WIDTH)).astype(np.float32)
        node = ops.tanh(ops.matmul(node, ops.constant(weights), False, False))
    ov.save_model(ov.Model([node], [entry], "chain"), file, compress_to_fp16=False)


def subject(file: Path) -> Subject:
    """Return the engine of a model."""
    compiled = ov.Core().compile_model(
        file, "CPU", {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    )
    request = compiled.create_infer_request()
    value = np.random.default_rng(1).random((ROWS, WIDTH), np.float32)
    return Subject("chain", lambda: request.infer([value]))


def measured(file: Path, seconds: float, guard: Guard | None = None) -> dict[str, Trace]:
    """Measure an engine and the yardstick in turns."""
    traces: dict[str, Trace] = {}
    look = guard.look if guard else lambda traces, passed: False
    in_turns([subject(file), yardstick()], traces, seconds=seconds, look=look)
    return traces


def main(words: list[str] | None = None) -> list[Target]:
    """Print the tables; return the targets."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--no-benchmark-app", action="store_true")
    arguments = parser.parse_args(words)
    runs, with_app = arguments.runs, not arguments.no_benchmark_app
    burner = subprocess.Popen([sys.executable, "-c", BURN])
    try:
        said = compare(runs, arguments.seconds, with_app=with_app)
    finally:
        burner.kill()
        burner.wait()
    return found_5_percent(said, runs)


def compare(runs: int, seconds: float, *, with_app: bool) -> dict[str, Counter[str]]:
    """Print and count the answers: engine → answer → runs."""
    with tempfile.TemporaryDirectory() as folder:
        files = {"equal": Path(folder, "20.xml"), "slower": Path(folder, "21.xml")}
        write_model(20, files["equal"])
        write_model(21, files["slower"])
        before = measured(files["equal"], seconds)
        stored = Turns(*(tuple(trace.turn_lows_ms().tolist()) for trace in before.values()))
        stored_app = by_benchmark_app(files["equal"], seconds) if with_app else 0.0
        said: dict[str, Counter[str]] = {name: Counter() for name in files}
        print("| run | engine | bench: ratio | answer | of the time | benchmark_app: ratio |")
        print("| ---: | --- | ---: | --- | ---: | ---: |")
        for run in range(runs):
            for name, file in files.items():
                guard = Guard("chain", stored, LIMIT)
                traces = measured(file, seconds, guard)
                answer = guard.verdict or "not known"
                said[name][answer] += 1
                rounds = traces[YARDSTICK].turns
                app = by_benchmark_app(file, seconds) / stored_app if with_app else None
                if app is not None:
                    said[name]["app above"] += app > LIMIT
                ratio = f"{guard.ratio.value:.3f}" if guard.ratio else "–"
                shown = "–" if app is None else f"{app:.3f}"
                print(f"| {run} | {name} | {ratio} | {answer} | {rounds} | {shown} |", flush=True)
    return said


def found_5_percent(said: Mapping[str, Mapping[str, int]], runs: int) -> list[Target]:
    """Print a table; return the targets.

    Args:
        said: "slower" and "equal" → answer → how often.
        runs: Of each.
    """
    above = {name: answers.get("above", 0) for name, answers in said.items()}
    rows = (
        [f"{name}, {runs} runs", str(above[name]), str(answers.get("app above", 0))]
        for name, answers in said.items()
    )
    table(["called slower", "by bench", "by benchmark_app"], rows)
    return [
        Target("slower by 5 %: found", above["slower"], FOUND * runs, at_least=True),
        Target("equal: accused", above["equal"], ACCUSED * runs),
    ]


if __name__ == "__main__":
    sys.exit(not judged(main()))
