"""The fused attention as a torch operator, `darnet::fused_attention`, with autograd.

    y = relu(x · gates(x) + residual)

It reads x once to pool and once to scale, as in `reference.py`; the paper's separate layers read a
map of that size four times. On a CUDA device it runs the kernels of `cuda/` if `darnet-trt plugin
build` has made a library for the device; without one it logs a warning, once. Everywhere else, and
for the backward pass, it runs plain torch in the same fused form. `torch.compile` keeps the
operator whole.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import cache
from typing import Any, Final

import torch
from torch import Tensor

from darnet_trt.errors import UsageError
from darnet_trt.kernels.library import (
    ALIGNMENT,
    COUNTER_BYTES,
    GateAddresses,
    Library,
    Problem,
    TensorType,
    architecture,
    covers,
)

_log: Final = logging.getLogger(__name__)
_TYPES: Final[dict[torch.dtype, TensorType]] = {
    torch.float32: "float32",
    torch.float16: "float16",
    torch.bfloat16: "bfloat16",
}


@torch.library.custom_op("darnet::fused_attention", mutates_args=())
def fused_attention(
    x: Tensor, residual: Tensor | None, channel: Sequence[Tensor], depth: Sequence[Tensor]
) -> Tensor:
    """Return relu(x · gates + residual), or x · gates without a residual.

    Args:
        x: (n, c, d, h, w), floating. On CUDA anything but a dense channels_last_3d tensor is
            copied.
        residual: Same shape and type as x, or None.
        channel: squeeze weight (hidden, c), squeeze bias (hidden), excite weight (c, hidden),
            excite bias (c), of any floating type; empty: no channel attention. The kernels compute
            the gates in x's type, plain torch at least in float32.
        depth: The same with c·d instead of c, c slowest; empty: no depth attention.

    Returns:
        (n, c, d, h, w) of x's type; on CUDA in channels_last_3d order, else in the order of x.

    Raises:
        UsageError: Shapes or types do not fit; names what is expected and what was found.
    """
    _check(x, residual, channel, depth)
    return _in_torch(x, residual, channel, depth)


@fused_attention.register_kernel("cuda")
def _on_cuda(
    x: Tensor, residual: Tensor | None, channel: Sequence[Tensor], depth: Sequence[Tensor]
) -> Tensor:
    _check(x, residual, channel, depth)
    library = kernels_for(x.device) if x.dtype in _TYPES else None
    if library is None or x.numel() == 0:
        x = x.contiguous(memory_format=torch.channels_last_3d)
        return _in_torch(x, residual, channel, depth)
    with torch.cuda.device(x.device):
        stream = torch.cuda.current_stream().cuda_stream
        return _launch(library, stream, x, residual, channel, depth)


@fused_attention.register_fake
def _fake(
    x: Tensor, residual: Tensor | None, channel: Sequence[Tensor], depth: Sequence[Tensor]
) -> Tensor:
    _check(x, residual, channel, depth)
    if x.device.type == "cuda":
        return torch.empty_like(x, memory_format=torch.channels_last_3d)
    return torch.empty_like(x)


def _check(
    x: Tensor, residual: Tensor | None, channel: Sequence[Tensor], depth: Sequence[Tensor]
) -> None:
    if x.dim() != 5 or not x.dtype.is_floating_point:
        _refuse("x", "5 axes (n c d h w) of a floating type", x)
    if residual is not None and (residual.shape != x.shape or residual.dtype != x.dtype):
        _refuse("the residual", f"{tuple(x.shape)} {x.dtype}, as x", residual)
    if residual is not None and residual.device != x.device:
        _refuse("the residual", f"{x.device}, as x", residual)
    if not channel and not depth:
        raise UsageError("neither a channel nor a depth gate is given", where="fused attention")
    c, d = x.shape[1:3]
    for kind, gate, features in (("channel", channel, c), ("depth", depth, c * d)):
        if not gate:
            continue
        if len(gate) != 4:
            raise UsageError(
                f"a {kind} gate has 4 parameters; found {len(gate)}", where="fused attention"
            )
        hidden = gate[0].shape[0]
        expected = ((hidden, features), (hidden,), (features, hidden), (features,))
        for parameter, shape in zip(gate, expected, strict=True):
            if tuple(parameter.shape) != shape:
                _refuse(f"a parameter of the {kind} gate", f"{shape} for this x", parameter)
            if parameter.device != x.device:
                _refuse(f"a parameter of the {kind} gate", f"{x.device}, as x", parameter)


def _refuse(what: str, expected: str, found: Tensor) -> None:
    raise UsageError(
        f"{what} must be {expected}; found {tuple(found.shape)} {found.dtype} on {found.device}",
        where="fused attention",
    )


# --- plain torch ---------------------------------------------------------------------------------


def _in_torch(
    x: Tensor, residual: Tensor | None, channel: Sequence[Tensor], depth: Sequence[Tensor]
) -> Tensor:
    with torch.autocast(x.device.type, enabled=False):  # keep the gates in float32
        gates = _as(x, _gates(_means(x), channel, depth))
    y = torch.empty_like(x)
    if residual is None:
        return torch.mul(x, gates, out=y)
    return torch.addcmul(residual, x, gates, out=y).relu_()


def _as(x: Tensor, of_slices: Tensor) -> Tensor:
    """Return (n c d) as (n c d 1 1) in x's type and memory order, for one pass over both."""
    if x.is_contiguous(memory_format=torch.channels_last_3d):
        of_slices = of_slices.transpose(1, 2).contiguous().transpose(1, 2)
    return of_slices.to(x.dtype)[..., None, None]


def _sums(x: Tensor) -> Tensor:
    """Return the sums over h and w, (n c d), in float32 or, for a float64 x, float64."""
    precise = torch.float64 if x.dtype == torch.float64 else torch.float32
    # Channels innermost in the result, too: six times faster on a CPU for channels-last memory.
    return x.permute(0, 2, 3, 4, 1).sum((2, 3), dtype=precise).transpose(1, 2)


def _means(x: Tensor) -> Tensor:
    return _sums(x) / (x.shape[3] * x.shape[4])


def _gates(z: Tensor, channel: Sequence[Tensor], depth: Sequence[Tensor]) -> Tensor:
    """Return the gates, (n c d), from the means over h and w."""
    gates = torch.ones_like(z)
    if channel:
        gates = gates * _gate(z.mean(2), channel)[:, :, None]
    if depth:
        gates = gates * _gate((z * gates).flatten(1), depth).reshape(z.shape)
    return gates


def _gate(z: Tensor, parameters: Sequence[Tensor]) -> Tensor:
    """Return sigmoid(relu(z · W₁ᵀ + b₁) · W₂ᵀ + b₂), (n, features)."""
    w1, b1, w2, b2 = (p.to(z.dtype) for p in parameters)
    return torch.addmm(b2, torch.addmm(b1, z, w1.t()).relu(), w2.t()).sigmoid()


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, residual, channel, depth = inputs
    ctx.split = len(channel)
    ctx.has_residual = residual is not None
    # y is needed only for the ReLU's derivative. x is kept once, by the paper's layers twice.
    ctx.save_for_backward(x, output if ctx.has_residual else x, *channel, *depth)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor | None, list[Tensor], list[Tensor]]:
    x, y, *parameters = ctx.saved_tensors
    if ctx.has_residual:
        grad = torch.ops.aten.threshold_backward(grad, y, 0)
    # The maps' derivatives are written out; autograd has those of the small gates.
    create_graph = torch.is_grad_enabled()
    with torch.enable_grad(), torch.autocast(x.device.type, enabled=False):
        leaves = [
            t if t.requires_grad else t.detach().requires_grad_() for t in (_means(x), *parameters)
        ]
        gates = _gates(leaves[0], leaves[1 : ctx.split + 1], leaves[ctx.split + 1 :])
        of_means, *of_parameters = torch.autograd.grad(
            gates, leaves, _sums(grad * x), create_graph=create_graph
        )
    through_means = _as(x, of_means / (x.shape[3] * x.shape[4]))
    of_x = torch.addcmul(through_means, grad, _as(x, gates))
    of_channel, of_depth = of_parameters[: ctx.split], of_parameters[ctx.split :]
    return of_x, grad if ctx.has_residual else None, of_channel, of_depth


fused_attention.register_autograd(_backward, setup_context=_save)


# --- the kernels ---------------------------------------------------------------------------------


@cache
def kernels_for(device: torch.device) -> Library | None:
    """Return the kernels' library for a CUDA device; None if there is none for it.

    In that case it logs the reason, once for each device: the operator is slower, not wrong.
    """
    from darnet_trt.kernels.build import cached_library
    from darnet_trt.kernels.toolchain import how_to_get_the_cuda_build

    capability = torch.cuda.get_device_capability(device)
    path = cached_library("cuda", [capability])
    if path is None:
        reason = "its kernels are not compiled"
    else:
        library = Library(path)
        if covers(library.target, capability):
            return library
        reason = f"its kernels are not for {architecture(capability)}, but {library.target}"
    _log.warning(
        "the fused attention runs as plain torch on %s: %s; %s",
        device,
        reason,
        how_to_get_the_cuda_build(),
    )
    return None


def _launch(
    library: Library,
    stream: int,
    x: Tensor,
    residual: Tensor | None,
    channel: Sequence[Tensor],
    depth: Sequence[Tensor],
) -> Tensor:
    """Queue the kernels on a stream. Torch reuses the memory freed here in the stream's order."""
    n, c, d, h, w = x.shape
    name = _TYPES[x.dtype]
    problem = Problem(
        n=n, d=d, h=h, w=w, c=c,
        channel_hidden=channel[0].shape[0] if channel else 0,
        depth_hidden=depth[0].shape[0] if depth else 0,
        weight_type=name, x_type=name, y_type=name,
        residual_type=None if residual is None else name,
    )  # fmt: skip
    library.check(problem)
    size = library.workspace_bytes(problem)
    x = _aligned(x.contiguous(memory_format=torch.channels_last_3d))
    if residual is not None:
        residual = _aligned(residual.contiguous(memory_format=torch.channels_last_3d))
    gates = [[_parameter(p, x.dtype) for p in gate] for gate in (channel, depth)]
    y = torch.empty_like(x, memory_format=torch.channels_last_3d)
    workspace = torch.empty(size, dtype=torch.uint8, device=x.device)
    # A graph may be replayed beside this stream, so its launch has counters of its own, in the
    # graph's memory, and the graph zeroes them first.
    captured = x.is_cuda and torch.cuda.is_current_stream_capturing()
    zeroed = torch.zeros(COUNTER_BYTES, dtype=torch.uint8, device=x.device) if captured else None
    library.launch(
        problem,
        x=x.data_ptr(),
        residual=None if residual is None else residual.data_ptr(),
        channel=_addresses(gates[0]),
        depth=_addresses(gates[1]),
        y=y.data_ptr(),
        workspace=workspace.data_ptr(),
        workspace_bytes=size,
        counters=(_counters(library, x.device, stream) if zeroed is None else zeroed.data_ptr()),
        stream=stream,
    )
    return y


@cache
def _counters(library: Library, device: torch.device, stream: int) -> int:
    """Return the address of a stream's counters; its launches run one after the other.

    They are not torch's memory, which may belong to a pool that torch takes back.
    """
    return library.new_counters()


def _aligned(tensor: Tensor) -> Tensor:
    """Return the tensor, or a copy if its address is no multiple of `ALIGNMENT`."""
    return tensor if tensor.data_ptr() % ALIGNMENT == 0 else tensor.clone()


def _parameter(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    tensor = tensor.to(dtype).contiguous()
    return tensor if tensor.dim() == 1 else _aligned(tensor)  # a bias needs no alignment


def _addresses(gate: list[Tensor]) -> GateAddresses | None:
    if not gate:
        return None
    a, b, c, d = (parameter.data_ptr() for parameter in gate)
    return a, b, c, d
