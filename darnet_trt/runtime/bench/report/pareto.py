"""Draw the engines' speed against the fidelity of their answers."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from darnet_trt.evaluation.pictures import COLOURS
from darnet_trt.runtime.bench.report.labels import Named, put_names
from darnet_trt.runtime.bench.report.numbers import number
from darnet_trt.runtime.bench.report.schema import REFERENCE, BenchReport, Configuration

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LEAST: Final = 1e-7
"""Smaller differences of a probability are those of float32 itself, and count as none."""
_NONE: Final = _LEAST / 10
"""Where a difference of none stands."""
_NONE_ENDS: Final = _LEAST / 10**0.5
"""Up to here there is no scale."""
_FAR_APART: Final = 5
"""From this ratio of times on, the axis is logarithmic."""


def draw_pareto(report: BenchReport, figure: Figure) -> bool:
    """Draw each configuration that was timed and compared; return whether there are two.

    The line joins those to which no other is at least as near and faster.

    Args:
        report: What was found.
        figure: Empty.
    """
    points = [point for one in report.configurations if (point := _point(report, one))]
    if len(points) < 2 or report.answers is None:
        return False
    axes = figure.add_subplot()
    best = _best(points)
    axes.plot(
        [p.x for p in best],
        [p.y for p in best],
        color="0.6",
        linewidth=1,
        zorder=1,
        label="no other is faster and as near",
    )
    for point in points:
        axes.errorbar(
            point.x,
            point.y,
            yerr=([point.y - point.low], [point.high - point.y]),
            fmt="o" if point in best else "s",
            color=COLOURS[0] if point in best else COLOURS[1],
            capsize=4,
        )
    _scale(axes, points)
    partly = " (interrupted)" * report.interrupted
    asked = report.answers
    of = f"the {REFERENCE}" if asked.reference == REFERENCE else asked.reference
    axes.set(
        xlabel="largest difference of a class's probability from that of "
        + of.replace("$", r"\$")
        + f"\n({asked.source}{', which say little' * asked.random})",
        ylabel="median ms per scan",
        title=f"Speed and fidelity{partly}; 95 % intervals of the time where there are any",
    )
    axes.grid(alpha=0.3)
    axes.legend(loc="best", fontsize=8)
    put_names(figure, axes, points, list(itertools.pairwise((p.x, p.y) for p in best)))
    return True


def _point(report: BenchReport, one: Configuration) -> Named | None:
    """Return its largest difference (x) and its ms per scan with their interval (y)."""
    found = report.engine(one.engine).fidelity
    if one.way != "engine" or one.latency is None or found is None or not found.finite:
        return None
    median = one.latency.median
    difference = found.max_probability_difference
    at = [one.latency.median_ms if ms is None else ms for ms in (median.low_ms, median.high_ms)]
    ms, low, high = (value / one.batch for value in (one.latency.median_ms, *at))
    return Named(one.name, _NONE if difference < _LEAST else difference, ms, low, high)


def _best(points: Sequence[Named]) -> list[Named]:
    """Return those to which no other is at least as near and faster, from the nearest on."""
    best: list[Named] = []
    for point in sorted(points, key=lambda p: (p.x, p.y)):
        if not best or point.y < best[-1].y:
            best.append(point)
    return best


def _scale(axes: Axes, points: Sequence[Named]) -> None:
    from matplotlib.ticker import LogLocator

    differences = [point.x for point in points]
    nearest, farthest = min(differences), max(differences)
    first = math.floor(math.log10(max(nearest, _LEAST)))
    last = max(math.ceil(math.log10(farthest)), first + 1)
    ticks = [10.0**power for power in range(first, last + 1)]
    labels = [rf"$10^{{{power}}}$" for power in range(first, last + 1)]
    if nearest == _NONE:
        ticks, labels = [_NONE, *ticks], ["none", *labels]
        axes.axvline(_NONE_ENDS, color="0.6", linewidth=1, linestyle=":")
    axes.set_xscale("log")
    axes.set_xticks(ticks, labels)
    axes.set_xticks([], minor=True)
    axes.set_xlim(ticks[0] / 3, ticks[-1] * 3)
    times = [point.y for point in points]
    axes.margins(y=0.15)
    if max(times) > _FAR_APART * min(times):
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(lambda ms, _: number(ms))
        axes.yaxis.set_minor_formatter("")
