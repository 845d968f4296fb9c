"""Ask a bundle's engines, or the way from file to result, as a scenario asks.

A single stream is `benchmark.Benchmark`. Several streams at once, and streams that are kept busy,
take turns by configuration; random arrivals and a scanner's series come to one after the other.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from darnet_trt.bundle.reading import Bundle
from darnet_trt.errors import counted
from darnet_trt.runtime.bench.file_to_result.from_file import FromFile
from darnet_trt.runtime.bench.report.building import configuration
from darnet_trt.runtime.bench.report.schema import (
    Arrivals,
    BenchReport,
    Configuration,
    MeasuredEngine,
)
from darnet_trt.runtime.bench.report.session import Session, lasting
from darnet_trt.runtime.bench.scenarios import Scenario
from darnet_trt.runtime.bench.scenarios.batches import batches_of, volumes
from darnet_trt.runtime.bench.scenarios.burst import Burst
from darnet_trt.runtime.bench.scenarios.clock import Ask
from darnet_trt.runtime.bench.scenarios.engines import Streams
from darnet_trt.runtime.bench.scenarios.limit import Limit
from darnet_trt.runtime.bench.scenarios.multi_stream import MultiStream
from darnet_trt.runtime.bench.scenarios.peak import (
    PeakResult,
    Trial,
    peak_result,
    search,
    too_short,
)
from darnet_trt.runtime.bench.scenarios.server import Ended, server, server_result
from darnet_trt.runtime.bench.statistics.warmup import warm_up
from darnet_trt.runtime.bench.subject import Subject, Trace, latencies_ms
from darnet_trt.runtime.bench.turns import WARM_UP_SHARE, in_turns, warm
from darnet_trt.runtime.engines.loading import Engine
from darnet_trt.runtime.engines.runner import runs_on_gpu
from darnet_trt.runtime.serving.settings import DicomSettings, Settings

if TYPE_CHECKING:
    from pydicom import Dataset

IN_TURNS: Final = ("multi-stream", "offline")
"""The scenarios here whose configurations take turns."""
_LEAST_S: Final = 0.01
"""Of random arrivals, where the warm-up took all the time."""
_KEEP_S: Final = 60.0
"""How long the service of a burst keeps a study: long runs fill no disk."""


@dataclass(frozen=True)
class Asked:
    """A scenario and its numbers.

    Attributes:
        scenario: Any but "single-stream".
        batches: Volumes in a query of a stream; engines that do not take so many go without.
        scan: From files to result instead of engine only; a burst's series.
        slices: Of a burst, from `read_series`.
        rate_per_s: Of "server": queries a second.
        limit: Of "server", instead: to be met.
    """

    scenario: Scenario
    batches: Sequence[int] = (1,)
    scan: Path | None = None
    slices: Sequence[Dataset] = ()
    rate_per_s: float | None = None
    limit: Limit | None = None


@dataclass(eq=False)
class _Entry:
    """A configuration while it is measured."""

    name: str
    engine: str
    asks: Sequence[Ask] = ()
    scans: int = 1
    on_gpu: bool = False
    trials: list[Trial] = field(default_factory=list)
    ended: Ended = "done"
    burst: Burst | None = None


class ScenarioRun:
    """A scenario that `measure` runs, and `report` tells at any time; as `Benchmark`.

    Args:
        bundle: From `open_bundle`.
        engines: From `load_streams`; those of a burst are closed, for its service loads its own.
        asked: The scenario.
        threads: As the engines were loaded.
        command: The command line, for the report.
        notify: Called with what is measured next.
        warn: Called with a line.

    Attributes:
        traces: All queries, by the names of the configurations.

    Raises:
        UsageError: No engine takes such batches.
    """

    def __init__(
        self,
        bundle: Bundle,
        engines: Streams,
        asked: Asked,
        *,
        threads: int | None = None,
        command: str = "",
        notify: Callable[[str], None] = lambda line: None,
        warn: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.traces: dict[str, Trace] = {}
        self._bundle, self._asked, self._threads = bundle, asked, threads
        self._notify, self._warn = notify, warn
        first = {name: next(iter(of.values()))[0] for name, of in engines.items()}
        self._engines = [_about(name, engine) for name, engine in first.items()]
        if asked.scenario == "burst":
            for engine in first.values():
                engine.runner.close()
            self._entries = [_Entry(f"{name} service", name) for name in first]
        else:
            runners = {name: engine.runner for name, engine in first.items()}
            taken = batches_of(runners, asked.batches, notify)
            self._entries = [
                self._entry(name, batch, one)
                for name, by_count in engines.items()
                for one in by_count.values()
                for batch in taken[name]
            ]
        gpu = any(runs_on_gpu(engine.runner) for engine in first.values())
        self._session = Session(bundle, scan=asked.scan, threads=threads, command=command, gpu=gpu)

    def _entry(self, name: str, batch: int, engines: Sequence[Engine]) -> _Entry:
        asked = self._asked
        named = f"{name} {counted(len(engines), 'stream')}"
        if tuple(asked.batches) != (1,):
            named += f" batch {batch}"
        asks: list[Ask]
        if asked.scan is None:
            of_random = volumes(self._bundle, batch)
            asks = [partial(one.runner.infer, of_random) for one in engines]
        else:
            named += " from file"
            ways = (FromFile(named, self._bundle, asked.scan, one) for one in engines)
            asks = [way.whole_run for way in ways]
        scans = batch * len(engines) if asked.scenario == "multi-stream" else batch
        return _Entry(named, name, asks, scans, runs_on_gpu(engines[0].runner))

    def measure(self, *, seconds: float | None = None, rounds: int | None = None) -> None:
        """Measure everything.

        Args:
            seconds: For each configuration, warm-up included.
            rounds: Turns of each, where `seconds` is None; of scenarios in turns alone.

        Raises:
            ScanError: The scan cannot be classified.
            UsageError: `scan` holds more than one scan.
            DarnetError: The service of a burst cannot start.
        """
        for entry in self._entries:
            # Two threads whose first call of OpenVINO comes at the same time wait for each other
            # without end: one holds Python's lock, the other that of a static variable.
            for ask in entry.asks:
                ask()
        with self._session.watch as watch, ExitStack() as opened:
            if self._asked.scenario in IN_TURNS:
                names = ", ".join(entry.name for entry in self._entries)
                whole = math.inf if seconds is None else seconds * len(self._entries)
                self._notify(f"measuring in turns, {lasting(whole, rounds)}: {names}")
                in_turns(
                    [self._subject(entry, opened) for entry in self._entries],
                    self.traces,
                    seconds=whole,
                    rounds=rounds,
                    meter=watch.energy,
                )
                return
            assert seconds is not None
            for entry in self._entries:
                self._notify(f"measuring {entry.name}, {lasting(seconds)}")
                trace = self.traces[entry.name] = Trace(entry.name, entry.scans)
                if self._asked.scenario == "burst":
                    self._replay(entry, trace, seconds)
                elif self._asked.limit is not None:
                    self._search(entry, trace, self._asked.limit, seconds)
                else:
                    self._serve(entry, trace, seconds)

    def _subject(self, entry: _Entry, opened: ExitStack) -> Subject:
        if self._asked.scenario == "offline":
            return Subject(entry.name, entry.asks[0], entry.scans, entry.on_gpu, streams=entry.asks)
        together = opened.enter_context(MultiStream(entry.asks))
        return Subject(entry.name, together, entry.scans, entry.on_gpu)

    def _serve(self, entry: _Entry, trace: Trace, seconds: float) -> None:
        rate_per_s = self._asked.rate_per_s
        assert rate_per_s is not None
        until = time.perf_counter() + seconds
        subject = Subject(entry.name, entry.asks[0], streams=entry.asks)
        warm([subject], self.traces, time.perf_counter() + seconds * WARM_UP_SHARE)
        left = max(until - time.perf_counter(), _LEAST_S)
        entry.ended = server(entry.asks, trace.queries, rate_per_s=rate_per_s, seconds=left)

    def _search(self, entry: _Entry, trace: Trace, limit: Limit, seconds: float) -> None:
        def begins(capacity_per_s: float) -> None:
            trace.settled = warm_up(latencies_ms(trace.warm_up)).settled
            if line := too_short(limit, capacity_per_s, seconds):
                self._warn(f"warning: {entry.name}: {line}")

        search(entry.asks, trace, entry.trials, limit, seconds=seconds, begins=begins)

    def _replay(self, entry: _Entry, trace: Trace, seconds: float) -> None:
        trace.settled = True  # the service warms its engine itself
        asked = self._asked
        assert asked.scan is not None
        until = time.perf_counter() + seconds
        with TemporaryDirectory(prefix="darnet-trt-bench-") as folder:
            settings = Settings(
                self._bundle.path,
                Path(folder, "state"),
                artifact=entry.engine,
                threads=self._threads,
                dicom=DicomSettings(port=0),
                keep_s=_KEEP_S,
            )
            with Burst(settings, asked.scan, asked.slices) as entry.burst:
                while not trace.queries or time.perf_counter() < until:
                    trace.queries.append(entry.burst.replay(len(trace.queries)))

    @property
    def has_measured(self) -> bool:
        """Return whether there is something to report."""
        return any(trace.queries for trace in self.traces.values())

    def report(self, *, interrupted: bool = False) -> BenchReport:
        """Return what was measured so far, which is something."""
        traces = {
            entry.name: self.traces.get(entry.name, Trace(entry.name, entry.scans))
            for entry in self._entries
        }
        return self._session.report(
            self._engines,
            [self._configuration(entry, traces) for entry in self._entries],
            interrupted=interrupted,
            scenario=self._asked.scenario,
        )

    def _configuration(self, entry: _Entry, traces: Mapping[str, Trace]) -> Configuration:
        trace, arrivals = traces[entry.name], self._arrivals(entry, traces[entry.name])
        if self._asked.limit is not None:
            trace = _at_highest(trace, arrivals)
        return configuration(
            trace,
            traces[self._entries[0].name],
            engine=entry.engine,
            way="engine" if self._asked.scan is None else "file-to-result",
            streams=max(len(entry.asks), 1),
            arrivals=arrivals,
        )

    def _arrivals(self, entry: _Entry, trace: Trace) -> Arrivals | None:
        if self._asked.limit is not None and entry.trials:
            return peak_result(entry.trials, self._asked.limit)
        if not trace.queries:
            return None
        if entry.burst is not None:
            return entry.burst.result(trace)
        rate_per_s = self._asked.rate_per_s
        if rate_per_s is None:
            return None
        streams = len(entry.asks)
        return server_result(trace, rate_per_s=rate_per_s, streams=streams, ended=entry.ended)


def _about(name: str, engine: Engine) -> MeasuredEngine:
    runner = engine.runner
    return MeasuredEngine(
        name=name,
        warnings=engine.warnings,
        precision=runner.precision,
        provenance=runner.provenance,
    )


def _at_highest(trace: Trace, found: Arrivals | None) -> Trace:
    """Return the trace with the queries of the highest rate that met the limit alone."""
    queries = []
    if isinstance(found, PeakResult) and found.rate_per_s is not None:
        rates = [trial.rate_per_s for trial in found.trials]
        best = rates.index(found.rate_per_s)
        queries = [query for query in trace.queries if query.turn == best]
    return replace(trace, queries=queries)
