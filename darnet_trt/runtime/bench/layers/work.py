"""Count what each part of the network has to compute and to move, from its shape alone.

The count is of the network, not of an engine: every tensor is read once and written once, in the
engine's precision. An engine that copies or converts maps moves more, in the time that its
profile shows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Final, Literal

Kind = Literal[
    "convolutions",
    "attention means",
    "channel attention",
    "depth attention",
    "fused attention",
    "shortcut",
    "head",
    "format",
    "other",
]
"""What a group of layers does. "attention means" pool the map for the gates of both attentions.
"shortcut" is the scaling by the gates, the projection, the addition and the ReLU, which engines
fuse. "fused attention" is the plugin: all that follows the convolutions in one layer, without the
projection. "format" converts types and layouts."""

Attention = Literal["none", "channel", "depth", "both"]

_STEM: Final = (3, 7, 7)
_KERNEL: Final = 27
_REDUCTION: Final = 16  # of the channel attention


@dataclass(frozen=True)
class Work:
    """Count what one group has to do for one volume.

    Attributes:
        part: "stem", a block ("stages.2.0") or "head".
        kind: What it does.
        macs: Multiply-adds; an addition alone counts as one.
        elements: Numbers that it reads or writes: maps and weights.
    """

    part: str
    kind: Kind
    macs: int
    elements: int


def work_of(
    attention: Attention,
    width: int,
    size: tuple[int, int, int],
    classes: int,
    *,
    fused: bool = False,
) -> tuple[Work, ...]:
    """Return the work of every group of the network, in order; batch norms are folded.

    Args:
        attention: Which gates the blocks have.
        width: Channels of the first stage.
        size: The input's (d, h, w).
        classes: Number of logits.
        fused: Whether the plugin runs the end of each block.
    """
    found = []
    d, h, w = size
    shape = (d, _halved(h), _halved(w))
    weights = prod(_STEM) * width
    out = width * prod(shape)
    found.append(
        Work("stem", "convolutions", prod(_STEM) * out, prod(size) + weights + width + out)
    )
    inputs = width
    for stage in range(4):
        for block in range(2):
            before = shape
            if stage and not block:
                shape = (_halved(shape[0]), _halved(shape[1]), _halved(shape[2]))
            channels = width << stage
            part = f"stages.{stage}.{block}"
            whole = _block(part, attention, inputs, channels, before, shape)
            found += _with_plugin(part, whole, channels * prod(shape)) if fused else whole
            inputs = channels
    voxels = prod(shape)
    found.append(Work("head", "head", inputs * classes * voxels, (inputs + classes) * (voxels + 1)))
    return tuple(found)


def _block(
    part: str,
    attention: Attention,
    inputs: int,
    channels: int,
    before: tuple[int, int, int],
    shape: tuple[int, int, int],
) -> list[Work]:
    voxels, depth = prod(shape), shape[0]
    out = channels * voxels
    weights = _KERNEL * channels * (inputs + channels)
    # conv1 reads the block's input and writes a map, conv2 reads that and writes another
    maps = inputs * prod(before) + 3 * out
    found = [Work(part, "convolutions", weights * voxels, weights + 2 * channels + maps)]
    if attention != "none":
        found.append(Work(part, "attention means", out, out))
    if attention in ("channel", "both"):
        hidden = max(channels // _REDUCTION, 1)
        found.append(_gate(part, "channel attention", channels, hidden))
    if attention in ("depth", "both"):
        found.append(_gate(part, "depth attention", channels * depth, depth))
    if inputs == channels:
        found.append(Work(part, "shortcut", out, 3 * out))
    else:
        projection = inputs * channels
        moved = projection + channels + inputs * voxels + 2 * out
        found.append(Work(part, "shortcut", projection * voxels + out, moved))
    return found


def _gate(part: str, kind: Kind, features: int, hidden: int) -> Work:
    """Return the work of Linear, ReLU, Linear, sigmoid."""
    weights = 2 * features * hidden
    return Work(part, kind, weights, weights + hidden + 3 * features)


def _with_plugin(part: str, block: list[Work], out: int) -> Iterator[Work]:
    """Yield a block's work where the plugin does all but the convolutions and the projection."""
    convolutions, *pooled, shortcut = block
    yield convolutions
    yield Work(
        part,
        "fused attention",
        sum(one.macs for one in pooled) + out,
        sum(one.elements for one in pooled) + 3 * out,
    )
    if shortcut.macs > out:  # the projection writes a map that the plugin reads
        yield Work(part, "shortcut", shortcut.macs - out, shortcut.elements - out)


def _halved(size: int) -> int:
    """Return the length of an axis after a stride of 2 with "same" padding."""
    return (size + 1) // 2
