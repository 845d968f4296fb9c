"""The table of a plan's layers, which the builder prints: what the engine will really run.

A plan can be deserialized only where its GPU is, but TensorRT-RTX's most talkative logger gets
every layer of what was built (with `ProfilingVerbosity.DETAILED`) in one message, a line a layer:

    Layers:
    Name: stages.0.0.conv1_myl0_2, LayerType: correlation, Inputs: [ { Name: …, Dimensions:
    [1,64,64,112,112], Strides: […], StrideOrder: […], Datatype: Half, Format: (NDHWC) … }],
    Constants: [ … ], Outputs: [ … ], TacticName: …, StreamId: 0, Metadata: [ONNX Layer: …]

as of version 1.7; a plan with two optimization profiles has the layers of both in one table.
TensorRT's own logger could not be looked at. Where it prints no such table, the engine inspector
tells the same of a plan that was deserialized, as JSON: read as NVIDIA documents it ("Engine
Inspector", `kDETAILED`; from 11 on "Format/Datatype" is two fields), not tried on a GPU yet.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

__all__ = [
    "Kernels",
    "PlanLayer",
    "PlanTensor",
    "counted",
    "described",
    "read_inspection",
    "read_table",
]

Kernels = dict[str, dict[str, int]]
"""Kind → type of the first input → how many."""

_HEADING: Final = re.compile(r"^Layers:\n(?=Name: )", re.MULTILINE)
_ONNX_NODE: Final = re.compile(r"\[ONNX Layer: (.*?)\](?=[\x1e\x1f]|$)")
_TENSOR: Final = re.compile(
    r"Name: (?P<name>[^,]*), Dimensions: \[(?P<dims>[\d,-]*)\].*?"
    r"Datatype: (?P<type>\w+), Format: (?:\((?P<format>[^)]*)\))?"
)

_KINDS: Final = {
    "correlation": "convolution",
    "kgen": "generated",
    "gemm": "matrix product",
    "custom_layer": "plugin",
    "Reformat": "reformat",
}
# They order the streams or compute shapes on the host.
_NO_KERNEL: Final = {"signal", "wait", "shape_call"}
# A generated kernel is named for its operations, four letters each: these only move or convert.
_MOVES: Final = {"Tran", "Move", "Resh", "Cast", "Copy"}
_TYPES: Final = {"Float": "fp32", "Half": "fp16", "BFloat16": "bf16", "Int8": "int8"}
# The inspector's words, alone or in a sentence: "Channel major FP16 format where channel % 8 == 0".
_WORDS: Final = {word.lower(): type_ for word, type_ in _TYPES.items()} | {
    type_: type_ for type_ in _TYPES.values()
}
_WORD: Final = re.compile(rf"\b({'|'.join(_WORDS)})\b")


@dataclass(frozen=True)
class PlanTensor:
    """What a layer reads or writes.

    Attributes:
        name: The builder's, not the graph's.
        dims: Logical shape.
        type: "fp32", "fp16", "bf16", "int8", or the builder's own word.
        format: How it lies in memory, in the builder's word: "Linear", "NDHWC", …
    """

    name: str
    dims: tuple[int, ...]
    type: str
    format: str


@dataclass(frozen=True)
class PlanLayer:
    """One kernel of the plan.

    Attributes:
        name: The builder's.
        kind: "convolution", "generated" (fused point-wise operations and reductions),
            "matrix product", "plugin", "reformat" (moves data and computes nothing), or the
            builder's own word.
        inputs: Without constants.
        outputs: What it writes.
        nodes: Names of the ONNX nodes it came from.
    """

    name: str
    kind: str
    inputs: tuple[PlanTensor, ...]
    outputs: tuple[PlanTensor, ...]
    nodes: tuple[str, ...]


def read_table(message: str) -> tuple[PlanLayer, ...]:
    """The kernels in the order in which they run; empty where a message has no such table."""
    heading = _HEADING.search(message)
    if heading is None:
        return ()
    return tuple(_layers(message[heading.end() :].split("\n\n")[0].split("\n")))


def read_inspection(answer: str) -> tuple[PlanLayer, ...]:
    """The same from `EngineInspector.get_engine_information` in JSON.

    Empty where it is of another form, or leaves open which type a convolution computes in.
    """
    try:
        rows = [row for row in json.loads(answer)["Layers"] if row["LayerType"] not in _NO_KERNEL]
        layers = tuple(_inspected(row) for row in rows)
    except (ValueError, KeyError, TypeError):  # a layer's name alone is a text
        return ()
    known = set(_TYPES.values())
    if any(layer.kind == "convolution" and _type(layer) not in known for layer in layers):
        return ()
    return layers


def counted(layers: Sequence[PlanLayer]) -> Kernels:
    """How many kernels of which kind and type; the most frequent first."""
    pairs = Counter((layer.kind, _type(layer)) for layer in layers)
    kernels: Kernels = {}
    for (kind, type_), number in pairs.most_common():
        kernels.setdefault(kind, {})[type_] = number
    return kernels


def described(kernels: Kernels, profiles: int) -> str:
    """`32 kernels: 21 convolution fp16, 8 plugin fp16, 2 generated fp32, …`.

    Args:
        kernels: Of all profiles together.
        profiles: How many there are; 0 and 1 go unsaid.
    """
    if not kernels:
        return "the builder printed no table of layers"
    of_all = f" in {profiles} profiles" if profiles > 1 else ""
    parts = [f"{n} {kind} {type_}" for kind, types in kernels.items() for type_, n in types.items()]
    total = sum(n for types in kernels.values() for n in types.values())
    return f"{total} kernels{of_all}: {', '.join(parts)}"


def _type(layer: PlanLayer) -> str:
    tensors = (*layer.inputs, *layer.outputs)
    return tensors[0].type if tensors else "untyped"


def _layers(lines: Sequence[str]) -> Iterator[PlanLayer]:
    for line in lines:
        fields = _fields(line)
        word = fields.get("LayerType", "")
        if not word or word in _NO_KERNEL:
            continue
        yield PlanLayer(
            fields["Name"],
            _kind(word, fields["Name"]),
            _tensors(fields.get("Inputs", "")),
            _tensors(fields.get("Outputs", "")),
            _nodes(fields.get("Metadata", "")),
        )


def _inspected(row: dict[str, Any]) -> PlanLayer:
    def tensors(of: str) -> tuple[PlanTensor, ...]:
        return tuple(
            PlanTensor(t["Name"], tuple(t["Dimensions"]), *_type_and_format(t))
            for t in row.get(of, ())
        )

    return PlanLayer(
        row["Name"],
        _kind(row["LayerType"], row["Name"]),
        tensors("Inputs"),
        tensors("Outputs"),
        _nodes(row.get("Metadata", "")),
    )


def _type_and_format(tensor: dict[str, Any]) -> tuple[str, str]:
    words = next((str(v) for k, v in tensor.items() if "datatype" in k.lower()), "")
    match = _WORD.search(words.lower())
    return _WORDS[match[1]] if match else words, tensor.get("Format", words)


def _kind(word: str, name: str) -> str:
    kind = _KINDS.get(word, word)
    if kind == "generated" and _operations(name) <= _MOVES:
        return "reformat"
    # TensorRT has many words for one thing: CaskConvolution, CaskConvActPool; PluginV2, PluginV3.
    if "Conv" in kind:
        return "convolution"
    return "plugin" if kind.startswith("Plugin") else kind


def _nodes(metadata: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_ONNX_NODE.findall(metadata)))


def _fields(line: str) -> dict[str, str]:
    """`Key: value, Key: value` → by key; commas inside brackets belong to the value."""
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
    """`__myl_TranCastMean_myl0_4` → {"Tran", "Cast", "Mean"}."""
    found = re.match(r"__myl_(\w+?)_myl\d", name)
    return set(re.findall(r"[A-Z][a-z]*", found[1])) if found else {name}


def _tensors(text: str) -> tuple[PlanTensor, ...]:
    return tuple(
        PlanTensor(
            match["name"],
            tuple(int(d) for d in match["dims"].split(",") if d),
            _TYPES.get(match["type"], match["type"]),
            match["format"] or "",
        )
        for match in _TENSOR.finditer(text)
    )
