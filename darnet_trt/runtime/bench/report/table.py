"""Say what a report holds, in lines and tables for a person."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from darnet_trt.runtime.bench.file_to_result.reading import table as reading
from darnet_trt.runtime.bench.layers import table as layers_table
from darnet_trt.runtime.bench.layers.layers import Layers
from darnet_trt.runtime.bench.report import scenarios
from darnet_trt.runtime.bench.report.numbers import (
    NEEDS,
    count,
    difference,
    estimate,
    interval,
    number,
    quantile,
)
from darnet_trt.runtime.bench.report.schema import (
    REFERENCE,
    BenchReport,
    Comparison,
    Configuration,
    Latency,
)
from darnet_trt.runtime.bench.signs.table import rows


@dataclass(frozen=True)
class Table:
    """Rows under titles, with lines before and after."""

    titles: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()


def tables(report: BenchReport) -> list[Table]:
    """Return the report's tables; the first one is the answer, the others are details."""
    single = report.scenario == "single-stream"
    made = [_answer(report) if single else _scenario(report), _slow_queries(report)]
    made.append(Table(scenarios.TRIALS, tuple(scenarios.trials(report))))
    if single and any(one.batch > 1 for one in report.configurations):
        made.append(_batches(report))
    if any(engine.on_gpu for engine in report.engines):
        made.append(_on_gpu(report))
    if report.scan is not None:
        made += [_stages(report), *_reading(report), _cold_start(report)]
    made += [_layers(engine.layers) for engine in report.engines if engine.layers is not None]
    return [table for table in made if table.rows]


def untrusted(report: BenchReport) -> list[str]:
    """Return lines on why not to trust the figures; none on an idle machine."""
    advice = "do not trust the figures: run again when the machine does nothing else"
    return [*report.doubts, *[advice] * bool(report.doubts)]


def against_baseline(found: Comparison) -> str:
    """Return in one line whether the first configuration is slower than its baseline."""
    unknown = "not decided in this time"
    if found.ratio is None:
        unknown = "interrupted before the first look"
    elif found.ratio.low is None:
        unknown = "too few queries, measure longer"
    verdicts = {"above": "slower", "below": "not slower", None: unknown}
    said = f"time / {found.file}: {estimate(found.ratio)}, limit {found.fail_above:g}: "
    return said + verdicts[found.verdict]


def machine(report: BenchReport) -> Table:
    """Return what else the machine did."""
    notes = tuple(f"to read more: {note}" for note in report.conditions.notes)
    return Table(("while it measured", "found"), tuple(rows(report.conditions)), after=notes)


def _answer(report: BenchReport) -> Table:
    lines = []
    for one in report.configurations:
        precision = report.engine(one.engine).precision
        cells = (_median(one), _ratio(report, one), *_differs(report, one))
        lines.append((one.name, precision, *cells))
    per_scan = " per scan" * any(one.batch > 1 for one in report.configurations)
    titles: tuple[str, ...] = (
        "configuration", "runs in", "median ms", f"time{per_scan} / first's"
    )  # fmt: skip
    after = [*_answers(report), *report.left_out, *_remarks(report.configurations)]
    if report.answers is not None:
        titles += (f"flips of {report.answers.inputs}", "Δ probability", "Δ logits")
    if report.baseline is not None:
        after.append(against_baseline(report.baseline))
    after += _untrusted(report)
    return Table(titles, tuple(lines), _before(report), tuple(after))


def _scenario(report: BenchReport) -> Table:
    lines = []
    for one in report.configurations:
        precision = report.engine(one.engine).precision
        cells = scenarios.cells(report, one, _median(one), _ratio(report, one))
        lines.append((one.name, precision, *cells))
    after = [*scenarios.remarks(report.configurations), *_remarks(report.configurations)]
    titles = ("configuration", "runs in", *scenarios.titles(report))
    return Table(titles, tuple(lines), _before(report), (*after, *_untrusted(report)))


def _before(report: BenchReport) -> tuple[str, ...]:
    about = report.environment
    lines = (
        f"{about.cpu.name}, {about.cpu.cores} cores, {about.cpu.memory_gib} GiB, bundle "
        f"{report.bundle_sha256[:12]}",
        f"{scenarios.HOW[report.scenario]}; 95 % intervals in brackets",
    )
    return lines + ("INTERRUPTED: holds what was measured until then",) * report.interrupted


def _untrusted(report: BenchReport) -> list[str]:
    return [f"? {line}" for line in untrusted(report)]


def _ratio(report: BenchReport, one: Configuration) -> str:
    if one is report.configurations[0]:
        return "1"
    return estimate(one.ratio) + " ?" * (bool(report.doubts) and one.ratio is not None)


def _differs(report: BenchReport, one: Configuration) -> tuple[str, ...]:
    """Return the cells on how its engine's answers differ; empty ones from file."""
    found = report.engine(one.engine).fidelity
    if report.answers is None:
        return ()
    if found is None or one.way != "engine":
        return ("", "", "")
    if not found.finite:
        return (str(found.class_flips), *["not finite"] * 2)
    of = (found.max_probability_difference, found.max_logits_error)
    return (str(found.class_flips), *map(difference, of))


def _answers(report: BenchReport) -> list[str]:
    asked = report.answers
    if asked is None:
        return []
    same = "the float32 reference" if asked.reference == REFERENCE else asked.reference
    said = [f"flips, Δ: answers to {asked.source}, against those of {same}"]
    return said + ["the inputs are random numbers: flips on them mean little"] * asked.random


def _median(one: Configuration) -> str:
    if one.latency is None:
        return "not measured"
    found = quantile(one.latency.median)
    marks = "*" * (one.latency.verdict == "drifting") + "†" * (not one.settled)
    return f"{found} {marks}".rstrip()


def _remarks(configurations: Sequence[Configuration]) -> list[str]:
    """Explain the marks, and missing intervals."""
    remarks = []
    measured = [(one.name, one.latency) for one in configurations if one.latency is not None]
    drifting = [
        f"{name} by {100 * (found.change or 0):.0f} %"
        for name, found in measured
        if found.verdict == "drifting"
    ]
    if drifting:
        remarks.append(f"* the median drifts, and has no interval: {', '.join(drifting)}")
    if unsettled := [one.name for one in configurations if not one.settled and one.latency]:
        remarks.append(f"† not settled before the first turn: {', '.join(unsettled)}")
    for one in configurations:
        found = one.latency
        has_interval = one.scans_per_s is not None and one.scans_per_s.low is not None
        if found is not None and _too_few(found) and not has_interval:
            samples = len(found.samples_ms)
            remarks.append(
                f"{one.name}: {count(samples)} sample{'s' * (samples != 1)}, an interval of the "
                f"median takes {count(found.median.needed)}"
            )
    ratios = [(one.name, one.ratio) for one in configurations if one.ratio is not None]
    if few := [name for name, ratio in ratios if ratio.low is None]:
        remarks.append(f"too few turns for an interval of the ratio: {', '.join(few)}")
    return remarks


def _too_few(latency: Latency) -> bool:
    return latency.median.low_ms is None and latency.verdict != "drifting"


def _slow_queries(report: BenchReport) -> Table:
    rows = []
    for one in report.configurations:
        if one.latency is not None:
            drifts = one.latency.verdict == "drifting"
            tails = (one.latency.quantile(percent) for percent in (90, 99))
            cells = ["drifts" if drifts else quantile(tail) for tail in tails]
            rows.append((one.name, count(len(one.latency.samples_ms)), *cells))
    after = ["needs N: an interval takes so many samples"]
    return Table(
        ("slow queries", "samples", "p90 ms", "p99 ms"),
        tuple(rows),
        after=tuple(after * any(NEEDS in cell for row in rows for cell in row)),
    )


def _batches(report: BenchReport) -> Table:
    rows = []
    for one in report.configurations:
        if one.way == "engine" and one.latency is not None:
            median = one.latency.median
            ends = (
                None if ms is None else ms / one.batch for ms in (median.low_ms, median.high_ms)
            )
            per_scan = interval(one.latency.median_ms / one.batch, *ends)
            rows.append((one.engine, str(one.batch), per_scan, estimate(one.scans_per_s)))
    return Table(("throughput", "batch", "ms per scan", "scans per s"), tuple(rows))


def _on_gpu(report: BenchReport) -> Table:
    rows = [
        (engine.name, *map(number, dict(engine.on_gpu).values()), engine.provenance["cuda_graph"])
        for engine in report.engines
        if engine.on_gpu is not None
    ]
    return Table(("on the GPU", "to GPU ms", "compute ms", "to host ms", "CUDA graph"), tuple(rows))


def _stages(report: BenchReport) -> Table:
    rows = []
    for one in report.configurations:
        if one.stages_ms is not None:
            many = report.engine(one.engine).many_ms_per_scan
            stages = map(number, one.stages_ms.values())
            rows.append((one.engine, *stages, "–" if many is None else number(many)))
    stage_names = ("find", "read", "preprocess", "infer")
    titles = ("file to result", *(f"{name} ms" for name in stage_names), "8 in a run, ms each")
    return Table(titles, tuple(rows), before=(f"scan: {report.scan}",))


def _reading(report: BenchReport) -> list[Table]:
    found = report.reading
    if found is None:
        return []
    return [
        Table(reading.STAGES, tuple(reading.stages(found)), after=tuple(reading.bounds(found))),
        Table(reading.ENCODINGS, tuple(reading.encodings(found))),
    ]


def _cold_start(report: BenchReport) -> Table:
    titles = ("cold start", "load ms", "first inference ms", "first result ms", "peak MB")
    rows = [
        (
            engine.name,
            number(cold.load_ms),
            number(cold.first_inference_ms),
            number(cold.first_result_ms),
            count(cold.peak_memory_mb),
        )
        for engine in report.engines
        if (cold := engine.cold_start) is not None
    ]
    return Table(titles, tuple(rows))


def _layers(found: Layers) -> Table:
    rows = tuple(layers_table.rows(found))
    return Table(layers_table.TITLES, rows, before=tuple(layers_table.summary(found)))
