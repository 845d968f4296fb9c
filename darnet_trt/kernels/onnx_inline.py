"""Write a graph with local functions in standard operators only.

OpenVINO and other readers of ONNX know no local functions. ONNX Runtime knows them, and removes the
casts and transposes of their bodies that change nothing, but not of a graph that
`onnx.inliner.inline_local_functions` wrote: a CastLike stops it. So they are removed here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set

from onnx import ModelProto, NodeProto
from onnx.helper import make_node
from onnx.inliner import inline_local_functions
from onnx.shape_inference import infer_shapes

from darnet_trt.kernels.onnx_function import DOMAIN


def inlined(model: ModelProto) -> ModelProto:
    """Return a copy of a graph with the functions' bodies in place of their calls.

    Casts to the tensor's own type and transposes that undo each other are left out; other CastLikes
    become Casts. The graph's tensors keep their names. A node without a name gets its output's.
    """
    plain = inline_local_functions(model)
    graph = plain.graph
    named = {output for node in model.graph.node for output in node.output}
    simple = _simple(graph.node, _types(plain), named)
    nodes = list(_used(simple, [output.name for output in graph.output]))
    opsets = [opset for opset in plain.opset_import if opset.domain != DOMAIN]
    del graph.node[:], plain.opset_import[:]
    graph.node.extend(reversed(nodes))
    plain.opset_import.extend(opsets)
    return plain


def _types(model: ModelProto) -> dict[str, int]:
    graph = infer_shapes(model).graph
    values = (*graph.input, *graph.value_info, *graph.output)
    return {value.name: value.type.tensor_type.elem_type for value in values}


def _simple(
    nodes: Iterable[NodeProto], types: Mapping[str, int], named: Set[str]
) -> list[NodeProto]:
    """Return the nodes, each reading past the casts and transposes that change nothing.

    Of tensors with the same values one stays: one of `named`, if there is one.
    """
    same: dict[str, str] = {}
    transposes: dict[str, NodeProto] = {}
    kept = []
    for node in nodes:
        node.input[:] = [same.get(name, name) for name in node.input]
        if node.op_type in ("Cast", "CastLike"):
            x, y = node.input[0], node.output[0]
            if types[x] == types[y]:
                same[y] = x
                continue
            node = make_node("Cast", [x], [y], name=node.name, to=types[y])
        if node.op_type == "Transpose":
            before = transposes.get(node.input[0])
            if before is not None and _undoes(_order(node), _order(before)):
                same[node.output[0]] = before.input[0]
                continue
            transposes[node.output[0]] = node
        kept.append(node)
    names = {x: y for y, x in same.items() if y in named and x not in named}
    for node in kept:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
        node.name = node.name or node.output[0]
    return kept


def _order(transpose: NodeProto) -> Sequence[int]:
    order: Sequence[int] = transpose.attribute[0].ints
    return order


def _undoes(order: Sequence[int], first: Sequence[int]) -> bool:
    return [first[axis] for axis in order] == list(range(len(order)))


def _used(nodes: Sequence[NodeProto], outputs: Sequence[str]) -> Iterator[NodeProto]:
    """Yield the nodes whose results are read, the last first."""
    read = set(outputs)
    for node in reversed(nodes):
        if not read.isdisjoint(node.output):
            read.update(node.input)
            yield node
