"""Tell from its name which part of the network a layer of an engine belongs to.

The exporter names nodes after the network's modules, "stages.1.0.conv2". The nodes of the n-th
block's attention have names as in `kernels/onnx_function.py` with the suffix "__n"; in a plan whose
graph calls the function they are "node_of_NAME | stages.1.0.attention (FUNCTION)". Engines keep
these names, with additions of their own.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from darnet_trt.runtime.bench.layers.work import Kind


class Place(NamedTuple):
    """The part of the network, as in `work.Work`, and what is done there."""

    part: str
    kind: Kind


@dataclass(frozen=True)
class Executed:
    """A layer as a profiler names it.

    Attributes:
        name: Its name.
        operation: The kind of operation, in the backend's words.
        kernel: What ran: the implementation and its type, in the backend's words.
        origins: Names of the nodes of the model that are fused in it, where the backend keeps them.
    """

    name: str
    operation: str
    kernel: str
    origins: tuple[str, ...] = ()


_MEAN: Final = "ReduceMean"

FORMAT: Final = Place("format", "format")
OTHER: Final = Place("other", "other")
_END: Final = Place("head", "head")

_CONVERSIONS: Final = {
    "Reorder",
    "ReorderInput",
    "ReorderOutput",
    "Transpose",
    "Cast",
    "Convert",
    "QuantizeLinear",
    "DequantizeLinear",
    "Reformat",
}
# TensorRT's reformats, its generated kernels that only move or convert, and the input's conversion
_CONVERTS: Final = re.compile(r"Reformat|__myl_(?:Tran|Move|Resh|Cast|Copy|Quan|Dequ)+_myl|input\b")
_OF_A_TENSOR: Final = re.compile(r"\.(de)?quantized")  # named for what it converts
_IN_FUNCTION: Final = re.compile(r"node_of_(\w+) \| stages\.(\d)\.(\d)\.")
_INLINED: Final = re.compile(r"([a-z]\w*?)__(\d+)(?!\d)")
_MODULE: Final = re.compile(r"\bstages\.(\d)\.(\d)\.([a-z]+)")
_HEAD: Final = re.compile(r"\b(classifier|cam|pool|logits|features)(_myl\d|\b)")

_MODULES: Final[dict[str, Kind]] = {
    "conv": "convolutions",
    "bn": "convolutions",
    "attention": "fused attention",
    "x": "format",
    "residual": "format",
}  # all others: the shortcut
_NODES: Final[tuple[tuple[tuple[str, ...], Kind], ...]] = (
    (("x_fp32", "z_ndc", "z_fp32", "z_channel"), "attention means"),
    (("channel",), "channel attention"),
    (("depth", "z_gated", "z_depth", "shape"), "depth attention"),
)  # all others: the scaling, which belongs to the shortcut


def places(layers: Sequence[Executed]) -> list[Place]:
    """Return the place of each layer of an engine, in the order in which they run.

    A layer without a name of its own belongs to the group that follows it, if the layers before
    and after it are of the same block; else to `OTHER`. A mean among them is the attention's:
    OpenVINO does not keep its name.
    """
    named = [_named(layer) for layer in layers]
    blocks = [place if place is not None and place != FORMAT else None for place in named]
    after: list[Place | None] = []
    following: Place | None = _END
    for block in reversed(blocks):
        following = block or following
        after.insert(0, following)
    found, before = [], None
    for layer, place, block, next_ in zip(layers, named, blocks, after, strict=True):
        same = before is not None and next_ is not None and before.part == next_.part
        if place is None and same and next_ is not None:
            mean = layer.operation == _MEAN and next_.part != "head"
            place = Place(next_.part, "attention means" if mean else next_.kind)
        found.append(place or OTHER)
        before = block or before
    return found


def _named(layer: Executed) -> Place | None:
    if layer.operation in _CONVERSIONS or _CONVERTS.match(layer.name):
        return FORMAT
    if (own := _place(layer.name)) is not None:
        return own
    nodes = [name for name in layer.origins if not _OF_A_TENSOR.search(name)]
    fused = [place for name in nodes if (place := _place(name)) is not None]
    # What reads and writes whole maps takes the time, not what else is fused in it.
    maps = [place for place in fused if place.kind in ("convolutions", "shortcut")]
    return next(iter((*maps, *fused)), None)


def _place(name: str) -> Place | None:
    if found := _IN_FUNCTION.search(name):
        return Place(f"stages.{found[2]}.{found[3]}", _kind(found[1]))
    if found := _MODULE.search(name):
        kind = _MODULES.get(found[3], "shortcut")
        return FORMAT if kind == "format" else Place(f"stages.{found[1]}.{found[2]}", kind)
    if found := _INLINED.search(name):
        stage, block = divmod(int(found[2]) - 1, 2)
        return Place(f"stages.{stage}.{block}", _kind(found[1]))
    if "stem.0.packed" in name:
        return FORMAT
    if re.search(r"\bstem\.", name):
        return Place("stem", "convolutions")
    return _END if _HEAD.search(name) else None


def _kind(node: str) -> Kind:
    """Return what a node of the attention's function does."""
    return next((kind for start, kind in _NODES if node.startswith(start)), "shortcut")
