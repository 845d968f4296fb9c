"""Time a training step with the fused attention against the separate layers, on one CPU thread.

    python -m benchmarks.cpu.training_step [--rounds 9]

It measures processor time, which other programs disturb least; both take turns, and medians are
printed. First comes a step of the small preset at batch 4, then the tail alone at shapes c×d×h×w.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from darnet_trt.kernels.torch_operator import fused_attention
from darnet_trt.training.model import ChannelAttention, DARNet, DepthAttention
from darnet_trt.training.presets import PRESETS

BATCH = 4
WARM_UP = 2
SHAPES = ((8, 25, 41, 41), (16, 13, 21, 21), (64, 4, 6, 6), (64, 16, 40, 40))
ORDER: dict[str, Any] = {"memory_format": torch.channels_last_3d}


def in_turns(
    runs: dict[str, Callable[[], torch.Tensor]], rounds: int
) -> dict[str, tuple[float, float]]:
    """Return the median ms of each forward pass in `runs`, and of its backward pass."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
    for _ in range(WARM_UP + rounds):
        for name, forward in runs.items():
            started = time.thread_time()
            y = forward()
            between = time.thread_time()
            y.sum().backward()
            times[name].append((between - started, time.thread_time() - between))
    return {
        name: (
            median(f for f, _ in some[WARM_UP:]) * 1e3,
            median(b for _, b in some[WARM_UP:]) * 1e3,
        )
        for name, some in times.items()
    }


def show(what: str, found: dict[str, tuple[float, float]]) -> None:
    """Print one line, with ratios."""
    (f0, b0), (f1, b1) = found["written"], found["fused"]
    print(
        f"{what:14} forward {f0:8.2f} → {f1:8.2f} ms ({f1 / f0:.2f})   "
        f"backward {b0:8.2f} → {b1:8.2f} ms ({b1 / b0:.2f})   both ({(f1 + b1) / (f0 + b0):.2f})"
    )


def main() -> None:
    """Measure both and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)

    network = PRESETS["small"].network()
    x = torch.rand(BATCH, 1, *network.input_size).to(**ORDER)
    labels = torch.arange(BATCH) % 3
    models = {
        name: DARNet(network, fused=name == "fused").to(**ORDER).train()
        for name in ("written", "fused")
    }
    steps = {
        name: lambda model=model: cross_entropy(model(x)[0], labels)
        for name, model in models.items()
    }
    show("small preset", in_turns(steps, rounds))

    for c, d, h, w in SHAPES:
        channel, depth = ChannelAttention(c), DepthAttention(c, d)
        gates = [[*module.parameters()] for module in (channel, depth)]
        maps = [torch.randn(BATCH, c, d, h, w).to(**ORDER).requires_grad_() for _ in range(2)]

        def written(maps: Any = maps, channel: Any = channel, depth: Any = depth) -> torch.Tensor:
            return torch.relu(depth(channel(maps[0])) + maps[1])

        def fused(maps: Any = maps, gates: Any = gates) -> torch.Tensor:
            return fused_attention(*maps, *gates)

        show(f"{c}×{d}×{h}×{w}", in_turns({"written": written, "fused": fused}, 3 * rounds))


if __name__ == "__main__":
    main()
