"""Benchmark a bundle: its engines, those they are compared with, and the way from file to result.

All configurations take turns in one process; start-up and memory are measured in new processes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from darnet_trt.bundle.reading import Bundle
from darnet_trt.runtime.bench import turns
from darnet_trt.runtime.bench.against.fidelity import Compared
from darnet_trt.runtime.bench.file_to_result.cold_start import PROCESSES, cold_start
from darnet_trt.runtime.bench.file_to_result.from_file import FromFile
from darnet_trt.runtime.bench.file_to_result.reading.measure import measure as measure_reading
from darnet_trt.runtime.bench.file_to_result.reading.models import Reading
from darnet_trt.runtime.bench.layers.layers import Layers
from darnet_trt.runtime.bench.layers.profile import profile
from darnet_trt.runtime.bench.regression.baseline import read_baseline, stored_latencies
from darnet_trt.runtime.bench.regression.guard import Guard, refuse_too_few
from darnet_trt.runtime.bench.regression.yardstick import YARDSTICK, yardstick
from darnet_trt.runtime.bench.report.building import configuration
from darnet_trt.runtime.bench.report.schema import (
    BenchReport,
    ColdStart,
    Configuration,
    MeasuredEngine,
    OnGpu,
    Way,
)
from darnet_trt.runtime.bench.report.session import Session, absolute, lasting
from darnet_trt.runtime.bench.scenarios.batches import batches_of, check_memory, volumes
from darnet_trt.runtime.bench.subject import Subject, Trace
from darnet_trt.runtime.engines.loading import Engine
from darnet_trt.runtime.engines.runner import Runner, runs_on_gpu
from darnet_trt.runtime.engines.tensorrt.runner import GpuTimes, TensorRTRunner

_PROFILE_S: Final = 10.0
"""Time for an engine with its profiler and without, in turns."""


@dataclass(eq=False)
class _Entry:
    """A configuration while it is measured."""

    subject: Subject
    engine: str
    way: Way = "engine"
    from_file: FromFile | None = None
    gpu_times: list[GpuTimes] = field(default_factory=list)


class Benchmark:
    """A benchmark that `measure` fills, and `report` tells at any time.

    Args:
        bundle: From `open_bundle`.
        loaded: Its engines; the first is the reference of the ratios.
        against: Other engines; engine time only.
        compared: How all engines answered the same inputs; None for a single engine.
        scan: One scan, for file to result, its way to the input, start-up and memory.
        batches: Volumes in a query; engines that do not take so many go without.
        layers: Whether to profile the bundle's engines, too.
        threads: As the engines were loaded; the new processes use as many.
        command: The command line, for the report.
        notify: Called with what is measured next.

    Attributes:
        traces: All queries, by the names of the configurations.

    Raises:
        UsageError: No engine takes such batches, or there is too little memory for one.
    """

    def __init__(
        self,
        bundle: Bundle,
        loaded: Sequence[Engine],
        *,
        against: Mapping[str, Runner] | None = None,
        compared: Compared | None = None,
        scan: Path | None = None,
        batches: Sequence[int] = (1,),
        layers: bool = False,
        threads: int | None = None,
        command: str = "",
        notify: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.traces: dict[str, Trace] = {}
        self._bundle, self._scan, self._threads = bundle, scan, threads
        self._notify = notify
        self._compared = Compared() if compared is None else compared
        self._engines = {engine.artifact.name: engine for engine in loaded}
        self._runners = {name: one.runner for name, one in self._engines.items()}
        self._runners |= against or {}
        self._cold: dict[str, ColdStart] = {}
        self._profiled = tuple(self._engines) if layers else ()
        self._layers: dict[str, Layers] = {}
        self._guard: Guard | None = None
        self._baseline = ""
        self._many_ms: dict[str, float] = {}
        self._reading: Reading | None = None
        taken = batches_of(self._runners, batches, notify)
        check_memory(bundle, self._runners, taken)
        self._entries = [
            self._of_engine(name, batch, count_it=len(batches) > 1 or batches[0] > 1)
            for name, own in taken.items()
            for batch in own
        ]
        if scan is not None:
            for name, engine in self._engines.items():
                way = FromFile(f"{name} from file", bundle, scan, engine)
                self._entries.append(_Entry(way.subject, name, "file-to-result", way))
        self._session = Session(
            bundle,
            scan=scan,
            threads=threads,
            command=command,
            gpu=any(entry.subject.on_gpu for entry in self._entries),
        )

    def _of_engine(self, name: str, batch: int, *, count_it: bool) -> _Entry:
        runner = self._runners[name]
        times: list[GpuTimes] = []
        subject = Subject(
            f"{name} batch {batch}" if count_it else name,
            partial(runner.infer, volumes(self._bundle, batch)),
            scans=batch,
            on_gpu=runs_on_gpu(runner),
            after=partial(_keep, times, runner) if isinstance(runner, TensorRTRunner) else _nothing,
        )
        return _Entry(subject, name, gpu_times=times)

    def measure(self, *, seconds: float | None = None, rounds: int | None = None) -> None:
        """Measure everything.

        Args:
            seconds: For each configuration, and for the way to the input; warm-up included.
            rounds: Turns of each of them, where `seconds` is None.

        Raises:
            ScanError: The scan cannot be classified.
            UsageError: `scan` holds more than one scan.
            BundleError: A new process gave no result.
        """
        count = len(self._entries)
        whole = math.inf if seconds is None else seconds * count
        names = ", ".join(entry.subject.name for entry in self._entries)
        self._notify(f"measuring in turns, {lasting(whole, rounds)}: {names}")
        with self._session.watch as watch:
            turns.in_turns(
                [*(entry.subject for entry in self._entries), yardstick()],
                self.traces,
                seconds=whole,
                rounds=rounds,
                meter=watch.energy,
                look=self._look,
            )
        if self._scan is not None:
            one = math.inf if seconds is None else seconds
            self._notify(f"reading the scan, {lasting(one, rounds)}")
            spec = self._bundle.manifest.preprocessing
            self._reading = measure_reading(self._scan, spec, seconds=one, rounds=rounds)
        for entry in self._entries:
            if entry.from_file is None:
                continue
            assert self._scan is not None
            name = entry.engine
            self._notify(f"a run of many scans and {PROCESSES} new processes of {name}")
            self._many_ms[name] = entry.from_file.many_ms_per_scan()
            self._cold[name] = cold_start(self._bundle, name, self._scan, self._threads)
        for name in self._profiled:
            self._notify(f"profiling {name}")
            self._layers[name] = profile(
                self._bundle, self._engines[name], self._threads, _PROFILE_S
            )

    def report(self, *, interrupted: bool = False) -> BenchReport:
        """Return what was measured so far, of which the first configuration is a part."""
        return self._session.report(
            [self._about(name) for name in self._runners],
            [self._configuration(entry) for entry in self._entries],
            interrupted=interrupted,
            yardstick_ms=tuple(self.traces[YARDSTICK].latencies_ms),
            baseline=None if self._guard is None else self._guard.comparison(self._baseline),
            answers=self._compared.answers,
            left_out=self._compared.left_out,
            reading=self._reading,
        )

    def _look(self, traces: Mapping[str, Trace], passed: float) -> bool:
        return self._guard is not None and self._guard.look(traces, passed)

    def guard(self, baseline: Path, fail_above: float) -> None:
        """Compare the first configuration with a stored measurement, until the answer is known.

        Args:
            baseline: As of `read_baseline`.
            fail_above: A larger ratio of times is slower.

        Raises:
            UsageError: It cannot be read, is of another machine or configuration, or has too few
                queries.
        """
        first = self._entries[0].subject
        before = stored_latencies(
            read_baseline(baseline), first.name, self._threads, on_gpu=first.on_gpu
        )
        refuse_too_few(before)
        self._guard = Guard(first.name, before, fail_above)
        self._baseline = absolute(baseline)

    @property
    def has_measured(self) -> bool:
        """Return whether there is something to report."""
        first = self.traces.get(self._entries[0].subject.name)
        return first is not None and bool(first.queries)

    def _configuration(self, entry: _Entry) -> Configuration:
        trace = self.traces[entry.subject.name]
        stages = None
        if entry.from_file is not None and trace.queries:
            stages = entry.from_file.stage_medians_ms(trace)
        first = self.traces[self._entries[0].subject.name]
        return configuration(trace, first, engine=entry.engine, way=entry.way, stages_ms=stages)

    def _about(self, name: str) -> MeasuredEngine:
        runner = self._runners[name]
        entry = next((e for e in self._entries if e.engine == name and e.gpu_times), None)
        return MeasuredEngine(
            name=name,
            warnings=(
                self._engines[name].warnings
                if name in self._engines
                else self._compared.warnings.get(name, ())
            ),
            precision=runner.precision,
            provenance=runner.provenance,
            cold_start=self._cold.get(name),
            many_ms_per_scan=self._many_ms.get(name),
            layers=self._layers.get(name),
            fidelity=self._compared.fidelity.get(name),
            on_gpu=None if entry is None else _medians(entry, self.traces[entry.subject.name]),
        )


def _keep(times: list[GpuTimes], runner: TensorRTRunner) -> None:
    times.append(runner.gpu_times())


def _nothing() -> None:
    pass


def _medians(entry: _Entry, trace: Trace) -> OnGpu | None:
    measured = trace.measured(entry.gpu_times)
    if not measured:
        return None
    to_gpu, compute, to_host = np.median(measured, axis=0).tolist()
    return OnGpu(to_gpu_ms=to_gpu, compute_ms=compute, to_host_ms=to_host)
