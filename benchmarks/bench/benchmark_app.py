"""Hold `bench` against OpenVINO's benchmark_app: the same file, hint, precision and threads.

    python -m benchmarks.bench.benchmark_app [--short] [--bundle BUNDLE] [--rounds 16] [--seconds 5]

The engine is BUNDLE's one for OpenVINO, or a single convolution. In each round both measure
it for some seconds, one after the other; who is first changes. benchmark_app runs in a process of
its own; the hint gives both as many threads.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path

from benchmarks.bench.engine import SHORT_VOLUME, VOLUME, Engine, engine
from benchmarks.bench.targets import Agreement, Target, compared, judged
from darnet_trt.runtime.bench.subject import Subject, Trace
from darnet_trt.runtime.bench.turns import in_turns

SAME = 0.03
UNITS = {"ms": 1, "us": 1000}
"""In a ms."""
HINTS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16", "int8": "f32"}
"""As of `OpenVINORunner`: in int8 the hint is for what is not quantized."""


def by_benchmark_app(file: Path, seconds: float, *words: str, precision: str = "fp32") -> float:
    """Return the median latency in ms by OpenVINO's own tool, of single queries on the CPU.

    Args:
        file: The model.
        seconds: At least one.
        words: More of its options.
        precision: In which it runs.
    """
    app = Path(sys.executable).with_name("benchmark_app")
    command = [app, "-m", file, "-d", "CPU", "-hint", "latency", "-api", "sync"]
    command += ["-infer_precision", HINTS[precision], "-t", str(max(round(seconds), 1))]
    done = subprocess.run([*command, *words], capture_output=True, text=True, check=True)
    found = re.search(r"Median:\s+([\d.]+) (ms|us)", done.stdout)
    assert found is not None, done.stdout
    return float(found[1]) / UNITS[found[2]]


def main(words: list[str] | None = None) -> list[Target]:
    """Print the table; return the targets."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--rounds", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=5.0, help="for each, in each round")
    parser.add_argument("--short", action="store_true")
    given = parser.parse_args(words)
    volume = VOLUME
    if given.short:
        given.rounds, given.seconds, volume = 2, 1.0, SHORT_VOLUME
    with engine(given.bundle, volume) as loaded:
        theirs, ours = rounds_of(loaded, given.rounds, given.seconds)
    return compared("benchmark_app", [Agreement(f"{loaded.name}, ms", theirs, ours, SAME)])


def rounds_of(loaded: Engine, rounds: int, seconds: float) -> tuple[list[float], list[float]]:
    """Return benchmark_app's median of each round in ms, and that of `bench`."""
    size = ",".join(map(str, (1, 1, *loaded.runner.input_size)))
    words = ("-shape", f"[{size}]")
    theirs, ours = [], []
    for number in range(rounds):
        for turn in ("bench", "app") if number % 2 else ("app", "bench"):
            if turn == "app":
                precision = loaded.runner.precision
                theirs.append(by_benchmark_app(loaded.file, seconds, *words, precision=precision))
            else:
                traces: dict[str, Trace] = {}
                in_turns([Subject(loaded.name, loaded.ask)], traces, seconds=seconds)
                ours.append(traces[loaded.name].median_ms)
    return theirs, ours


if __name__ == "__main__":
    sys.exit(not judged(main()))
