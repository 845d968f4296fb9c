"""Which blocks and layers eight bits harm, and the fewest layers that must be spared.

An effect is measured both ways, because neither alone tells all: the part alone quantized, where
nothing else hides its error, and all but it, where the errors of the others already are. Blocks
come first: nine of them tell in less time than twenty layers where the harm is, and stand for
those of their layers that there was no time for.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

__all__ = [
    "Effect",
    "Error",
    "Found",
    "Sensitivity",
    "blocks",
    "effects",
    "fewest_spared",
    "ranked",
    "search_notes",
    "sensitivity",
    "sparing_order",
]

Layers = frozenset[str]
Error = Callable[[Layers], float]
"""Logits error of the network with these layers quantized, against none quantized."""

# Of a module's name; what comes before the stages is one block.
_BLOCK: Final = re.compile(r"stages\.\d+\.\d+|[^.]+")


@dataclass(frozen=True)
class Effect:
    """What quantizing a part of the network does to the logits.

    Attributes:
        name: Of the convolution or the block.
        alone: Error with it alone quantized.
        left_out: How much smaller the error becomes when all but it are quantized; below 0 where
            its error happens to cancel others'.
    """

    name: str
    alone: float
    left_out: float

    @property
    def harm(self) -> float:
        """What leaving it out gains or it alone costs, if that is more."""
        return max(self.left_out, self.alone)


@dataclass(frozen=True)
class Sensitivity:
    """What there was time for, the most harmful first.

    Attributes:
        blocks: At least one.
        layers: None before all blocks were measured.
    """

    blocks: tuple[Effect, ...]
    layers: tuple[Effect, ...]


def blocks(layers: Sequence[str]) -> dict[str, Layers]:
    """Name → convolutions: "stem", "stages.0.0", … in the order of the layers.

    With all convolutions of a block both maps that its attention reads are in eight bits as well.
    """
    found: dict[str, Layers] = {}
    for layer in layers:
        name = _block(layer)
        found[name] = found.get(name, frozenset()) | {layer}
    return found


def sensitivity(
    layers: Sequence[str],
    error: Error,
    *,
    seconds: float,
    log: Callable[[str], None] = lambda line: None,
) -> Sensitivity:
    """Measure the blocks, then the layers of the worst blocks first.

    Args:
        layers: All convolutions that can be quantized.
        error: What is measured; asked twice for a block of one layer.
        seconds: After these nothing further is begun; the first block always is measured.
        log: Takes a line for each block and layer.
    """
    end = time.monotonic() + seconds
    parts = blocks(layers)
    of_blocks = ranked(effects(parts, error, seconds=seconds, log=log))
    if time.monotonic() > end:
        log(f"no time left: none of {len(layers)} layers measured")
        return Sensitivity(of_blocks, ())
    worst_first = [name for b in of_blocks for name in layers if name in parts[b.name]]
    each = {name: frozenset([name]) for name in worst_first}
    of_layers = effects(each, error, seconds=end - time.monotonic(), log=log)
    return Sensitivity(of_blocks, ranked(of_layers))


def effects(
    parts: Mapping[str, Layers],
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
    """The most harmful first."""
    return tuple(sorted(found, key=lambda e: (-e.harm, e.name)))


def sparing_order(layers: Sequence[str], found: Sensitivity) -> tuple[str, ...]:
    """All layers, those to spare first in front.

    A layer that was not measured counts as harmful as its block, and one whose block was not
    measured either as the median block: behind the bad ones, before the harmless.
    """
    of_layers = {e.name: e.harm for e in found.layers}
    of_blocks = {e.name: e.harm for e in found.blocks}
    unknown = median(of_blocks.values())

    def harm(layer: str) -> float:
        return of_layers.get(layer, of_blocks.get(_block(layer), unknown))

    return tuple(sorted(layers, key=lambda layer: -harm(layer)))


@dataclass(frozen=True)
class Found:
    """What the search came to.

    Attributes:
        quantized: The layers to quantize; empty where no set passed.
        spared: The others, most harmful first.
        tried: Number of layers spared → why the engine failed; empty where it passed.
        finished: False: the time was over before the search was.
    """

    quantized: Layers
    spared: tuple[str, ...]
    tried: dict[int, tuple[str, ...]]
    finished: bool


def fewest_spared(
    order: Sequence[str],
    failures: Callable[[Layers], tuple[str, ...]],
    *,
    seconds: float,
    log: Callable[[str], None] = lambda line: None,
) -> Found:
    """Bisect for the fewest layers to spare, taken from the front of `order`.

    It takes for granted that sparing more never harms; where that fails the result still passed,
    but another set might have been larger.

    Args:
        order: All layers, most harmful first.
        failures: Why the engine with these layers quantized does not keep the decisions, a sentence
            each; none where it does.
        seconds: After these nothing more is tried, but all in eight bits always is.
        log: Takes a line a trial.
    """
    end = time.monotonic() + seconds
    tried: dict[int, tuple[str, ...]] = {}

    def attempt(spared: int) -> bool:
        if spared == len(order):
            return False  # nothing quantized is no int8 engine
        tried[spared] = failures(frozenset(order[spared:]))
        verdict = "; ".join(tried[spared]) or "passed"
        log(f"{spared} of {len(order)} layers spared: {verdict}")
        return not tried[spared]

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


def search_notes(tried: Mapping[int, object]) -> tuple[str, ...]:
    """What the scans that judge were asked before, for a person who reads a verdict of theirs."""
    if len(tried) < 2:
        return ()
    return (
        f"the same scans chose among {len(tried)} sets of layers, so they flatter the one that "
        "they judge; scans that neither calibrated nor judged would tell",
    )


def _block(layer: str) -> str:
    found = _BLOCK.match(layer)
    assert found is not None
    return found[0]
