"""Measure which blocks and layers int8 harms, and find the fewest layers to keep in float.

Each effect is measured in two ways that can differ: with only this part quantized, and with all but
this part quantized. Blocks are measured before layers: nine blocks take less time than twenty
layers, and a layer that was not measured in time counts as harmful as its block.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from darnet_trt.bundle.manifest import LayerEffect, Quantization

Layers = frozenset[str]
Error = Callable[[Layers], float]
"""Gives the logits error of the network with these layers quantized, against float32."""

# The part of a layer's name that names its block; the stem is one block.
_BLOCK: Final = re.compile(r"stages\.\d+\.\d+|[^.]+")


@dataclass(frozen=True)
class Sensitivity:
    """The effects that were measured in time, most harmful first.

    Attributes:
        blocks: At least one.
        layers: Empty if not all blocks were measured.
    """

    blocks: tuple[LayerEffect, ...]
    layers: tuple[LayerEffect, ...]


def sensitivity(
    layers: Sequence[str],
    error: Error,
    *,
    seconds: float,
    log: Callable[[str], None],
) -> Sensitivity:
    """Measure the blocks, then the layers of the worst blocks first.

    Args:
        layers: All convolutions that can be quantized.
        error: What is measured; called twice for a block of one layer.
        seconds: Time limit: no further part is begun then. The first block is always measured.
        log: Takes a line for each quarter of the blocks and of the layers.
    """
    end = time.monotonic() + seconds
    # If all convolutions of a block are quantized, both maps that its attention reads are, too.
    parts: dict[str, Layers] = {}
    for layer in layers:
        parts[_block(layer)] = parts.get(_block(layer), frozenset()) | {layer}
    log(f"int8 in all {len(layers)} layers: logits error {error(frozenset(layers)):.2g}")
    of_blocks = _effects(parts, error, seconds, log)
    if time.monotonic() > end:
        log(f"time limit reached: none of {len(layers)} layers measured")
        return Sensitivity(of_blocks, ())
    worst_first = [name for b in of_blocks for name in layers if name in parts[b.layer]]
    each = {name: frozenset([name]) for name in worst_first}
    return Sensitivity(of_blocks, _effects(each, error, end - time.monotonic(), log))


def _effects(
    parts: Mapping[str, Layers], error: Error, seconds: float, log: Callable[[str], None]
) -> tuple[LayerEffect, ...]:
    """Measure layers or blocks in order until the time limit; return the most harmful first."""
    everything = frozenset[str]().union(*parts.values())
    end = time.monotonic() + seconds
    whole = error(everything)
    found: list[LayerEffect] = []
    for count, (name, layers) in enumerate(parts.items(), 1):
        if found and time.monotonic() > end:
            log(f"time limit reached: {len(parts) - len(found)} of {len(parts)} not measured")
            break
        gain = whole - error(everything - layers)
        found.append(LayerEffect(layer=name, alone=error(layers), left_out=gain))
        if at_a_quarter(count, len(parts)):
            log(f"sensitivity: {count} of {len(parts)} measured")
    return tuple(sorted(found, key=lambda e: (-_harm(e), e.layer)))


def at_a_quarter(done: int, total: int) -> bool:
    """Return whether this step completes another quarter of the work, and deserves a line."""
    return done * 4 // total > (done - 1) * 4 // total


def _harm(effect: LayerEffect) -> float:
    """Return the larger of what keeping a part in float gains and what it alone in int8 costs."""
    return max(effect.left_out, effect.alone)


def sparing_order(layers: Sequence[str], found: Sensitivity) -> tuple[str, ...]:
    """Sort all layers, those to keep in float first.

    A layer that was not measured counts as harmful as its block. If its block was not measured
    either, it counts as the median block: after the harmful ones, before the harmless.
    """
    of_layers = {e.layer: _harm(e) for e in found.layers}
    of_blocks = {e.layer: _harm(e) for e in found.blocks}
    unknown = median(of_blocks.values())

    def expected(layer: str) -> float:
        return of_layers.get(layer, of_blocks.get(_block(layer), unknown))

    return tuple(sorted(layers, key=expected, reverse=True))


@dataclass(frozen=True)
class Found:
    """The result of the search.

    Attributes:
        quantized: The layers to quantize; empty if no set passed.
        spared: The layers to keep in float, most harmful first.
        tried: Number of layers kept in float → the engine's failures, empty if it passed.
    """

    quantized: Layers
    spared: tuple[str, ...]
    tried: dict[int, tuple[str, ...]]


def fewest_spared(
    order: Sequence[str],
    failures: Callable[[Layers], tuple[str, ...]],
    *,
    seconds: float,
    log: Callable[[str], None],
    kept: str = "in float",
) -> Found:
    """Bisect for the fewest layers to keep in float, taken from the front of `order`.

    It assumes that with all of them the engine passes, and that keeping more never harms. If the
    latter is wrong, the result still passed, but fewer layers might have been enough.

    Args:
        order: All layers, most harmful first; they fail together.
        failures: Returns why the engine with these layers quantized does not keep the decisions, a
            sentence each; empty if it does.
        seconds: Time limit: nothing more is tried then. All layers in int8 are tried first.
        log: Takes a line a trial.
        kept: What happens to the layers from the front, for the log.
    """
    end = time.monotonic() + seconds
    tried: dict[int, tuple[str, ...]] = {}

    def passes(spared: int) -> bool:
        tried[spared] = failures(frozenset(order[spared:]))
        verdict = "; ".join(tried[spared]) or "passed"
        log(f"{spared} of {len(order)} layers {kept}: {verdict}")
        return not tried[spared]

    passes(0)
    fails, enough = 0, len(order)  # without any int8 layer it is the float engine
    while enough - fails > 1 and time.monotonic() <= end:
        middle = (fails + enough) // 2
        if passes(middle):
            enough = middle
        else:
            fails = middle
    return Found(frozenset(order[enough:]), tuple(order[:enough]), tried)


def search_notes(found: Quantization) -> tuple[str, ...]:
    """Return a note if the scans that judge also chose the scales or the layers."""
    # The sets of layers were tried with one of the ways to scale the weights.
    tried = len(found.trials) + max(len(found.scale_trials) - 1, 0)
    if tried < 2:
        return ()
    return (
        f"these scans also chose among {tried} ways to quantize, so their verdict is too "
        "favourable; judge the engine on scans that took no part in the build",
    )


def _block(layer: str) -> str:
    found = _BLOCK.match(layer)
    assert found is not None
    return found[0]
