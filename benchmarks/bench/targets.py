"""Print tables in Markdown, and judge what was found against targets."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


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


def agrees(what: str, ratio: float, within: float) -> Target:
    """Return the target that a ratio differs from 1 by no more than a share."""
    return Target(f"{what}: differs by", 100 * abs(ratio - 1), 100 * within, unit=" %")


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
