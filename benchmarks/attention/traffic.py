"""Count the bytes that a block's tail moves: fused, and operation by operation in frameworks.

The fused kernels count for themselves (`darnet_attention_cost`). For the others a map is the
feature map, n·d·h·w·c elements; every kernel reads its inputs once and writes its outputs once.
That is what must cross the memory bus where a map is larger than the cache.
"""

from __future__ import annotations

from dataclasses import dataclass

from darnet_trt.kernels.library import PHASES, Library, Problem, TensorType

STAGES = {
    "stage 1": (64, 64, 112, 112),
    "stage 2": (128, 32, 56, 56),
    "stage 3": (256, 16, 28, 28),
    "stage 4": (512, 8, 14, 14),
}
"""c, d, h, w of the paper's network; two blocks each."""
BLOCKS = 2  # of a stage
KINDS: tuple[TensorType, ...] = ("float16", "int8")
"""Types that the tail is measured and accounted in."""
SIZES = {"float32": 4, "float16": 2, "bfloat16": 2, "int8": 1}
REDUCTION = 16


@dataclass(frozen=True)
class Operation:
    """An operation of a framework: maps read and written, and its number of kernels."""

    reads: int
    writes: int
    kernels: int = 1


_GATE = Operation(0, 0, 4)  # two linear layers, ReLU, sigmoid
EAGER = (
    Operation(1, 0),  # mean over d, h, w
    _GATE,
    Operation(1, 1),  # x · channel gate
    Operation(1, 0),  # mean over h, w
    _GATE,
    Operation(1, 1),  # · depth gate
    Operation(2, 1),  # + residual
    Operation(1, 1),  # ReLU
)
"""The paper's layers as torch eager runs them: 7 maps read, 4 written."""
COMPILED = (
    Operation(1, 0),  # mean over d, h, w
    _GATE,
    Operation(1, 0),  # mean over h, w of x · channel gate
    _GATE,
    Operation(2, 1),  # ReLU(x · channel gate · depth gate + residual)
)
"""The least a compiler can make of the paper's layers without the identity: every product joined
to the reduction or sum that takes it, 4 maps read, 1 written."""


@dataclass(frozen=True)
class Traffic:
    """Bytes moved by one block's tail, and its number of kernels."""

    read: int
    written: int
    kernels: int

    @property
    def total(self) -> int:
        """Read and written."""
        return self.read + self.written


def problem(stage: str, batch: int, kind: TensorType) -> Problem:
    """Return the fused tail of one block; int8 maps have float16 gate parameters."""
    c, d, h, w = STAGES[stage]
    scale = 0.02 if kind == "int8" else 1.0
    return Problem(
        n=batch, d=d, h=h, w=w, c=c,
        channel_hidden=c // REDUCTION, depth_hidden=d,
        weight_type="float16" if kind == "int8" else kind,
        x_type=kind, residual_type=kind, y_type=kind,
        x_scale=scale, residual_scale=scale, y_scale=scale,
    )  # fmt: skip


def map_bytes(p: Problem) -> int:
    """Return the feature map's bytes."""
    return p.n * p.d * p.h * p.w * p.c * SIZES[p.x_type]


def parameter_bytes(p: Problem) -> int:
    """Return the bytes of both gates' parameters."""
    features = p.c * p.d
    channel = 2 * p.c * p.channel_hidden + p.c + p.channel_hidden
    depth = 2 * features * p.depth_hidden + features + p.depth_hidden
    return SIZES[p.weight_type] * (channel + depth)


def fused(library: Library, p: Problem) -> Traffic:
    """Count the launches by their own accounting."""
    costs = [library.cost(p, phase) for phase in range(len(PHASES))]
    return Traffic(
        sum(c.bytes_read for c in costs), sum(c.bytes_written for c in costs), len(costs)
    )


def three_launches(p: Problem) -> Traffic:
    """Count the fused kernels as they were until commit 6bfca65: pool, gate, apply.

    Every block of the gate added the parts of all slices (here counted once) and computed the
    channel gates; what it left for the scaling was smaller than U, so the scaling read less.
    """
    features = p.c * p.d
    rows = max(256 // (p.c * SIZES[p.x_type] // 16), 1)  # of a block, in the paper's stages
    parts = min(max(p.h * p.w // (rows * 4 * 2), 1), 16)
    partial = 4 * p.n * features * parts
    left = 4 * p.n * (p.c + p.depth_hidden)
    return Traffic(
        2 * map_bytes(p) + p.n * features * p.h * p.w * SIZES[p.residual_type or p.x_type]
        + partial + left + parameter_bytes(p),
        partial + left + map_bytes(p),
        3,
    )  # fmt: skip


def unfused(operations: tuple[Operation, ...], p: Problem) -> Traffic:
    """Count the paper's layers without gate values and means, some kilobytes."""
    size = map_bytes(p)
    return Traffic(
        sum(o.reads for o in operations) * size + parameter_bytes(p),
        sum(o.writes for o in operations) * size,
        sum(o.kernels for o in operations),
    )
