"""The number formats of a training step, and what it keeps for the gradients."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any, Final

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from darnet_trt.errors import UsageError
from darnet_trt.training.model import Block, Network, unfilled
from darnet_trt.training.recipe import Precision

_LEAST_MAP: Final = 4
_TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def refuse_precision(precision: Precision, device: str, network: Network) -> None:
    """Raise UsageError if a device cannot train in a number format.

    oneDNN's bfloat16 gradients of 3×3×3 weights read unwritten memory where a map has fewer than
    four voxels a side, and are NaN at times (found with torch 2.13).

    Args:
        precision: The format.
        device: "cpu" or "cuda".
        network: What is to be trained; the size of its last maps matters.
    """
    on_cpu = device == "cpu"
    if precision == "bf16":
        if on_cpu:
            found = bool(torch.cpu.get_capabilities().get("avx512_bf16"))
        else:
            found = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        found = precision == "fp32" or not on_cpu
    if not found:
        raise UsageError(
            f"this {'CPU' if on_cpu else 'GPU'} does not train in {precision}",
            where="--precision",
            do="use fp32" if on_cpu else "use fp16 or fp32",
        )
    if not (precision == "bf16" and on_cpu):
        return
    x = torch.empty(1, 1, *network.input_size, device="meta")
    last = unfilled(network).eval()(x)[1].shape[2:]
    if min(last) < _LEAST_MAP:
        raise UsageError(
            f"the last maps have {'×'.join(map(str, last))} voxels, and bf16 needs {_LEAST_MAP} a "
            "side on a CPU",
            where="--precision",
            do="use fp32",
        )


def autocast(precision: Precision, device: str) -> torch.autocast:
    """Return the context of a forward pass."""
    kind = torch.device(device).type
    return torch.autocast(kind, _TYPES[precision], enabled=precision != "fp32")


def gradient_scaler(precision: Precision, device: str) -> torch.amp.GradScaler:
    """Return what keeps small gradients above the smallest fp16 number; else it does nothing."""
    return torch.amp.GradScaler(torch.device(device).type, enabled=precision == "fp16")


def train_mode(model: nn.Module, *, frozen_normalization: bool) -> None:
    """Set the mode of training; frozen normalization keeps its running statistics."""
    model.train()
    if frozen_normalization:
        for norm in _norms(model):
            norm.eval()


def recompute_blocks(model: nn.Module) -> None:
    """Keep only the blocks' inputs for the gradients, and compute the blocks a second time.

    The second time changes no running statistics, so that a step updates them once.
    """
    for block in model.modules():
        if isinstance(block, Block):
            again = partial(checkpoint, block.forward, use_reentrant=False)
            twice = partial(again, context_fn=partial(_contexts, block))
            block.forward = twice  # type: ignore[method-assign]


def _contexts(block: Block) -> tuple[Any, Any]:
    return nullcontext(), _without_statistics(block)


@contextmanager
def _without_statistics(block: Block) -> Iterator[None]:
    norms = _norms(block)
    before = [(norm.momentum, norm.state_dict()["num_batches_tracked"].clone()) for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, (momentum, batches) in zip(norms, before, strict=True):
            norm.momentum = momentum
            norm.state_dict()["num_batches_tracked"].copy_(batches)


def _norms(model: nn.Module) -> list[_BatchNorm]:
    return [module for module in model.modules() if isinstance(module, _BatchNorm)]
