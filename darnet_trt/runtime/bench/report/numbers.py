"""Write numbers and their intervals for a person: "1 432 (1 420 to 1 451)"."""

from __future__ import annotations

import math
from typing import Final

from darnet_trt.runtime.bench.report.schema import Estimate, Quantile

NEEDS: Final = "needs"
"""Begins what stands for a quantile of too few samples."""

_MOST_DECIMALS: Final = 4


def count(value: float) -> str:
    """Return a whole number: "1 432"."""
    return _to_place(value, 0)


def number(value: float) -> str:
    """Return a number with three digits, or all before the point: "1 432", "14.3", "0.0512"."""
    return _to_place(value, _place(value))


def interval(value: float, low: float | None, high: float | None) -> str:
    """Return a value and its interval, all to the place that tells the ends apart.

    The value alone where there is no interval.
    """
    if low is None or high is None:
        return number(value)
    place = _place(value)
    if high > low:
        place = max(place, -math.floor(math.log10(high - low)))
    value_, low_, high_ = (_to_place(one, place) for one in (value, low, high))
    return f"{value_} ({low_} to {high_})"


def estimate(found: Estimate | None) -> str:
    """Return an estimate with its interval; a dash for none."""
    return "–" if found is None else interval(found.value, found.low, found.high)


def quantile(found: Quantile) -> str:
    """Return a quantile with its interval, or how many samples it takes."""
    if found.value_ms is None:
        return f"{NEEDS} {count(found.needed)}"
    return interval(found.value_ms, found.low_ms, found.high_ms)


def difference(value: float) -> str:
    """Return a difference of answers with two digits: "0", "2.1e-06", "0.034"."""
    return f"{value:.2g}"


def _place(value: float) -> int:
    """Return how many decimals the third digit is."""
    return 2 - math.floor(math.log10(abs(value))) if value else 0


def _to_place(value: float, place: int) -> str:
    return f"{value:,.{min(max(place, 0), _MOST_DECIMALS)}f}".replace(",", " ")
