"""Simulate runners: many runs of each at once, as times (runs, n) around 1.

Steady ones are stationary from the first sample on, so that runs of one sample have the same
distribution: that is where the true quantiles come from.
"""

from collections.abc import Callable
from functools import partial

import numpy as np

Draw = Callable[[np.random.Generator, int, int], np.ndarray]
NOISE = 0.02


def noise(rng, runs: int, n: int) -> np.ndarray:
    """Draw lognormal noise of 2 %."""
    return np.exp(NOISE * rng.normal(size=(runs, n)))


def heavy(rng, runs: int, n: int) -> np.ndarray:
    """Draw lognormal times with a long tail: p99 is three times the median."""
    return np.exp(0.5 * rng.normal(size=(runs, n)))


def outliers(rng, runs: int, n: int, share: float = 0.03) -> np.ndarray:
    """Add outliers of a Pareto distribution without variance (index 1.5) to 3 % of samples."""
    late = 0.2 * rng.random((runs, n)) ** (-1 / 1.5)
    return noise(rng, runs, n) + np.where(rng.random((runs, n)) < share, late, 0)


def autocorrelated(rng, runs: int, n: int, *, phi: float) -> np.ndarray:
    """Draw times whose logarithms are AR(1), standard deviation 5 %."""
    innovations = rng.normal(size=(runs, n)) * np.sqrt(1 - phi**2)
    state = rng.normal(size=runs)
    out = np.empty((runs, n))
    for at in range(n):
        out[:, at] = state = phi * state + innovations[:, at]
    return np.exp(0.05 * out)


def modes(rng, runs: int, n: int, *, up: float, down: float) -> np.ndarray:
    """Draw times with a mode 30 % higher, entered and left with these chances a sample."""
    high = rng.random(runs) < up / (up + down)
    out = np.empty((runs, n), dtype=bool)
    for at in range(n):
        out[:, at] = high
        drawn = rng.random(runs)
        high = np.where(high, drawn >= down, drawn < up)
    return noise(rng, runs, n) * np.where(out, 1.3, 1)


def interrupted(rng, runs: int, n: int, period: float = 6.85) -> np.ndarray:
    """Add 20 % to the sample that a timer falls into, every 6.85 samples."""
    phase = period * rng.random((runs, 1))
    return noise(rng, runs, n) * np.where((np.arange(n) + phase) % period < 1, 1.2, 1)


STEADY: dict[str, Draw] = {
    "Gaussian": lambda rng, runs, n: 1 + NOISE * rng.normal(size=(runs, n)),
    "lognormal": heavy,
    "Pareto outliers": outliers,
    "AR(1) 0.5": partial(autocorrelated, phi=0.5),
    "AR(1) 0.9": partial(autocorrelated, phi=0.9),
    "two modes": partial(modes, up=0.3, down=0.7),
    "sticky modes": partial(modes, up=0.09, down=0.21),
    "interrupted": interrupted,
}

SHAPES = {
    "trend": lambda t: t,
    "step": lambda t: t > 0.5,
    "late step": lambda t: t > 0.8,
    "warm-up": lambda t: np.exp(-t / 0.1),
    "throttling": lambda t: np.clip((t - 0.4) / 0.1, 0, 1),
    "slow wave": lambda t: (1 - np.cos(3 * np.pi * t)) / 2,
}


def drifting(rng, runs: int, n: int, *, shape: str, change: float) -> np.ndarray:
    """Draw noise of 2 % around a level that changes by `change` over the run."""
    level = 1 + change * SHAPES[shape]((np.arange(n) + 0.5) / n)
    return level * noise(rng, runs, n)


def warming(rng, runs: int, n: int, *, constant: int) -> np.ndarray:
    """Draw noise of 2 % around a level that falls from 1.3 to 1, in `constant` samples by 63 %."""
    return noise(rng, runs, n) * (1 + 0.3 * np.exp(-np.arange(n) / constant))


def wandering(rng, runs: int, n: int, *, change: float) -> np.ndarray:
    """Draw noise of 2 % around a random walk whose range over the run is `change`."""
    walk = np.cumsum(rng.normal(size=(runs, n)), axis=1)
    walk -= walk.min(axis=1, keepdims=True)
    return noise(rng, runs, n) * (1 + change * walk / walk.max(axis=1, keepdims=True))


def bursts(rng, runs: int, seconds: float, tick_s: float = 0.01) -> np.ndarray:
    """Draw how much another process slows each tick: bursts of 0.2 to 2 s, by 0 to 60 %."""
    ticks = int(seconds / tick_s)
    slowed = np.zeros((runs, ticks))
    for row in slowed:
        at = rng.exponential(1) - 1
        while at < seconds:
            ends = at + rng.uniform(0.2, 2)
            row[max(int(at / tick_s), 0) : max(int(ends / tick_s), 0)] = rng.uniform(0, 0.6)
            at = ends + rng.exponential(1)
    return slowed


def beside_bursts(
    rng, runs: int, seconds: float, base_ms: float, yard_ms: float
) -> list[tuple[list[float], list[float]]]:
    """Draw latencies of a runner and of the yardstick in turns, as of `in_turns`, beside bursts.

    Returns:
        For each run the latencies of the runner and of the yardstick, in ms.
    """
    tick_s = 0.01
    found: list[tuple[list[float], list[float]]] = []
    for beside in bursts(rng, runs, seconds + 10, tick_s):
        spread, clock = rng.uniform(0.01, 0.02), 0.0
        both: tuple[list[float], list[float]] = ([], [])
        while clock < seconds:
            for level, turn_s, kept in ((base_ms, 0.5, both[0]), (yard_ms, 0.1, both[1])):
                clock += 0.05
                times, ends = [], clock + turn_s
                while clock < ends:
                    slowed = 1 + beside[int(clock / tick_s)]
                    times.append(level * slowed * np.exp(spread * rng.normal()))
                    clock += times[-1] / 1000
                kept += times[1:]
        found.append(both)
    return found
