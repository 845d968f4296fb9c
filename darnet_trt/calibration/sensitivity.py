"""Which layers eight bits harm, and the fewest that must be spared.

A layer's effect is measured both ways, because neither alone tells all: it alone quantized, where
nothing else hides its error, and all but it, where the errors of the others already are.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

__all__ = ["Effect", "Error", "Found", "effects", "fewest_spared", "ranked"]

Layers = frozenset[str]
Error = Callable[[Layers], float]
"""Logits error of the network with these layers quantized, against none quantized."""


@dataclass(frozen=True)
class Effect:
    """What quantizing one layer does to the logits.

    Attributes:
        layer: The convolution, or a name for several.
        alone: Error with it alone quantized.
        left_out: How much smaller the error becomes when all but it are quantized; below 0 where
            its error happens to cancel others'.
    """

    layer: str
    alone: float
    left_out: float


def effects(
    parts: dict[str, Layers],
    error: Error,
    *,
    seconds: float,
    log: Callable[[str], None] = lambda line: None,
) -> tuple[Effect, ...]:
    """Measure each part, in order, for as long as there is time.

    Args:
        parts: Name → the layers that go together: one each, or those of a block.
        error: What is measured.
        seconds: After these no further part is begun; the first always is.
        log: Takes a line a part.

    Returns:
        Of the parts that there was time for.
    """
    everything = frozenset[str]().union(*parts.values())
    end = time.monotonic() + seconds
    whole = error(everything)
    log(f"all {len(everything)} layers in eight bits: logits error {whole:.2g}")
    found: list[Effect] = []
    for count, (name, layers) in enumerate(parts.items(), 1):
        if found and time.monotonic() > end:
            log(f"no time left: {len(parts) - len(found)} of {len(parts)} not measured")
            break
        effect = Effect(name, error(layers), whole - error(everything - layers))
        found.append(effect)
        log(
            f"[{count}/{len(parts)}] {name}: alone {effect.alone:.2g}, "
            f"the others without it {effect.left_out:+.2g} better"
        )
    return tuple(found)


def ranked(found: Sequence[Effect]) -> tuple[Effect, ...]:
    """The most harmful first: by what leaving it out gains or it alone costs, if that is more."""
    return tuple(sorted(found, key=lambda e: (-max(e.left_out, e.alone), e.layer)))


@dataclass(frozen=True)
class Found:
    """What the search came to.

    Attributes:
        quantized: The layers to quantize; empty where no set passed.
        spared: The others, most harmful first.
        tried: Number of layers spared → whether the engine passed.
        finished: False: the time was over before the search was.
    """

    quantized: Layers
    spared: tuple[str, ...]
    tried: dict[int, bool]
    finished: bool


def fewest_spared(
    order: Sequence[str],
    passes: Callable[[Layers], bool],
    *,
    seconds: float,
    log: Callable[[str], None] = lambda line: None,
) -> Found:
    """Bisect for the fewest layers to spare, taken from the front of `order`.

    It takes for granted that sparing more never harms; where that fails the result still passed,
    but another set might have been larger.

    Args:
        order: All layers, most harmful first.
        passes: Whether the engine with these layers quantized keeps the decisions.
        seconds: After these nothing more is tried, but all in eight bits always is.
        log: Takes a line a trial.
    """
    end = time.monotonic() + seconds
    tried: dict[int, bool] = {}

    def attempt(spared: int) -> bool:
        if spared == len(order):
            return False  # nothing quantized is no int8 engine
        tried[spared] = passes(frozenset(order[spared:]))
        log(f"{spared} of {len(order)} layers spared: {'passed' if tried[spared] else 'failed'}")
        return tried[spared]

    if attempt(0):
        return Found(frozenset(order), (), tried, True)
    fails, enough = 0, len(order)
    while enough - fails > 1:
        if time.monotonic() > end:
            break
        middle = (fails + enough) // 2
        if attempt(middle):
            enough = middle
        else:
            fails = middle
    return Found(
        frozenset(order[enough:]), tuple(order[:enough]), tried, finished=enough - fails <= 1
    )
