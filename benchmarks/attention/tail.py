"""Hold one block's tail on a device: sets of buffers, and what is compared on them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.attention.traffic import map_bytes
from darnet_trt.kernels.library import COUNTER_BYTES, PHASES, Library, Problem

L2_TIMES = 2
COPY_UNIT = 256  # bytes: every row of a copy begins and ends at a multiple of it
TOLERANCE = 0.01  # of the largest value; plus one step of an int8 result

Run = Callable[[int], None]
"""Queues one run on the set of buffers of that number."""


def paper(x: Any, residual: Any, channel: list[Any], depth: list[Any]) -> Any:
    """Run the paper's layers one after the other, as `training/model.py` does."""
    from torch.nn.functional import linear

    z = x.mean((2, 3, 4))
    gate = linear(linear(z, channel[0], channel[1]).relu(), channel[2], channel[3]).sigmoid()
    x = x * gate[:, :, None, None, None]
    z = x.mean((3, 4))
    z1 = linear(z.flatten(1), depth[0], depth[1]).relu()
    x = x * linear(z1, depth[2], depth[3]).sigmoid().view(*z.shape, 1, 1)
    return (x + residual).relu()


class Tail:
    """Maps, gate weights and workspace of a problem, each in several sets.

    The sets' inputs x alone are together `L2_TIMES` times the cache, so that no run finds its own
    there. Weights and workspace are as many: a run of the whole tail, between whose turns on one
    set all maps pass through the cache, finds none of them.

    Args:
        library: For the device.
        p: The problem.
        device: "cuda" or "cpu".
        cache_bytes: Of the device's last cache.

    Attributes:
        sets: How many.
        moved: Bytes that each phase reads and writes, by its own accounting.
    """

    def __init__(self, library: Library, p: Problem, device: str, cache_bytes: int) -> None:
        import torch

        self.library, self.p, self.device = library, p, device
        self.sets = -(-L2_TIMES * cache_bytes // map_bytes(p))
        self.size = library.workspace_bytes(p)
        each = range(self.sets)
        self.x = [self._map() for _ in each]
        self.residual = [self._map() for _ in each]
        self.y = [torch.empty_like(x) for x in self.x]
        self.workspace = [torch.empty(self.size, device=device, dtype=torch.uint8) for _ in each]
        self.counters = torch.zeros(COUNTER_BYTES, device=device, dtype=torch.uint8)
        self.channel = [self._gate(p.c, p.channel_hidden) for _ in each]
        self.depth = [self._gate(p.c * p.d, p.depth_hidden) for _ in each]
        costs = [library.cost(p, phase) for phase in range(len(PHASES))]
        self.moved = {
            name: cost.bytes_read + cost.bytes_written
            for name, cost in zip(PHASES, costs, strict=True)
        }
        shape = (2, self.sets, copied_bytes(sum(self.moved.values())) // 8)
        self.of, self.to = torch.randint(-(2**31), 2**31, shape, device=device, dtype=torch.int32)

    def _map(self) -> Any:
        """Return a random map, (n, d, h, w, c); int8 in steps of its scale."""
        import torch

        p = self.p
        values = torch.randn(p.n, p.d, p.h, p.w, p.c, device=self.device, dtype=torch.float16)
        return (values * 40).clamp(-128, 127).to(torch.int8) if p.x_type == "int8" else values

    def _gate(self, features: int, hidden: int) -> list[Any]:
        import torch

        shapes = ((hidden, features), (hidden,), (features, hidden), (features,))
        scales = (features**-0.5, 0.5, hidden**-0.5, 0.5)
        return [
            torch.randn(shape, device=self.device, dtype=torch.float16) * scale
            for shape, scale in zip(shapes, scales, strict=True)
        ]

    def kernels(self, phase: int | None = None) -> Run:
        """Return the library's launch, or one phase of it, after those before have run."""
        import torch

        def run(i: int) -> None:
            self.library.launch(
                self.p,
                x=self.x[i].data_ptr(),
                residual=self.residual[i].data_ptr(),
                channel=tuple(t.data_ptr() for t in self.channel[i]),  # type: ignore[arg-type]
                depth=tuple(t.data_ptr() for t in self.depth[i]),  # type: ignore[arg-type]
                y=self.y[i].data_ptr(),
                workspace=self.workspace[i].data_ptr(),
                workspace_bytes=self.size,
                counters=self.counters.data_ptr(),
                stream=torch.cuda.current_stream().cuda_stream if self.device == "cuda" else 0,
                phase=phase,
            )

        return run

    def copies(self, moved: int) -> dict[str, Run]:
        """Return torch's two ways to copy that many bytes, half read, half written.

        `memcpy` is `copy_`, which is cudaMemcpyAsync between two such arrays; `kernel` is an
        operation on int32 that torch runs as a kernel of 16 bytes a thread, `bitwise_not`: it
        moves what a copy moves, through the multiprocessors as the tail does.
        """
        import torch

        words = copied_bytes(moved) // 8

        def memcpy(i: int) -> None:
            self.to[i, :words].copy_(self.of[i, :words])

        def kernel(i: int) -> None:
            torch.bitwise_not(self.of[i, :words], out=self.to[i, :words])

        return {"memcpy": memcpy, "kernel": kernel}

    def torch(self, function: Callable[..., Any]) -> Run:
        """Return a run of a torch function on the same memory, seen as (n, c, d, h, w)."""
        x = [t.permute(0, 4, 1, 2, 3) for t in self.x]
        residual = [t.permute(0, 4, 1, 2, 3) for t in self.residual]
        return lambda i: function(x[i], residual[i], self.channel[i], self.depth[i])

    def poison(self) -> None:
        """Fill the results with a value that no ReLU gives."""
        for y in self.y:
            y.fill_(-1)

    def fault(self) -> str | None:
        """Compare the last run's results with the paper's layers in float32; return what is wrong.

        All elements are looked at for the poison; the numbers of the last set's first volume are
        compared.
        """
        p = self.p
        if not all(bool((y >= 0).all()) for y in self.y):
            return "elements of the result were not written, or are negative or NaN"
        x, residual, y = (
            (t[-1][:1].float() * scale).permute(0, 4, 1, 2, 3)
            for t, scale in (
                (self.x, p.x_scale), (self.residual, p.residual_scale), (self.y, p.y_scale),
            )
        )  # fmt: skip
        expected = paper(
            x, residual, *([t.float() for t in g[-1]] for g in (self.channel, self.depth))
        )
        step = p.y_scale if p.y_type == "int8" else 0.0
        if step:
            expected = expected.clamp(max=127 * step)
        difference = float((y - expected).abs().max())
        if not difference <= TOLERANCE * float(expected.abs().max()) + step:
            return f"the result differs from the paper's layers by {difference:.2g}"
        return None


def copied_bytes(moved: int) -> int:
    """Return bytes moved by a copy of about `moved`: each half a multiple of `COPY_UNIT`."""
    return 2 * (moved // 2 // COPY_UNIT * COPY_UNIT)
