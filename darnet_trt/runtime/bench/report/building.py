"""Make the parts of a report from traces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from darnet_trt.runtime.bench.report.schema import (
    Arrivals,
    Configuration,
    Estimate,
    Latency,
    Quantile,
    Way,
)
from darnet_trt.runtime.bench.scenarios.offline import throughput, turn_rates
from darnet_trt.runtime.bench.scenarios.peak import PeakResult
from darnet_trt.runtime.bench.statistics.quantiles import PERCENTS, summarise
from darnet_trt.runtime.bench.statistics.ratios import paired_ratio
from darnet_trt.runtime.bench.subject import Trace


def configuration(
    trace: Trace,
    first: Trace,
    *,
    engine: str,
    way: Way,
    stages_ms: Mapping[str, float] | None = None,
    streams: int = 1,
    arrivals: Arrivals | None = None,
) -> Configuration:
    """Return what a trace says.

    Args:
        trace: Perhaps without a measured query.
        first: That of the first configuration, of the same turns.
        engine: The name of its engine.
        way: What a query was.
        stages_ms: As in `Configuration`.
        streams: As in `Configuration`.
        arrivals: As in `Configuration`.
    """
    limits = (arrivals.limit.percent,) if isinstance(arrivals, PeakResult) else ()
    found = latency(trace, limits) if trace.queries else None
    return Configuration(
        name=trace.subject,
        engine=engine,
        way=way,
        streams=streams,
        batch=trace.scans,
        settled=trace.settled,
        warm_up=len(trace.warm_up),
        turns=trace.turns,
        latency=found,
        scans_per_s=None if found is None or arrivals is not None else _throughput(trace, found),
        ratio=None if trace is first or arrivals is not None else _ratio(first, trace),
        stages_ms=None if stages_ms is None else dict(stages_ms),
        cpu_j_per_scan=trace.joules_per_scan("cpu"),
        gpu_j_per_scan=trace.joules_per_scan("gpu"),
        arrivals=arrivals,
    )


def latency(trace: Trace, percents: Sequence[float] = ()) -> Latency:
    """Summarise the measured queries, of which there is at least one.

    Args:
        trace: Theirs.
        percents: Quantiles to give beside `PERCENTS`.
    """
    samples = trace.latencies_ms
    found = summarise(samples, sorted({*PERCENTS, *percents}))
    return Latency(
        effective=found.effective,
        verdict=found.drift.verdict,
        change=found.drift.change,
        quantiles=tuple(
            Quantile(
                percent=one.percent,
                value_ms=one.value_ms,
                low_ms=one.low_ms,
                high_ms=one.high_ms,
                needed=one.needed,
            )
            for one in found.quantiles
        ),
        samples_ms=tuple(samples),
    )


def _throughput(trace: Trace, found: Latency) -> Estimate:
    if trace.streams:
        busy = throughput(trace.queries, trace.scans, trace.streams)
        return Estimate(value=busy.per_s, low=busy.low_per_s, high=busy.high_per_s)

    def at(ms: float | None) -> float | None:
        return None if ms is None else 1000 * trace.scans / ms

    value = at(found.median_ms)
    assert value is not None
    return Estimate(value=value, low=at(found.median.high_ms), high=at(found.median.low_ms))


def _per_scan_ms(trace: Trace) -> list[float]:
    """Return the time per scan of each turn."""
    if trace.streams:
        return [1000 / rate for rate in turn_rates(trace.queries, trace.scans, trace.streams)]
    return [float(median) / trace.scans for median in trace.turn_medians_ms()]


def _ratio(first: Trace, other: Trace) -> Estimate | None:
    """Compare times per scan over the turns that both have: the last may be cut short."""
    pairs = min(first.turns, other.turns)
    if not pairs:
        return None
    ratio = paired_ratio(_per_scan_ms(first)[:pairs], _per_scan_ms(other)[:pairs])
    low, high = ratio.interval() or (None, None)
    return Estimate(value=ratio.value, low=low, high=high)
