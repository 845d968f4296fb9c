"""Problems for the kernels with all their tensors, and the reference's results."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from darnet_trt.kernels.library import (
    ALIGNMENT,
    COUNTER_BYTES,
    GateAddresses,
    Library,
    Problem,
)
from darnet_trt.kernels.reference import Gate, fused_attention

DTYPES = {
    "float32": np.dtype(np.float32),
    "float16": np.dtype(np.float16),
    "int8": np.dtype(np.int8),
}
with suppress(ModuleNotFoundError):  # a GPU machine may have only torch: `make_case` then skips
    import ml_dtypes

    DTYPES["bfloat16"] = np.dtype(ml_dtypes.bfloat16)
WEIGHTS = ("float32", "float16", "bfloat16")
ATTENTIONS = ("channel", "depth", "both")
# n d h w c, each for another path: few and many rows, packs of every width, chunks of
# channels, one slice, a batch, and means that do not fit into shared memory.
SHAPES = [
    (1, 1, 1, 1, 1),
    (1, 1, 3, 5, 8),
    (2, 5, 6, 7, 33),
    (1, 3, 40, 38, 24),
    (1, 4, 9, 7, 64),
    (3, 2, 4, 3, 513),
    (1, 8, 5, 4, 512),
]
LARGE = (1, 16, 2, 3, 1024)
_ROUNDING = {"float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}
"""Half a unit in the last place, relative."""
_ACCUMULATED = 1e-5
"""Largest difference of float32 sums from float64 sums, for values around 1."""


def aligned(array: np.ndarray) -> np.ndarray:
    """Copy to a multiple of 16 bytes."""
    memory = np.empty(array.nbytes + ALIGNMENT, np.uint8)
    offset = -memory.ctypes.data % ALIGNMENT
    copy = memory[offset : offset + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


@dataclass
class Case:
    """A problem, its tensors as stored, (n, d, h, w, c), and gate parameters as stored."""

    problem: Problem
    x: np.ndarray
    residual: np.ndarray | None
    channel: list[np.ndarray] | None
    depth: list[np.ndarray] | None

    def expected(self) -> np.ndarray:
        """Return y in float64, before it is rounded to its type."""
        p = self.problem
        planes = {"x": self.x, "residual": self.residual}
        values = {
            name: None
            if stored is None
            else stored.astype(float).transpose(0, 4, 1, 2, 3)
            * (np.float32(getattr(p, f"{name}_scale")) if stored.dtype == np.int8 else 1.0)
            for name, stored in planes.items()
        }
        gates = [
            None if parameters is None else Gate(*(v.astype(float) for v in parameters))
            for parameters in (self.channel, self.depth)
        ]
        return fused_attention(values["x"], values["residual"], *gates).transpose(0, 2, 3, 4, 1)

    def run(
        self, library: Library, into: Literal["y", "x", "residual"] = "y", **changes: object
    ) -> np.ndarray:
        """Return the library's y, which may overwrite x or residual. `changes` its arguments."""
        p = self.problem
        y = aligned(np.zeros(self.x.shape, DTYPES[p.y_type]))
        workspace = aligned(np.full(library.workspace_bytes(p), 0xFF, np.uint8))  # NaN
        counters = np.zeros(COUNTER_BYTES // 4, np.uint32)
        targets = {"y": y, "x": self.x, "residual": self.residual}
        arguments = {
            "x": self.x.ctypes.data,
            "residual": None if self.residual is None else self.residual.ctypes.data,
            "channel": addresses(self.channel),
            "depth": addresses(self.depth),
            "y": targets[into].ctypes.data,
            "workspace": workspace.ctypes.data,
            "workspace_bytes": workspace.nbytes,
            "counters": counters.ctypes.data,
        }
        library.launch(p, **{**arguments, **changes})
        assert not counters.any(), "the launch left counters that are not zero"
        return targets[into]

    def check(self, y: np.ndarray) -> None:
        """Check that y is the reference's, rounded to its type."""
        expected, allowed = self.stored(self.expected())
        got = y.astype(float)
        if self.problem.y_type == "int8":
            got = got * float(np.float32(self.problem.y_scale))
        np.testing.assert_array_less(np.abs(got - expected), allowed)

    def stored(self, expected: Any) -> tuple[Any, Any]:
        """Return the values clipped to y's type, and how much a stored y may differ."""
        p = self.problem
        if p.y_type == "int8":
            scale = float(np.float32(p.y_scale))
            return expected.clip(-128 * scale, 127 * scale), 0.5 * scale + _ACCUMULATED
        return expected, abs(expected) * _ROUNDING[p.y_type] + 2.0**-25 + _ACCUMULATED


def addresses(parameters: list[np.ndarray] | None) -> GateAddresses | None:
    """Of a gate's parameters."""
    if parameters is None:
        return None
    a, b, c, d = (v.ctypes.data for v in parameters)
    return a, b, c, d


def make_case(
    shape: tuple[int, int, int, int, int],
    *,
    attention: str = "both",
    weights: str = "float32",
    x: str | None = None,
    residual: str | None = None,
    y: str | None = None,
    has_residual: bool = True,
    seed: int = 0,
) -> Case:
    """Make random tensors of shape n, d, h, w, c; types default to that of the weights."""
    if weights not in DTYPES:
        import pytest

        pytest.skip("no bfloat16: ml_dtypes is not installed")
    rng = np.random.default_rng(seed)
    n, d, h, w, c = shape
    problem = Problem(
        n=n,
        d=d,
        h=h,
        w=w,
        c=c,
        channel_hidden=max(c // 16, 1) if attention != "depth" else 0,
        depth_hidden=d if attention != "channel" else 0,
        weight_type=weights,
        x_type=x or weights,
        residual_type=(residual or weights) if has_residual else None,
        y_type=y or weights,
        x_scale=0.03 if x == "int8" else 1.0,
        residual_scale=0.02 if residual == "int8" else 1.0,
        y_scale=0.025 if y == "int8" else 1.0,
    )

    def tensor(kind: str) -> np.ndarray:
        if kind == "int8":
            return aligned(rng.integers(-128, 128, shape).astype(np.int8))
        return aligned(rng.normal(size=shape).astype(DTYPES[kind]))

    def gate(features: int, hidden: int) -> list[np.ndarray] | None:
        if hidden == 0:
            return None
        shapes = ((hidden, features), (hidden,), (features, hidden), (features,))
        spread = (3 * features**-0.5, 0.5, 3 * hidden**-0.5, 0.5)
        return [
            aligned((rng.normal(size=s) * k).astype(DTYPES[weights]))
            for s, k in zip(shapes, spread, strict=True)
        ]

    return Case(
        problem,
        tensor(problem.x_type),
        tensor(problem.residual_type) if problem.residual_type else None,
        gate(c, problem.channel_hidden),
        gate(c * d, problem.depth_hidden),
    )
