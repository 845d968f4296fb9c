"""Draw a report's plots as PNG and SVG."""

from __future__ import annotations

from io import BytesIO
from itertools import cycle
from typing import TYPE_CHECKING, Final

import numpy as np

from darnet_trt.errors import counted
from darnet_trt.evaluation.pictures import COLOURS
from darnet_trt.runtime.bench.layers.picture import roofline
from darnet_trt.runtime.bench.report.pareto import draw_pareto
from darnet_trt.runtime.bench.report.schema import BenchReport, Configuration, Latency

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS: Final = ("png", "svg")
"""Draw each plot in these; its name ends in them."""
_INCHES: Final = (8.0, 5.0)
_DPI: Final = 150
_STEPS: Final = 1000
"""Points of a line, at most: more cannot be told apart, and make large files."""
_FAR_APART: Final = 5
"""From this ratio of medians on, the axis is logarithmic."""


def plots(report: BenchReport) -> dict[str, bytes]:
    """Return file name → content: the latencies, with batches or streams the throughput, rooflines.

    Of several engines, also their speed against the fidelity of their answers.
    """
    figures = {"latency": _latencies(report)}
    pareto = _figure()
    if draw_pareto(report, pareto):
        figures["pareto"] = pareto
    if any(one.scans_per_s and one.batch * one.streams > 1 for one in report.configurations):
        figures["throughput"] = _throughput(report)
    for engine in report.engines:
        if engine.layers is not None and (drawn := roofline(engine.layers)) is not None:
            figures[f"roofline-{engine.name}"] = drawn
    if report.doubts:
        for figure in figures.values():
            figure.supxlabel("do not trust the figures: see the report", fontsize=9, color="C3")
    return {
        f"{name}.{kind}": _file(figure, kind)
        for name, figure in figures.items()
        for kind in FORMATS
    }


def _latencies(report: BenchReport) -> Figure:
    """Draw for each configuration the share of queries that took no longer than a time."""
    from matplotlib.ticker import LogLocator, NullFormatter

    figure = _figure()
    axes = figure.add_subplot()
    shown = [(one, one.latency) for one in report.configurations if one.latency is not None]
    for (one, latency), colour in zip(shown, cycle(COLOURS), strict=False):
        ordered = np.sort(latency.samples_ms)
        shares = np.arange(1, len(ordered) + 1) / len(ordered)
        kept = np.unique(np.linspace(0, len(ordered) - 1, _STEPS).astype(int))
        axes.step(ordered[kept], shares[kept], where="post", color=colour, label=_label(one))
        axes.errorbar(latency.median_ms, 0.5, xerr=_ends(latency), fmt="o", color=colour, capsize=4)
    medians = [latency.median_ms for _, latency in shown]
    if medians and max(medians) > _FAR_APART * min(medians):
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(_plain)
        axes.xaxis.set_minor_formatter(NullFormatter())
    partly = " (interrupted)" * report.interrupted
    axes.set(xlabel="latency in ms", ylabel="share of queries", ylim=(0, 1.02))
    axes.set_title(f"Latency{partly}; at 0.5 the median, with its 95 % interval where there is one")
    if shown:
        axes.legend(loc="lower right", fontsize=8)
    axes.grid(alpha=0.3)
    return figure


def _throughput(report: BenchReport) -> Figure:
    figure = _figure()
    axes = figure.add_subplot()
    measured = [one for one in report.configurations if one.scans_per_s is not None]
    if report.scenario == "single-stream":
        measured = [one for one in measured if one.way == "engine"]
    lines = dict.fromkeys((one.engine, one.streams) for one in measured)
    several = any(streams > 1 for _, streams in lines)
    for (engine, streams), colour in zip(lines, cycle(COLOURS), strict=False):
        points = [
            (one.batch, one.scans_per_s)
            for one in measured
            if (one.engine, one.streams) == (engine, streams) and one.scans_per_s is not None
        ]
        batches = [batch for batch, _ in points]
        values = [found.value for _, found in points]
        below = [0 if f.low is None else f.value - f.low for _, f in points]
        above = [0 if f.high is None else f.high - f.value for _, f in points]
        axes.errorbar(
            batches, values, yerr=(below, above), fmt="o-", color=colour, capsize=4,
            label=(engine + f" {counted(streams, 'stream')}" * several).replace("$", r"\$"),
        )  # fmt: skip
    axes.set(xlabel="scans in a query", ylabel="scans per second", ylim=(0, None))
    axes.set_xticks(sorted({one.batch for one in measured}))
    axes.set_title("Throughput by batch, with 95 % intervals where there are any")
    axes.legend(loc="best", fontsize=8)
    axes.grid(alpha=0.3)
    return figure


def _plain(value: float, _place: object) -> str:
    """Write a tick as 20, not as 2×10¹."""
    return f"{value:g}"


def _label(one: Configuration) -> str:
    return one.name.replace("$", r"\$")  # matplotlib takes $…$ for mathematics


def _ends(latency: Latency) -> list[list[float]] | None:
    median = latency.median
    if median.low_ms is None or median.high_ms is None:
        return None
    return [[latency.median_ms - median.low_ms], [median.high_ms - latency.median_ms]]


def _figure() -> Figure:
    # No pyplot: it keeps figures and looks for a screen.
    from matplotlib.figure import Figure

    return Figure(figsize=_INCHES, dpi=_DPI, layout="constrained")


def _file(figure: Figure, kind: str) -> bytes:
    file = BytesIO()
    figure.savefig(file, format=kind)
    return file.getvalue()
