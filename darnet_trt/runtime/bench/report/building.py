"""Make the parts of a report from traces."""

from __future__ import annotations

from collections.abc import Mapping

from darnet_trt.runtime.bench.report.schema import (
    Configuration,
    Estimate,
    Latency,
    Quantile,
    Way,
)
from darnet_trt.runtime.bench.statistics.quantiles import summarise
from darnet_trt.runtime.bench.statistics.ratios import paired_ratio
from darnet_trt.runtime.bench.subject import Trace


def configuration(
    trace: Trace,
    first: Trace,
    yard: Trace | None,
    *,
    engine: str,
    way: Way,
    stages_ms: Mapping[str, float] | None = None,
) -> Configuration:
    """Return what a trace says.

    Args:
        trace: Perhaps without a measured query.
        first: That of the first configuration, of the same turns.
        yard: That of the yardstick; None where it says nothing.
        engine: The name of its engine.
        way: What a query was.
        stages_ms: As in `Configuration`.
    """
    found = latency(trace) if trace.queries else None
    return Configuration(
        name=trace.subject,
        engine=engine,
        way=way,
        batch=trace.scans,
        settled=trace.settled,
        warm_up=len(trace.warm_up),
        turns=trace.turns,
        latency=found,
        scans_per_s=None if found is None else _throughput(found.median, trace.scans),
        ratio=None if trace is first else _ratio(first, trace),
        turn_medians_ms=tuple(trace.turn_medians_ms()),
        yardstick_ms=None if yard is None else tuple(yard.turn_medians_ms()),
        stages_ms=None if stages_ms is None else dict(stages_ms),
        cpu_j_per_scan=trace.joules_per_scan("cpu"),
        gpu_j_per_scan=trace.joules_per_scan("gpu"),
    )


def latency(trace: Trace) -> Latency:
    """Summarise the measured queries, of which there is at least one."""
    samples = trace.latencies_ms
    found = summarise(samples)
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


def _throughput(median: Quantile, scans: int) -> Estimate:
    def at(ms: float | None) -> float | None:
        return None if ms is None else 1000 * scans / ms

    value = at(median.value_ms)
    assert value is not None
    return Estimate(value=value, low=at(median.high_ms), high=at(median.low_ms))


def _ratio(first: Trace, other: Trace) -> Estimate | None:
    """Compare times per scan over the turns that both have: the last may be cut short."""
    pairs = min(first.turns, other.turns)
    if not pairs:
        return None
    ratio = paired_ratio(
        (first.turn_medians_ms()[:pairs] / first.scans).tolist(),
        (other.turn_medians_ms()[:pairs] / other.scans).tolist(),
    )
    low, high = ratio.interval() or (None, None)
    return Estimate(value=ratio.value, low=low, high=high)
