"""Read the table of a plan's layers from the builder's log: the kernels, and the bytes they move.

A plan can be loaded only on its GPU. But with `ProfilingVerbosity.DETAILED` TensorRT-RTX's verbose
log has every layer of the plan in one message, a line a layer:

    Layers:
    Name: stages.0.0.conv1_myl0_2, LayerType: correlation, Inputs: [ { Name: …, Dimensions:
    [1,64,64,112,112], Strides: […], StrideOrder: […], Datatype: Half, Format: (NDHWC) … }],
    Constants: [ … ], Outputs: [ … ], TacticName: …, StreamId: 0, Metadata: [ONNX Layer: …]

as of version 1.7; a plan with two optimization profiles has the layers of both in one table.
Whether TensorRT's own logger prints the table too has not been tried.

The bytes of a tensor are its dimensions times the size of its type. Every kernel counts its inputs
and constants as read and its outputs as written, even if a cache holds them. What a kernel reads
twice is in the table once; of the plugin, which does so, the second reading is counted apart.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from math import prod
from typing import Final

from darnet_trt.bundle.plan import Plan, Work
from darnet_trt.kernels.library import PHASES

Kernels = dict[str, dict[str, int]]
"""Number of kernels by kind and type of the first input."""

Tensor = tuple[tuple[int, ...], str]
"""Dimensions, -1 where the profile leaves the batch open, and type as the builder names it."""

PLUGIN_LAUNCHES: Final = len(PHASES)
"""Kernels that a plugin layer launches; the table has one line for it."""

_HEADING: Final = re.compile(r"^Layers:\n(?=Name: )", re.MULTILINE)
_TENSOR: Final = re.compile(r"Dimensions: \[([-\d,]*)\].*?Datatype: (\w+)")

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


_SIZES: Final = {"Float": 4, "Int32": 4, "Int64": 8, "Half": 2, "BFloat16": 2} | dict.fromkeys(
    ("Int8", "UInt8", "FP8", "Bool"), 1
)


@dataclass(frozen=True)
class Layer:
    """A line of the table that is at least one kernel.

    Attributes:
        name: In the table.
        kind: "convolution", "generated" (fused point-wise operations and reductions), "matrix
            product", "plugin", "reformat" (moves data and computes nothing), or the builder's own
            word.
        inputs: What it reads, weights excepted.
        constants: The weights.
        outputs: What it writes.
    """

    name: str
    kind: str
    inputs: tuple[Tensor, ...]
    constants: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]

    @property
    def type(self) -> str:
        """Return the type of the first input: "fp32", "fp16", "int8", or the builder's word."""
        return type_of(next((name for _, name in (*self.inputs, *self.outputs)), "untyped"))


def type_of(word: str) -> str:
    """Return "fp32", "fp16", "bf16" or "int8" for the builder's word, or the word itself."""
    return _TYPES.get(word, word)


def read_layers(message: str) -> tuple[Layer, ...]:
    """Return the layers of all profiles, in order; none if the message has no table."""
    heading = _HEADING.search(message)
    if heading is None:
        return ()
    lines = message[heading.end() :].split("\n\n")[0].split("\n")
    found = (_fields(line) for line in lines)
    return tuple(
        Layer(
            fields["Name"],
            _kind(fields["LayerType"], fields["Name"]),
            *(_tensors(fields.get(part, "")) for part in ("Inputs", "Constants", "Outputs")),
        )
        for fields in found
        if fields.get("LayerType", "") not in ("", *_NO_KERNEL)
    )


def kernels_of(layers: Iterable[Layer]) -> Kernels:
    """Count the kernels by kind and type, the most frequent first."""
    kernels: Kernels = {}
    for (kind, type_), number in Counter((a.kind, a.type) for a in layers).most_common():
        kernels.setdefault(kind, {})[type_] = number
    return kernels


def work_of(layers: Iterable[Layer]) -> Work | None:
    """Add up what one run does in the first profile, the one whose batch is fixed.

    None without layers, or with a tensor of a type that has no known size.
    """
    run = [a for a in layers if all(-1 not in dims for dims, _ in (*a.inputs, *a.outputs))]
    plugins = [a for a in run if a.kind == "plugin"]
    activations = bytes_of(t for a in run for t in (*a.inputs, *a.outputs))
    weights = bytes_of(t for a in run for t in a.constants)
    again = bytes_of(a.inputs[0] for a in plugins)
    if not run or activations is None or weights is None or again is None:
        return None
    return Work(
        launches=len(run) + (PLUGIN_LAUNCHES - 1) * len(plugins),
        activations=activations,
        weights=weights,
        read_again=again,
    )


def bytes_of(tensors: Iterable[Tensor]) -> int | None:
    """Return the size of all; None if a batch is open or a type has no known size."""
    sizes = [prod(dims) * _SIZES.get(type_, -1) for dims, type_ in tensors]
    return None if any(size < 0 for size in sizes) else sum(sizes)


def described(plan: Plan) -> tuple[str, ...]:
    """Return lines: `32 kernels: 21 convolution fp16, …`, then the launches and bytes of a run."""
    if not plan.kernels:
        return ("kernels unknown: the builder printed no table of layers",)
    profiles = len(plan.profiles)
    of_all = f" in {profiles} profiles" if profiles > 1 else ""
    by_type = [(n, kind, t) for kind, types in plan.kernels.items() for t, n in types.items()]
    kernels = ", ".join(f"{n} {kind} {type_}" for n, kind, type_ in by_type)
    line = f"{sum(n for n, _, _ in by_type)} kernels{of_all}: {kernels}"
    if plan.work is None:
        return (line,)
    work = plan.work
    again = f" and {_mb(work.read_again)} again by the plugin" if work.read_again else ""
    of_a_run = (
        f"a run of the smallest batch: {work.launches} launches, {_mb(work.activations)} of "
        f"activations read and written{again}, {_mb(work.weights)} of weights read"
    )
    return line, of_a_run


def _mb(size: int) -> str:
    return f"{size / 1e6:.0f} MB" if size >= 1e7 else f"{size / 1e6:.2g} MB"


def _tensors(field: str) -> tuple[Tensor, ...]:
    return tuple(
        (tuple(int(n) for n in dims.split(",") if n), type_)
        for dims, type_ in _TENSOR.findall(field)
    )


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
