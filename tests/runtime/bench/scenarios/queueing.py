"""Known values of the queue with random arrivals, a fixed service time of 1 and one server."""

import math

import numpy as np


def waits_at_most(wait: float, load: float) -> float:
    """Erlang's distribution of the waiting time (1909)."""
    terms = (
        math.exp(load * (wait - k)) * (load * (k - wait)) ** k / math.factorial(k)
        for k in range(math.floor(wait) + 1)
    )
    return (1 - load) * math.fsum(terms)


def wait_quantile(share: float, load: float) -> float:
    return _root(lambda wait: waits_at_most(wait, load) - share, 0.0, 30.0)


def highest_load(share: float, latency: float) -> float:
    """The load at which a share of queries is answered within a latency, service included."""
    return _root(lambda load: share - waits_at_most(latency - 1, load), 0.0, 0.999)


def latencies(arrivals, service: float, servers: int):
    """First come first served, by Kiefer's and Wolfowitz's recursion, in the arrivals' unit."""
    free = np.zeros(servers)
    found = []
    for at in arrivals:
        first = int(np.argmin(free))
        free[first] = max(free[first], at) + service
        found.append(free[first] - at)
    return np.array(found)


def _root(rising, low: float, high: float) -> float:
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) < 0 else (low, middle)
    return low
