"""Choose how the weights of a plan's layers are scaled, until the engine keeps the decisions.

A plan moves the fewest bytes with one scale a layer. That can fail where the channels of a layer
differ widely. Then, in this order:

1. the layers before a ReLU get a scale for each output channel, which costs a plan nothing;
2. channels between two convolutions are made alike, too, which costs nothing either, but needs new
   ranges;
3. the fewest of the other layers get a scale for each output channel, those whose channels differ
   most.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from onnx import ModelProto
from onnx.numpy_helper import to_array

from darnet_trt.calibration.equalize import Divisors, divisors
from darnet_trt.calibration.search.sensitivity import Layers, fewest_spared

ONE_SCALE: Final = "one scale a layer"
BEFORE_RELU: Final = "a scale a channel before each ReLU"
EQUALIZED: Final = f"channels between two convolutions made alike, {BEFORE_RELU}"

Failures = Callable[[Divisors, Layers], tuple[str, ...]]
"""Says why the engine fails with these divisors and a scale a channel in these layers."""


@dataclass(frozen=True, eq=False)
class Scales:
    """Hold how the weights are scaled.

    Attributes:
        divisors: Of `equalized`; empty: the graph as it is.
        by_channel: Layers with a scale a channel.
        tried: Each way that was tried → the engine's failures, empty if it passed.
    """

    divisors: Divisors = field(default_factory=dict)
    by_channel: Layers = frozenset()
    tried: dict[str, tuple[str, ...]] = field(default_factory=dict)


def choose_scales(
    model: ModelProto,
    layers: Collection[str],
    failures: Failures,
    error: Callable[[Divisors], float],
    *,
    seconds: float,
    log: Callable[[str], None],
) -> Scales:
    """Return the first way that keeps the decisions.

    If none does, it is what costs a plan nothing: a scale a channel before each ReLU, and channels
    made alike if that errs less. Then fewer layers need to stay in float.

    Args:
        model: The float32 graph.
        layers: Those to quantize.
        failures: Judges an engine.
        error: Gives the logits error of one scale a layer with these divisors.
        seconds: Time limit: nothing more is tried then. One scale a layer is always tried.
        log: Takes a line for each way.
    """
    end = time.monotonic() + seconds
    tried: dict[str, tuple[str, ...]] = {}

    def passes(way: str, by: Divisors, by_channel: Layers) -> bool:
        tried[way] = failures(by, by_channel)
        log(f"{way}: {'; '.join(tried[way]) or 'passed'}")
        return not tried[way]

    def in_time() -> bool:
        return time.monotonic() <= end

    by = divisors(model)
    every, free = frozenset(layers), frozenset(by)
    for way, divided, by_channel in (
        (ONE_SCALE, {}, frozenset[str]()),
        (BEFORE_RELU, {}, free),
        (EQUALIZED, by, free),
    ):
        if passes(way, divided, by_channel):
            return Scales(divided, by_channel, tried)
        if not in_time():
            return Scales(tried=tried)
    if not passes(_way(len(every)), by, every):
        return Scales(by if error(by) < error({}) else {}, free, tried)

    def failing(one_scale: Layers) -> tuple[str, ...]:
        way = EQUALIZED if one_scale == others else _way(len(every - one_scale))
        if way not in tried:
            tried[way] = failures(by, every - one_scale)
        return tried[way]

    others = every - free
    found = fewest_spared(
        _order(model, others),
        failing,
        seconds=end - time.monotonic(),
        log=log,
        kept="besides those before a ReLU with a scale a channel",
    )
    return Scales(by, free.union(found.spared), tried)


def _way(number: int) -> str:
    return f"channels between two convolutions made alike, a scale a channel in {number} layers"


def _order(model: ModelProto, layers: Layers) -> list[str]:
    """Sort layers by how widely their channels differ, widest first."""
    weights = {t.name: t for t in model.graph.initializer}

    def spread(name: str) -> float:
        weight = np.abs(to_array(weights[name]))
        largest = weight.reshape(len(weight), -1).max(1)
        return float(largest.max() / max(np.median(largest), np.finfo(np.float32).tiny))

    spreads = {n.name: spread(n.input[1]) for n in model.graph.node if n.name in layers}
    return sorted(layers, key=lambda name: (-spreads[name], name))
