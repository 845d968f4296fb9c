"""Read the table of a plan's layers from the builder's log: the kernels that will really run.

A plan can be loaded only on its GPU. But with `ProfilingVerbosity.DETAILED` TensorRT-RTX's verbose
log has every layer of the plan in one message, a line a layer:

    Layers:
    Name: stages.0.0.conv1_myl0_2, LayerType: correlation, Inputs: [ { Name: …, Dimensions:
    [1,64,64,112,112], Strides: […], StrideOrder: […], Datatype: Half, Format: (NDHWC) … }],
    Constants: [ … ], Outputs: [ … ], TacticName: …, StreamId: 0, Metadata: [ONNX Layer: …]

as of version 1.7; a plan with two optimization profiles has the layers of both in one table.
Whether TensorRT's own logger prints the table too has not been tried.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Final

Kernels = dict[str, dict[str, int]]
"""Number of kernels by kind and type of the first input."""

_HEADING: Final = re.compile(r"^Layers:\n(?=Name: )", re.MULTILINE)
_DATATYPE: Final = re.compile(r"Datatype: (\w+)")

_KINDS: Final = {
    "correlation": "convolution",
    # TensorRT 10's words for it, in a table of its log that others published.
    "CaskConvolution": "convolution",
    "CaskGemmConvolution": "convolution",
    "kgen": "generated",
    "gemm": "matrix product",
    "custom_layer": "plugin",
    "Reformat": "reformat",
}
# These order the streams or compute shapes on the host.
_NO_KERNEL: Final = {"signal", "wait", "shape_call"}
# A generated kernel's name lists its operations, four letters each; these only move or convert.
_MOVES: Final = {"Tran", "Move", "Resh", "Cast", "Copy"}
_TYPES: Final = {"Float": "fp32", "Half": "fp16", "BFloat16": "bf16", "Int8": "int8"}


def read_table(message: str) -> Kernels:
    """Count the kernels, the most frequent first; empty if the message has no table.

    A kind is "convolution", "generated" (fused point-wise operations and reductions), "matrix
    product", "plugin", "reformat" (moves data and computes nothing), or the builder's own word. A
    type is "fp32", "fp16", "bf16", "int8", or the builder's own word.
    """
    heading = _HEADING.search(message)
    if heading is None:
        return {}
    pairs: Counter[tuple[str, str]] = Counter()
    for line in message[heading.end() :].split("\n\n")[0].split("\n"):
        fields = _fields(line)
        word = fields.get("LayerType", "")
        if word and word not in _NO_KERNEL:
            types = _DATATYPE.findall(fields.get("Inputs", "") + fields.get("Outputs", ""))
            first = types[0] if types else "untyped"
            pairs[_kind(word, fields["Name"]), _TYPES.get(first, first)] += 1
    kernels: Kernels = {}
    for (kind, type_), number in pairs.most_common():
        kernels.setdefault(kind, {})[type_] = number
    return kernels


def described(kernels: Kernels, profiles: int) -> str:
    """Return one line: `32 kernels: 21 convolution fp16, 8 plugin fp16, 2 generated fp32, …`.

    Args:
        kernels: Of all profiles together.
        profiles: Number of profiles; mentioned if there are several.
    """
    if not kernels:
        return "kernels unknown: the builder printed no table of layers"
    of_all = f" in {profiles} profiles" if profiles > 1 else ""
    parts = [f"{n} {kind} {type_}" for kind, types in kernels.items() for type_, n in types.items()]
    total = sum(n for types in kernels.values() for n in types.values())
    return f"{total} kernels{of_all}: {', '.join(parts)}"


def _kind(word: str, name: str) -> str:
    kind = _KINDS.get(word, word)
    if kind == "generated" and _operations(name) <= _MOVES:
        return "reformat"
    return kind


def _fields(line: str) -> dict[str, str]:
    """Parse `Key: value, Key: value`; commas inside brackets belong to the value."""
    fields: dict[str, str] = {}
    depth = start = 0
    for index, character in enumerate([*line, ","]):
        depth += (character in "[{(") - (character in "]})")
        if character == "," and (depth <= 0 or index == len(line)):
            key, _, value = line[start:index].partition(":")
            fields.setdefault(key.strip(), value.strip())
            start = index + 1
    return fields


def _operations(name: str) -> set[str]:
    """Return the operations in a name: `__myl_TranCastMean_myl0_4` → {"Tran", "Cast", "Mean"}."""
    found = re.match(r"__myl_(\w+?)_myl\d", name)
    return set(re.findall(r"[A-Z][a-z]*", found[1])) if found else {name}
