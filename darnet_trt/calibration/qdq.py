"""Insert quantize and dequantize nodes into the network's ONNX graph, in each backend's form.

A pair of QuantizeLinear and DequantizeLinear nodes (Q/DQ) allows a backend to hold the tensor
between them in int8. Weights of quantized convolutions are stored as int8. Activations have one
scale a tensor. The head, the gates and the means stay in the graph's float type.

The form for the CPU:

- "u8": uint8. A tensor without negative values uses all 256 steps, others a zero point of 128. This
  is the only form that ONNX Runtime runs fast on the CPU. Weights have a scale for each output
  channel, and int32 biases. A quantized stem reads its input packed (`packed_stem`). Besides the
  input of each quantized convolution, what a block's tail reads from one is quantized (x and
  residual of the attention, or of the sum in a network without attention): OpenVINO fuses the sum
  into the convolution.

The forms for plans have symmetric int8 without zero points, as TensorRT requires. The attention's x
stays in float; its residual is the int8 input of the block, except behind a shortcut's convolution.
Weights have one scale a tensor: with a scale for each channel in DequantizeLinear, TensorRT-RTX
writes every convolution's output as float32. The layers of `by_channel` have a scale for each
channel all the same, as a Mul behind the convolution, which costs nothing before a ReLU's Q/DQ.

- "s8": the attention is standard operators.
- "plugin": the attention reads an int8 residual and writes int8, with the scales as attributes.

In a float16 graph the scales are float16, which needs `OPSET_FP16_SCALES`; scales too small for
float16 are float32, between casts.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
from onnx import GraphProto, ModelProto, NodeProto, TensorProto
from onnx.helper import make_attribute, make_node
from onnx.numpy_helper import from_array, to_array

from darnet_trt.calibration import packed_stem, weights
from darnet_trt.errors import UsageError

Form = Literal["s8", "u8", "plugin"]
VERSION: Final = 3
"""Raise it whenever `quantize` makes another graph of the same arguments: cached trials hold it."""
OPSET_FP16_SCALES: Final = 19
ATTENTIONS: Final = ("FusedDualAttention", "FusedChannelAttention", "FusedDepthAttention")
SUM: Final = "Add"  # of a block without attention; the head's Add does not read a convolution
HEAD: Final = "classifier"
STEM: Final = "stem.0"

_UNSIGNED_LIMIT: Final = 255
_UNSIGNED_ZERO: Final = 128


@dataclass(frozen=True)
class Range:
    """The values that a quantized tensor can hold; values beyond are clipped.

    Attributes:
        largest: Largest magnitude, above 0.
        signed: Whether the tensor has negative values.
    """

    largest: float
    signed: bool


def convolutions(model: ModelProto, form: Form = "u8") -> tuple[str, ...]:
    """Return the names of the convolutions to quantize, in order: all but the head.

    In the forms for plans the stem stays in float, too: a plan moves as many bytes either way.
    """
    names = (node.name for node in model.graph.node if node.op_type == "Conv")
    return tuple(n for n in names if n != HEAD and (form == "u8" or n != STEM))


def quantized_tensors(
    model: ModelProto, layers: Collection[str], form: Form = "u8"
) -> tuple[str, ...]:
    """Return the activations that get Q/DQ when `layers` are quantized, in the graph's order.

    Those of "u8" include those of the other forms.

    Raises:
        UsageError: The graph is already quantized, or has no convolution of that name.
    """
    return tuple(_Places(model, layers, form).tensors)


def quantize(
    model: ModelProto,
    ranges: Mapping[str, Range],
    layers: Collection[str],
    form: Form,
    by_channel: Collection[str] = (),
) -> ModelProto:
    """Return a copy of the graph with `layers` quantized.

    Args:
        model: As `export.graph.build_graph` made it, float32, or float16 for "s8" and "plugin".
        ranges: A range for at least each of `quantized_tensors` of the float32 graph.
        layers: Names of convolutions.
        form: Which of the forms above.
        by_channel: In the forms for plans, those of `layers` whose weights have a scale for each
            output channel.

    Raises:
        UsageError: As `quantized_tensors`.
        KeyError: A tensor has no range.
    """
    if not layers:
        return _copy(model)
    places = _Places(model, layers, form)
    return _Writer(model, places, ranges, form, frozenset(by_channel)).written()


def _copy(model: ModelProto) -> ModelProto:
    copied = ModelProto()
    copied.CopyFrom(model)
    return copied


class _Places:
    """The places of Q/DQ; names as in the graph.

    Attributes:
        layers: Quantized convolutions.
        tensors: Tensors with Q/DQ, in the graph's order.
    """

    def __init__(self, model: ModelProto, layers: Collection[str], form: Form) -> None:
        graph = model.graph
        if any(node.op_type in ("QuantizeLinear", "DequantizeLinear") for node in graph.node):
            raise UsageError("the ONNX graph is already quantized", do="give the float32 one")
        if unknown := set(layers) - set(convolutions(model)):
            raise UsageError(f"the ONNX graph has no convolution {', '.join(sorted(unknown))}")
        self.layers = frozenset(layers)
        self.producer = {output: node for node in graph.node for output in node.output}
        found = {
            node.input[0]
            for node in graph.node
            if node.op_type == "Conv" and node.name in self.layers
        }
        tails = (*ATTENTIONS, SUM) if form == "u8" else (SUM,)
        for node in graph.node:
            if node.op_type in tails and self._quantized(node.input[0]):
                tail = [name for name in node.input[:2] if self._quantized(name)]
                found.update(map(self.before_transpose, tail))
        order = [i.name for i in graph.input] + [o for n in graph.node for o in n.output]
        self.tensors = [name for name in order if name in found]

    def before_transpose(self, tensor: str) -> str:
        """Return the tensor that was transposed to this one; itself if none was."""
        node = self.producer.get(tensor)
        return node.input[0] if node is not None and node.op_type == "Transpose" else tensor

    def before_cast(self, tensor: str) -> str:
        """Return the tensor that was cast to this one: its name in the float32 graph."""
        node = self.producer.get(tensor)
        return node.input[0] if node is not None and node.op_type == "Cast" else tensor

    def _quantized(self, tensor: str) -> bool:
        """Return whether a quantized convolution directly makes a tensor."""
        node = self.producer.get(self.before_transpose(tensor))
        return node is not None and node.op_type == "Conv" and node.name in self.layers


class _Writer:
    """Writes the quantized copy."""

    def __init__(
        self,
        model: ModelProto,
        places: _Places,
        ranges: Mapping[str, Range],
        form: Form,
        by_channel: frozenset[str],
    ) -> None:
        self.source, self.places, self.form = model, places, form
        self.by_channel = by_channel
        dims = model.graph.input[0].type.tensor_type.shape.dim
        self.input_shape = [one.dim_value for one in dims]
        self.ranges = {name: ranges[places.before_cast(name)] for name in places.tensors}
        self.values = {t.name: t for t in model.graph.initializer}
        self.float_type = _float_type(model.graph)
        self.initializers: dict[str, TensorProto] = {}
        self.nodes: list[NodeProto] = []
        self.in_int8 = {  # the transposed residuals that plugins read in int8
            node.input[1]
            for node in model.graph.node
            if form == "plugin" and node.op_type in ATTENTIONS
            if places.before_transpose(node.input[1]) in self.ranges
        }

    def written(self) -> ModelProto:
        """Return the copy."""
        for name in self.places.tensors:
            scale, zero = self._scale_and_zero(name)
            scale = max(scale, float(np.finfo(np.float32).tiny))
            self._add(f"{name}.scale", np.array(scale, self._scale_type(name)))
            self._add(f"{name}.zero", zero)
        for given in self.source.graph.input:
            self._pair(given.name)
        for node in self.source.graph.node:
            self._node(node)
            for output in node.output:
                self._pair(output)
        result = _copy(self.source)
        for entry in result.metadata_props:
            if entry.key == "precision":
                entry.value = "int8"
        graph = result.graph
        kept = [t for t in graph.initializer if t.name not in self.initializers]
        used = {name for node in self.nodes for name in node.input}
        del graph.node[:], graph.initializer[:]
        graph.node.extend(self.nodes)
        graph.initializer.extend(t for t in (*kept, *self.initializers.values()) if t.name in used)
        if self.float_type == np.float16:
            for part in (result, *result.functions):
                for opset in part.opset_import:
                    if opset.domain == "":
                        opset.version = max(opset.version, OPSET_FP16_SCALES)
        return result

    def _node(self, node: NodeProto) -> None:
        copied = NodeProto()
        copied.CopyFrom(node)
        if node.op_type == "Conv" and node.name in self.places.layers:
            self._convolution(copied)
            return
        if node.op_type == "Transpose" and node.output[0] in self.in_int8:
            copied.input[0] = _stored(node.input[0])
        elif node.op_type == "Transpose" and node.output[0] in self.ranges and self._int8(node):
            copied.output[0] = _stored(node.output[0])
        elif node.op_type == "Transpose" and node.input[0] in self.ranges:
            copied.input[0] = _dequantized(node.input[0])
        elif node.op_type == SUM:
            copied.input[:] = [_dequantized(i) if i in self.ranges else i for i in node.input]
        elif node.op_type in ATTENTIONS and self.form == "plugin":
            self._scales(copied)
        self.nodes.append(copied)

    def _convolution(self, node: NodeProto) -> None:
        x, weight, bias = node.input
        values, shift = (to_array(self.values[name]) for name in (weight, bias))
        node.input[0] = _dequantized(x)
        if self.form == "u8":
            scale_x = to_array(self.initializers[f"{x}.scale"])
            scales = weights.scales_for_bias(values, shift, scale_x)
            stored = weights.stored(values, scales)
            if node.name == STEM and packed_stem.can_pack(self.input_shape):
                stored = self._packed_stem(node, stored)
            node.input[1] = self._weight(weight, stored, scales)
            node.input[2] = self._bias(bias, scale_x, scales)
            self.nodes.append(node)
        elif node.name in self.by_channel:
            scale, factors = weights.scale_and_factors(values)
            own = scale.astype(np.float32) * factors.astype(np.float32)
            node.input[1] = self._weight(weight, weights.stored(values, own), scale)
            node.input[2], behind = f"{bias}.unscaled", f"{weight}.factors"
            self._add(node.input[2], shift / factors)
            self._add(behind, factors.reshape(-1, 1, 1, 1))
            out, node.output[0] = node.output[0], f"{node.output[0]}.unscaled"
            self.nodes += [node, make_node("Mul", [node.output[0], behind], [out], name=behind)]
        else:
            scale = weights.one_scale(values)
            node.input[1] = self._weight(weight, weights.stored(values, scale), scale)
            self.nodes.append(node)

    def _packed_stem(self, node: NodeProto, stored: npt.NDArray[np.int8]) -> npt.NDArray[np.int8]:
        """Let the stem read its input packed; return its weight for that."""
        x, y = node.input[0], f"{STEM}.packed"
        for name, shape in packed_stem.shapes(self.input_shape).items():
            self._add(f"{y}.{name}", shape)
        self.nodes += packed_stem.packing(x, y)
        packed_stem.pack(node)
        node.input[0] = y
        return packed_stem.packed_weight(stored)

    def _int8(self, transpose: NodeProto) -> bool:
        """Return whether a Transpose reads the int8 output of a plugin."""
        maker = self.places.producer.get(transpose.input[0])
        return self.form == "plugin" and maker is not None and maker.op_type in ATTENTIONS

    def _scales(self, attention: NodeProto) -> None:
        """Set the plugin's scale fields, one for each of its int8 maps."""
        found = {}
        if attention.input[1] in self.in_int8:
            found["residual"] = self.places.before_transpose(attention.input[1])
        read = (n for n in self.source.graph.node if attention.output[0] in n.input)
        out = next(read).output[0]  # of the Transpose behind it
        if out in self.ranges:
            found["y"] = out
        for field, tensor in found.items():
            scale = float(to_array(self.initializers[f"{tensor}.scale"]))
            attention.attribute.append(make_attribute(f"{field}_scale", scale))

    def _pair(self, tensor: str) -> None:
        """Add Q/DQ behind a tensor that has a range."""
        if tensor not in self.ranges:
            return
        parameters = [f"{tensor}.scale", f"{tensor}.zero"]
        stored, read = _stored(tensor), _dequantized(tensor)
        taken, given = tensor, read
        if widened := self._scale_type(tensor) != self.float_type:
            taken, given = f"{tensor}.fp32", f"{read}.fp32"
        if not any(stored in node.output for node in self.nodes):  # else a plugin writes it
            if widened:
                self.nodes.append(_cast(tensor, taken, TensorProto.FLOAT))
            self.nodes.append(
                make_node("QuantizeLinear", [taken, *parameters], [stored], name=stored)
            )
        self.nodes.append(make_node("DequantizeLinear", [stored, *parameters], [given], name=given))
        if widened:
            self.nodes.append(_cast(given, read, TensorProto.FLOAT16))

    def _scale_and_zero(self, tensor: str) -> tuple[float, npt.NDArray[np.integer]]:
        found = self.ranges[tensor]
        if self.form != "u8":
            return found.largest / weights.LIMIT, np.array(0, np.int8)
        if found.signed:
            return found.largest / weights.LIMIT, np.array(_UNSIGNED_ZERO, np.uint8)
        return found.largest / _UNSIGNED_LIMIT, np.array(0, np.uint8)

    def _scale_type(self, tensor: str) -> type[np.floating]:
        """Return float32 also in a float16 graph if the scale is subnormal in float16.

        There it would be inexact, and an engine's reciprocal of it could be infinite."""
        scale, _ = self._scale_and_zero(tensor)
        return np.float32 if scale < np.finfo(self.float_type).tiny else self.float_type

    def _weight(
        self, name: str, stored: npt.NDArray[np.int8], scales: npt.NDArray[np.floating]
    ) -> str:
        """Store a weight; return its dequantized name."""
        self._add(f"{name}.int8", stored)
        self._add(f"{name}.scale", scales)
        self._add(f"{name}.zero", np.zeros(scales.shape, np.int8))
        return self._dequantize(name, f"{name}.int8")

    def _bias(
        self, name: str, scale_x: npt.NDArray[np.floating], scales: npt.NDArray[np.float32]
    ) -> str:
        """Store a bias as int32 in units of the products' scale; return its dequantized name."""
        scale = (scale_x.astype(np.float64) * scales.astype(np.float64)).astype(np.float32)
        stored = np.rint(to_array(self.values[name]).astype(np.float64) / scale)
        stored = np.clip(stored, -weights.INT32_LIMIT, weights.INT32_LIMIT).astype(np.int32)
        self._add(f"{name}.int32", stored)
        self._add(f"{name}.scale", scale)
        self._add(f"{name}.zero", np.zeros(len(scale), np.int32))
        return self._dequantize(name, f"{name}.int32")

    def _dequantize(self, name: str, stored: str) -> str:
        parameters = [stored, f"{name}.scale", f"{name}.zero"]
        read = _dequantized(name)
        self.nodes.append(make_node("DequantizeLinear", parameters, [read], name=read, axis=0))
        return read

    def _add(self, name: str, value: npt.NDArray[np.generic]) -> None:
        self.initializers[name] = from_array(np.asarray(value), name)


def _stored(tensor: str) -> str:
    return f"{tensor}.quantized"


def _dequantized(tensor: str) -> str:
    return f"{tensor}.dequantized"


def _cast(taken: str, given: str, to: int) -> NodeProto:
    return make_node("Cast", [taken], [given], name=given, to=to)


def _float_type(graph: GraphProto) -> type[np.floating]:
    """Return the type of the convolutions' weights."""
    weight = next(n.input[1] for n in graph.node if n.op_type == "Conv")
    dtype = next(t.data_type for t in graph.initializer if t.name == weight)
    return np.float16 if dtype == TensorProto.FLOAT16 else np.float32
