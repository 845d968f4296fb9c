"""Measure start-up and memory in new `darnet-trt predict` processes."""

from __future__ import annotations

import json
import math
import sys
import time
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple

from darnet_trt.bundle.reading import Bundle
from darnet_trt.errors import BundleError
from darnet_trt.machine.processes import run_child
from darnet_trt.runtime.bench.report.schema import ColdStart

PROCESSES: Final = 3
"""A single start depends on what else the machine did at that moment."""

# The process prints how long its engine took to load, its own VmHWM (KiB) and that of the process
# that reads scans for it: ru_maxrss, which a parent gets of its child, includes the parent's memory
# at the fork.
_PREDICT_AND_MEASURE: Final = """
import json, os, sys, time
from darnet_trt.cli.main import main
from darnet_trt.runtime.prediction import predict
load_engine = predict.load_engine
def timed(*given, **named):
    start = time.perf_counter()
    try:
        return load_engine(*given, **named)
    finally:
        found["load_ms"] = (time.perf_counter() - start) * 1000
found, predict.load_engine = {}, timed
try:
    main()
finally:
    peak = 0
    for process in ["self", *open(f"/proc/self/task/{os.getpid()}/children").read().split()]:
        status = dict(line.split(":", 1) for line in open(f"/proc/{process}/status"))
        peak += int(status["VmHWM"].split()[0])
    print(json.dumps(found | {"peak_kib": peak}), file=sys.stderr)
"""


def cold_start(bundle: Bundle, artifact: str, scan: Path, threads: int | None) -> ColdStart:
    """Predict one scan in three new `darnet-trt predict` processes, one after the other.

    Raises:
        BundleError: A process gave no result.
    """
    found = [_one_process(bundle, artifact, scan, threads) for _ in range(PROCESSES)]
    first_result, load, inference, peak = zip(*found, strict=True)
    return ColdStart(
        first_result_ms=median(first_result),
        load_ms=median(load),
        first_inference_ms=median(inference),
        peak_memory_mb=max(peak),
    )


class _Start(NamedTuple):
    first_result_ms: float
    load_ms: float
    first_inference_ms: float
    peak_memory_mb: float


def _one_process(bundle: Bundle, artifact: str, scan: Path, threads: int | None) -> _Start:
    words = ["predict", str(bundle.path), str(scan), "--artifact", artifact, "--json"]
    words += [] if threads is None else ["--threads", str(threads)]
    results: list[tuple[float, str]] = []

    def heard(stream: str, line: str) -> None:
        if stream == "stdout":
            results.append((time.perf_counter(), line))

    start = time.perf_counter()
    ended = run_child([sys.executable, "-c", _PREDICT_AND_MEASURE, *words], heard=heard)
    *lines, last = ended.stderr.strip().splitlines() or [""]
    if not results:
        raise BundleError(
            f"predict with {artifact} gave no result ({lines[-1] if lines else 'no reason'})",
            where=bundle.path,
        )
    (at, result), own = results[0], json.loads(last)
    infer_ms = json.loads(result)["stages_ms"]["infer"]
    # Both processes hold the input, in memory that they share.
    peak = own["peak_kib"] * 1024 - 4 * math.prod(bundle.manifest.preprocessing.size)
    return _Start((at - start) * 1000, own["load_ms"], infer_ms, peak / 1e6)
