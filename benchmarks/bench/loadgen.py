"""Hold `bench` against MLPerf's load generator: the same queries, in turns, in one process.

    python -m benchmarks.bench.loadgen [--short] [--rounds 7] [--seconds 6] [--bundle BUNDLE]

A single stream and the server's highest rate, on a stub of known delay and on an engine: BUNDLE's
one for OpenVINO, or a single convolution. Also what `bench` itself takes for a query that
does nothing. Of a simulated queue with a fixed service, the highest rate that 1,000 queries at each
rate tried give scatters by 4 % from round to round. `--short` only shows that it works. It
needs mlcommons-loadgen (the extra dev).
"""

import argparse
import json
import math
import queue
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import mlperf_loadgen
import numpy as np

from benchmarks.bench.engine import SHORT_VOLUME, VOLUME, engine
from benchmarks.bench.targets import Agreement, Target, compared, judged
from darnet_trt.runtime.bench.scenarios.limit import Limit
from darnet_trt.runtime.bench.scenarios.multi_stream import MultiStream
from darnet_trt.runtime.bench.scenarios.offline import offline
from darnet_trt.runtime.bench.scenarios.peak import Trial, peak_result, search
from darnet_trt.runtime.bench.subject import Query, Subject, Trace
from darnet_trt.runtime.bench.turns import in_turns

PERCENTS = (50, 90, 99)
SERVER_PERCENT = 90
SERVER_SERVICES = 3.0
"""The server's limit, in service times: with a fixed service, 0.59 of the capacity meets it."""
START, STEP = 0.3, 0.4
"""The load generator's search starts at this share of the capacity, and rises by such steps."""
SAME = 0.02
SAME_RATE = 0.05
MOST_OVERHEAD_US = 50.0

Ask = Callable[[], object]


@dataclass(frozen=True)
class Size:
    """Say what to measure, and how long.

    Attributes:
        stub_ms: The stub's delay in a single stream.
        server_stub_ms: And where queries come at random: so short that many do.
        volume: What the convolution takes, (d, h, w), in a single stream.
        server_volume: And where queries come at random.
        rounds: Of each.
        seconds: Of `bench`'s single stream, in each round.
        server_queries: Of each rate that the load generator tries.
    """

    stub_ms: float
    server_stub_ms: float
    volume: tuple[int, int, int]
    server_volume: tuple[int, int, int]
    rounds: int
    seconds: float
    server_queries: int


FULL = Size(10.0, 2.0, VOLUME, (64, 80, 80), 7, 6.0, 1000)
SHORT = Size(1.0, 1.0, SHORT_VOLUME, SHORT_VOLUME, 1, 0.2, 20)
STUB = "stub"


def main(words: list[str] | None = None) -> list[Target]:
    """Print the table; return the targets."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--bundle", type=Path, help="its OpenVINO engine, not the convolution")
    parser.add_argument("--rounds", type=int, default=FULL.rounds)
    parser.add_argument("--seconds", type=float, default=FULL.seconds, help="of a single stream")
    parser.add_argument("--server-queries", type=int, default=FULL.server_queries,
                        help="of each rate that the load generator tries")  # fmt: skip
    parser.add_argument("--short", action="store_true")
    given = parser.parse_args(words)
    size = replace(
        FULL, rounds=given.rounds, seconds=given.seconds, server_queries=given.server_queries
    )
    if given.short:
        size = SHORT
    targets = compared("load generator", rows(given.bundle, size))
    for what, overhead_us, most_us in overheads():
        what = f"bench's overhead of a query, {what}"
        if most_us is None:
            print(f"\n{what}: {overhead_us:.1f} µs")
        else:
            targets.append(Target(what, overhead_us, most_us, unit=" µs"))
    return targets


def rows(bundle: Path | None, size: Size) -> Iterator[Agreement]:
    """Measure the stub and the engine."""
    yield from single_stream(STUB, stub(size.stub_ms), size)
    yield server_rate(STUB, stub(size.server_stub_ms), size)
    with engine(bundle, size.volume) as loaded:
        yield from single_stream(loaded.name, loaded.ask, size)
    with engine(bundle, size.server_volume) as loaded:
        yield server_rate(loaded.name, loaded.ask, size)


def stub(delay_ms: float) -> Ask:
    """Return a query that takes so long: it sleeps, and spins for what a sleep cannot hit.

    It releases Python's lock meanwhile, as an engine does, so that the load generator's thread can
    bring the next query.
    """

    def ask() -> None:
        until = time.perf_counter_ns() + round(delay_ms * 1e6)
        time.sleep(max(delay_ms - 0.5, 0) / 1e3)
        while time.perf_counter_ns() < until:
            time.sleep(0)

    return ask


def single_stream(name: str, ask: Ask, size: Size) -> list[Agreement]:
    """Measure one query after the other with both, in turns, as many queries with each."""
    theirs: dict[int, list[float]] = {percent: [] for percent in PERCENTS}
    ours: dict[int, list[float]] = {percent: [] for percent in PERCENTS}
    for number in range(size.rounds):
        count = 0
        for turn in ("bench", "loadgen") if number % 2 == 0 else ("loadgen", "bench"):
            if turn == "bench":
                latencies = bench_single_stream(name, ask, size.seconds)
                count = len(latencies)
                for percent in PERCENTS:
                    ours[percent].append(float(np.percentile(latencies, percent)))
            else:
                count = count or round(size.seconds / seconds_of(ask))
                for percent, found_ms in loadgen_single_stream(ask, count).items():
                    theirs[percent].append(found_ms)
    known = name == STUB
    return [
        Agreement(
            f"{name}, p{one} in ms", theirs[one], ours[one], SAME if one < 99 or known else None
        )
        for one in PERCENTS
    ]


def bench_single_stream(name: str, ask: Ask, seconds: float) -> list[float]:
    """Return the latencies in ms."""
    traces: dict[str, Trace] = {}
    in_turns([Subject(name, ask)], traces, seconds=seconds)
    return traces[name].latencies_ms


def loadgen_single_stream(ask: Ask, count: int) -> dict[int, float]:
    """Return percent → latency in ms, of exactly so many queries."""
    settings = mlperf_loadgen.TestSettings()
    settings.scenario = mlperf_loadgen.TestScenario.SingleStream
    settings.mode = mlperf_loadgen.TestMode.PerformanceOnly
    settings.min_duration_ms = 0
    settings.min_query_count = settings.max_query_count = count

    def issue(samples: list[Any]) -> None:
        for sample in samples:
            ask()
            answered(sample.id)

    found = started(settings, issue)
    assert found["result_query_count"] == count, found
    return {one: found[f"result_{one}.00_percentile_latency_ns"] / 1e6 for one in PERCENTS}


def server_rate(name: str, ask: Ask, size: Size) -> Agreement:
    """Search the highest rate with both, in turns; `bench` takes as long as the load generator.

    A round in which one of them finds none does not count.
    """
    service_s = seconds_of(ask)
    limit = Limit(latency_ms=SERVER_SERVICES * service_s * 1e3, percent=SERVER_PERCENT)
    found = []
    for number in range(size.rounds):
        begun = time.perf_counter()
        theirs = loadgen_rate(ask, limit, 1 / service_s, size.server_queries, number)
        ours = bench_rate(name, ask, limit, time.perf_counter() - begun, number)
        if theirs > 0 and ours > 0:
            found.append((theirs, ours))
    what = f"{name}, highest rate a second with p{SERVER_PERCENT} ≤ {limit.latency_ms:.1f} ms"
    if lost := size.rounds - len(found):
        what += f" ({lost} of {size.rounds} rounds found none)"
    return Agreement(what, *zip(*found or [(math.nan, math.nan)], strict=True), SAME_RATE)


def bench_rate(name: str, ask: Ask, limit: Limit, seconds: float, seed: int) -> float:
    """Return the highest rate per second; NaN where there is none."""
    trials: list[Trial] = []
    search([ask], Trace(name), trials, limit, seconds=seconds, seed=1000 * seed)
    return peak_result(trials, limit).rate_per_s or math.nan


def loadgen_rate(ask: Ask, limit: Limit, capacity_per_s: float, count: int, seed: int) -> float:
    """Return the highest rate per second that the load generator finds.

    NaN where the one that it starts from does not meet the limit.
    """
    settings = mlperf_loadgen.TestSettings()
    settings.scenario = mlperf_loadgen.TestScenario.Server
    settings.mode = mlperf_loadgen.TestMode.FindPeakPerformance
    settings.min_duration_ms = 0
    settings.min_query_count = settings.max_query_count = count
    settings.schedule_rng_seed = seed
    settings.server_target_qps = START * capacity_per_s
    settings.server_target_latency_ns = round(limit.latency_ms * 1e6)
    settings.server_target_latency_percentile = limit.percent / 100
    settings.server_find_peak_qps_decimals_of_precision = 0
    settings.server_find_peak_qps_boundary_step_size = STEP
    with working(ask) as issue:
        return float(started(settings, issue).get("peak", "nan"))


@contextmanager
def working(ask: Ask) -> Iterator[Callable[[list[Any]], None]]:
    """Answer queries in a thread, in their order."""
    waiting: queue.SimpleQueue[int | None] = queue.SimpleQueue()

    def work() -> None:
        while (sample := waiting.get()) is not None:
            ask()
            answered(sample)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield lambda samples: [waiting.put(sample.id) for sample in samples] and None
    finally:
        waiting.put(None)
        thread.join()


def answered(sample: int) -> None:
    """Tell the load generator that a sample is answered."""
    mlperf_loadgen.QuerySamplesComplete([mlperf_loadgen.QuerySampleResponse(sample, 0, 0)])


def started(settings: Any, issue: Callable[[list[Any]], None]) -> dict[str, Any]:
    """Run the load generator; return what it logs, and its peak rate under "peak"."""
    peak = "FindPeakPerformance: Found peak performance field: "
    sut = mlperf_loadgen.ConstructSUT(issue, lambda: None)
    library = mlperf_loadgen.ConstructQSL(1, 1, lambda loaded: None, lambda unloaded: None)
    found: dict[str, Any] = {}
    try:
        with TemporaryDirectory() as folder:
            output = mlperf_loadgen.LogOutputSettings()
            output.outdir = folder
            logs = mlperf_loadgen.LogSettings()
            logs.log_output, logs.enable_trace = output, False
            mlperf_loadgen.StartTestWithLogSettings(sut, library, settings, logs)
            for line in (Path(folder) / "mlperf_log_detail.txt").read_text().splitlines():
                entry = json.loads(line.removeprefix(":::MLLOG "))
                found[entry["key"]] = entry["value"]
                if str(entry["value"]).startswith(peak):
                    found["peak"] = entry["value"].removeprefix(peak)
    finally:
        mlperf_loadgen.DestroyQSL(library)
        mlperf_loadgen.DestroySUT(sut)
    return found


def seconds_of(ask: Ask) -> float:
    """Return the median time of a query, after a few."""
    taken: list[Query] = []
    offline([ask], taken, seconds=0.2)
    return statistics.median(one.done_ns - one.started_ns for one in taken) / 1e9


def overheads() -> Iterator[tuple[str, float, float | None]]:
    """Yield the scenario, the time that it takes for a query that does nothing, and its goal."""
    traces: dict[str, Trace] = {}
    in_turns([Subject("nothing", lambda: None)], traces, rounds=1)
    yield "single stream", per_query_us(traces["nothing"].queries), MOST_OVERHEAD_US
    taken: list[Query] = []
    offline([lambda: None], taken, seconds=0.2)
    yield "offline", per_query_us(taken), MOST_OVERHEAD_US
    with MultiStream([lambda: None] * 2) as together:
        in_turns([Subject("both", together)], traces, rounds=1)
    yield "two streams at once", per_query_us(traces["both"].queries), None


def per_query_us(queries: list[Query]) -> float:
    """Return the mean time from one query's start to the next one's."""
    return (queries[-1].started_ns - queries[0].started_ns) / (len(queries) - 1) / 1e3


if __name__ == "__main__":
    sys.exit(not judged(main()))
