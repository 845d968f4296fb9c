"""Measure how fast a bundle's engines are on a scan, with the code of `predict`.

Engines take turns (see `timing`); ratios are of medians within one run. Start-up and memory are
measured in a fresh `darnet-trt predict` process for each engine.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from statistics import median
from typing import Final

import numpy as np

from darnet_trt.bundle.reading import Bundle
from darnet_trt.errors import BundleError, Finding, ScanError, UsageError
from darnet_trt.machine.processes import run_child
from darnet_trt.runtime.bench.timing import Latency, in_turns
from darnet_trt.runtime.engines.loading import Engine
from darnet_trt.runtime.prediction.predict import predict
from darnet_trt.runtime.prediction.results.result import Result, StageTimes

# The first scan is read before an engine can run: in a batch of 8 that counts an eighth.
_BATCH: Final = 8
# A single start depends on what else the machine did at that moment.
_PROCESSES: Final = 3

# The process prints its own VmHWM (KiB) and that of the process that reads scans for it: ru_maxrss,
# which a parent gets of its child, includes the parent's memory at the fork.
_PREDICT_AND_PRINT_MEMORY: Final = """
import os, sys
from darnet_trt.cli.main import main
try:
    main()
finally:
    peak = 0
    for process in ["self", *open(f"/proc/self/task/{os.getpid()}/children").read().split()]:
        status = dict(line.split(":", 1) for line in open(f"/proc/{process}/status"))
        peak += int(status["VmHWM"].split()[0])
    print(peak, file=sys.stderr)
"""


def scan_in_turns(
    bundle: Bundle, scan: Path, engines: Mapping[str, Engine], rounds: int
) -> dict[str, tuple[Latency, dict[str, float]]]:
    """Time from files to result with loaded engines, in turns; with each stage's median in ms.

    Raises:
        ScanError: The scan cannot be classified.
        UsageError: `scan` holds more than one scan.
    """
    results: dict[str, list[Result]] = {name: [] for name in engines}

    def classify(name: str) -> None:
        results[name].append(_one(predict(bundle, [scan], engine=engines[name])))

    latencies = in_turns({name: partial(classify, name) for name in engines}, rounds)
    return {
        name: (latency, _stage_medians(results[name][1:])) for name, latency in latencies.items()
    }


def batch_ms_per_scan(bundle: Bundle, scan: Path, engine: Engine) -> float:
    """Return the wall time per scan when the same scan is predicted several times in one run."""
    start = time.perf_counter()
    count = sum(1 for _ in predict(bundle, [scan] * _BATCH, engine=engine, repeats=True))
    return (time.perf_counter() - start) * 1000 / count


def fresh_process(
    bundle: Bundle, artifact: str, scan: Path, threads: int | None
) -> tuple[float, float]:
    """Predict one scan in three new `darnet-trt predict` processes.

    Returns:
        The median time from the start of a process to its first result, in ms, and the largest
        resident memory, in units of 10^6 bytes.

    Raises:
        BundleError: A process gave no result.
    """
    found = [_one_process(bundle, artifact, scan, threads) for _ in range(_PROCESSES)]
    times_ms, peaks_mb = zip(*found, strict=True)
    return median(times_ms), max(peaks_mb)


def _one_process(
    bundle: Bundle, artifact: str, scan: Path, threads: int | None
) -> tuple[float, float]:
    words = ["predict", str(bundle.path), str(scan), "--artifact", artifact, "--json"]
    words += [] if threads is None else ["--threads", str(threads)]
    results_at: list[float] = []

    def heard(stream: str, line: str) -> None:
        if stream == "stdout":
            results_at.append(time.perf_counter())

    start = time.perf_counter()
    ended = run_child([sys.executable, "-c", _PREDICT_AND_PRINT_MEMORY, *words], heard=heard)
    *lines, peak = ended.stderr.strip().splitlines() or [""]
    if not results_at:
        raise BundleError(
            f"predict with {artifact} gave no result ({lines[-1] if lines else 'no reason'})",
            where=bundle.path,
        )
    return (results_at[0] - start) * 1000, int(peak) * 1024 / 1e6


def _one(results: Iterable[Result]) -> Result:
    first, *others = results
    if others:
        raise UsageError(
            f"--scan holds {1 + len(others)} scans", where=first.scan, do="name one of them"
        )
    if first.status != "ok":
        raise ScanError(Finding(first.code, f"{first.status}: {first.reason}"), where=first.scan)
    return first


def _stage_medians(results: list[Result]) -> dict[str, float]:
    return {
        stage: float(np.median([getattr(r.stages_ms, stage) for r in results]))
        for stage in StageTimes.model_fields
    }
