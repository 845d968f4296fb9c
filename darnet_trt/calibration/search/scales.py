"""Choose how the weights of a plan's layers are scaled, until the engine keeps the decisions.

A plan moves the fewest bytes with one scale a layer. That can fail where the channels of a layer
differ widely. Then, in this order:

1. channels between two convolutions are made alike, which costs a plan nothing;
2. the fewest layers get a scale for each output channel: first those before a ReLU, which costs
   nothing there either, then those whose channels differ most.
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
EQUALIZED: Final = "channels between two convolutions made alike"

Failures = Callable[[Divisors, Layers], tuple[str, ...]]
"""Says why the engine fails with these divisors and a scale a channel in these layers."""


@dataclass(frozen=True, eq=False)
class Scales:
    """The result.

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

    If none does, it is one scale a layer, with channels made alike if that errs less: then fewer
    layers need to stay in float.

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

    if passes(ONE_SCALE, {}, frozenset()) or time.monotonic() > end:
        return Scales(tried=tried)
    by, every = divisors(model), frozenset(layers)
    if passes(EQUALIZED, by, frozenset()):
        return Scales(by, tried=tried)
    if time.monotonic() > end or not passes(_by_channel(every), by, every):
        return Scales(by if error(by) < error({}) else {}, tried=tried)

    def still_failing(one_scale: Layers) -> tuple[str, ...]:
        way = _by_channel(every - one_scale)
        if way not in tried:
            tried[way] = failures(by, every - one_scale)
        return tried[way]

    found = fewest_spared(
        _order(model, every, by),
        lambda rest: tried[EQUALIZED] if rest == every else still_failing(rest),
        seconds=end - time.monotonic(),
        log=log,
        kept="with a scale a channel",
    )
    return Scales(by, frozenset(found.spared), tried)


def _by_channel(layers: Layers) -> str:
    return f"{EQUALIZED}, a scale a channel in {len(layers)} layers"


def _order(model: ModelProto, layers: Layers, before_relu: Collection[str]) -> list[str]:
    """Sort layers: those before a ReLU first, then by how widely their channels differ."""
    weights = {t.name: t for t in model.graph.initializer}

    def spread(node_input: str) -> float:
        weight = np.abs(to_array(weights[node_input]))
        largest = weight.reshape(len(weight), -1).max(1)
        return float(largest.max() / max(np.median(largest), np.finfo(np.float32).tiny))

    spreads = {n.name: spread(n.input[1]) for n in model.graph.node if n.name in layers}
    return sorted(layers, key=lambda name: (name not in before_relu, -spreads[name], name))
