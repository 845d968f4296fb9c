"""Print tables in Markdown, and judge what was found against targets."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from darnet_trt.runtime.bench.statistics.ratios import paired_ratio


@dataclass(frozen=True)
class Target:
    """One figure to reach.

    Attributes:
        what: Names the figure.
        found: What was measured; NaN: nothing could be, and it is missed.
        limit: To be reached.
        at_least: Whether more is better.
        unit: Of both, with the space before it.
    """

    what: str
    found: float
    limit: float
    at_least: bool = False
    unit: str = ""

    @property
    def reached(self) -> bool:
        """Return whether the target is reached."""
        return self.found >= self.limit if self.at_least else self.found <= self.limit

    def cells(self) -> list[str]:
        """Return what, found, limit and result, for a table."""
        digits = ".0f" if abs(self.found) >= 100 else ".3g"
        found = "nothing" if math.isnan(self.found) else f"{self.found:{digits}}{self.unit}"
        sign = "≥" if self.at_least else "≤"
        result = "reached" if self.reached else "**missed**"
        return [self.what, found, f"{sign} {self.limit:g}{self.unit}", result]


@dataclass(frozen=True)
class Agreement:
    """Compare what was found in turns: by another tool and by `bench`, or before and after.

    Attributes:
        what: Names the figure, with its unit.
        theirs: Of the other tool, or before; one a round.
        ours: Of `bench`, or after; in the same rounds.
        within: Largest difference, as a share; None: it is only shown.
    """

    what: str
    theirs: Sequence[float]
    ours: Sequence[float]
    within: float | None = None

    def cells(self) -> list[str]:
        """Return what, both medians, and the ratio with its interval, for a table."""
        ratio = paired_ratio(self.theirs, self.ours)
        ends = ratio.interval()
        shown = "" if ends is None else f" ({ends[0]:.3f} to {ends[1]:.3f})"
        medians = (f"{median(found):.3f}" for found in (self.theirs, self.ours))
        return [self.what, *medians, f"{ratio.value:.3f}{shown}"]

    def targets(self) -> list[Target]:
        """Return the target that the ratio is so near to 1, if there is one."""
        if self.within is None:
            return []
        off = 100 * abs(paired_ratio(self.theirs, self.ours).value - 1)
        return [Target(f"{self.what}: differs by", off, 100 * self.within, unit=" %")]


def compared(tool: str, rows: Iterable[Agreement], ours: str = "bench") -> list[Target]:
    """Print rows as soon as they are there; return their targets.

    Args:
        tool: Heads the column of `theirs`.
        rows: What was found.
        ours: Heads the column of `ours`.
    """
    found: list[Agreement] = []

    def cells() -> Iterable[list[str]]:
        for row in rows:
            found.append(row)
            yield row.cells()

    table(["median of the rounds", tool, ours, f"{ours} / {tool}"], cells())
    return [target for row in found for target in row.targets()]


def judged(targets: Sequence[Target]) -> bool:
    """Print the targets; return whether all are reached."""
    if targets:
        table(["target", "found", "limit", "result"], (target.cells() for target in targets))
    return all(target.reached for target in targets)


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table in Markdown, each row as soon as it is there."""
    print(f"\n| {' | '.join(heads)} |\n| --- |{' ---: |' * (len(heads) - 1)}")
    for row in rows:
        print(f"| {' | '.join(row)} |", flush=True)
