"""Say what a scenario found, in the rows of tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from darnet_trt.runtime.bench.report.numbers import count, estimate, number, quantile
from darnet_trt.runtime.bench.report.schema import BenchReport, Configuration
from darnet_trt.runtime.bench.scenarios import Scenario
from darnet_trt.runtime.bench.scenarios.burst import BurstResult
from darnet_trt.runtime.bench.scenarios.peak import PeakResult, Trial
from darnet_trt.runtime.bench.scenarios.server import ServerResult

HOW: Final[dict[Scenario, str]] = {
    "single-stream": "single queries, the configurations in turns",
    "multi-stream": "each query asks all streams at once, until the last answer; the "
    "configurations in turns",
    "offline": "each stream is asked again as soon as it has answered; the configurations in turns",
    "server": "queries at random times, latency from when each was due; one configuration after "
    "the other",
    "burst": "a scanner sends a series to the service again and again, latency from when its last "
    "slice was due to the result; one configuration after the other",
}
"""How queries came, for a person."""

TRIALS: Final = ("rates tried", "queries per s", "queries", "over the limit", "the limit")

_SURE: Final = {True: "", False: ", not sure"}


def titles(report: BenchReport) -> tuple[str, ...]:
    """Return what stands above the cells of `cells`."""
    found = report.configurations[0].arrivals
    if isinstance(found, PeakResult):
        tail = f"p{found.limit.percent:g} ms at it"
        return ("highest queries per s", "surely met at", "surely missed at", tail)
    return {
        "multi-stream": ("median ms", "scans per s", "time per scan / first's"),
        "offline": ("scans per s", "time per scan / first's"),
        "server": ("queries per s", "load", "median ms"),
        "burst": ("median ms", "behind ms", "quiet ms", "work ms"),
    }[report.scenario]


def cells(report: BenchReport, one: Configuration, median: str, ratio: str) -> tuple[str, ...]:
    """Return what a scenario found of a configuration.

    Args:
        report: Of the scenario.
        one: Of its configurations.
        median: Its median, or what stands for it.
        ratio: Likewise, its time per scan over the first one's.
    """
    match one.arrivals:
        case PeakResult() as found:
            rates = (found.rate_per_s, found.at_least_per_s, found.at_most_per_s)
            highest, *sure = ("–" if rate is None else number(rate) for rate in rates)
            percent = found.limit.percent
            tail = "–" if one.latency is None else quantile(one.latency.quantile(percent))
            return ("none met it" if found.rate_per_s is None else highest, *sure, tail)
        case ServerResult() as found:
            return (number(found.rate_per_s), f"{100 * found.load:.0f} %", median)
        case BurstResult() as found:
            return (median, *map(number, (found.behind_ms, found.quiet_ms, found.work_ms)))
    if one.latency is None:
        return ("not measured", *[""] * (len(titles(report)) - 1))
    if report.scenario == "offline":
        return (estimate(one.scans_per_s), ratio)
    return (median, estimate(one.scans_per_s), ratio)


def remarks(configurations: Sequence[Configuration]) -> list[str]:
    """Say what the cells leave out."""
    said = []
    for one in configurations:
        match one.arrivals:
            case ServerResult() as found if found.overloaded:
                said.append(
                    f"{one.name}: OVERLOADED: the queue grew without end, and the latency with it"
                )
            case ServerResult() as found if found.load >= 1:
                said.append(
                    f"{one.name}: it needs more time than its streams have: measured longer, the "
                    "queue grows without end"
                )
            case PeakResult() as found:
                limit = found.limit
                said.append(
                    f"{one.name}: limit: p{limit.percent:g} within {limit.latency_ms:g} ms, "
                    "certain to 99 % where it is sure"
                )
                if found.rate_per_s is not None and found.at_least_per_s != found.rate_per_s:
                    said.append(
                        f"{one.name}: {number(found.rate_per_s)} queries per s are not sure: short "
                        "searches are optimistic"
                    )
            case BurstResult() as found:
                least = max(found.quiet_s / 4, found.shortest_quiet_s)
                said.append(
                    f"{one.name}: {found.slices} slices, {number(found.slices_per_s)} a second; it "
                    f"waits {least:g} s for more where nothing is missing, else {found.quiet_s:g} s"
                )
    return said


def trials(report: BenchReport) -> list[tuple[str, ...]]:
    """Return the rows under `TRIALS`: the rates that a search tried, from low to high."""
    return [
        (one.name, *_trial(trial))
        for one in report.configurations
        if isinstance(one.arrivals, PeakResult)
        for trial in sorted(one.arrivals.trials, key=lambda trial: trial.rate_per_s)
    ]


def _trial(trial: Trial) -> tuple[str, ...]:
    judged = trial.judgement
    verdict = "overloaded" if trial.overloaded else "met" if judged.met else "missed"
    verdict += _SURE[trial.sure]
    return (number(trial.rate_per_s), count(judged.queries), count(judged.over), verdict)
