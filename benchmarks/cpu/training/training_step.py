"""Time the parts of a training step on this machine; old and new take turns, medians are printed.

    python -m benchmarks.cpu.training.training_step [--rounds 9] [--threads 2]

On a CPU it measures processor time, of all threads, which other programs disturb least. First the
augmentation of a batch of 4: by one interpolation in three dimensions, and factored. Then a step
with real loading and augmentation against one that takes the same batch again: the small preset, on
a GPU the paper's size. Last, on one CPU thread, the fused attention against the separate layers: in
a step of the small preset, and the tail alone at shapes c×d×h×w.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch.nn import functional
from torch.nn.functional import cross_entropy

from darnet_trt.kernels.torch_operator import fused_attention
from darnet_trt.scan import Preprocessing
from darnet_trt.scan.cohorts import PAPER_CLASSES, Entry
from darnet_trt.training.fitting.augmentation import draw, move
from darnet_trt.training.fitting.batches import batches
from darnet_trt.training.fitting.processes import Processes
from darnet_trt.training.inputs import Example
from darnet_trt.training.model import ChannelAttention, DARNet, DepthAttention
from darnet_trt.training.presets import PRESETS
from darnet_trt.training.recipe import Augmentation, Recipe

BATCH = 4
WARM_UP = 2
SHAPES = ((8, 25, 41, 41), (16, 13, 21, 21), (64, 4, 6, 6), (64, 16, 40, 40))
ORDER: dict[str, Any] = {"memory_format": torch.channels_last_3d}


def clock(device: str) -> float:
    """Return the processor time of this process, or the time when the GPU has done its work."""
    if device == "cpu":
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def augmentation(sizes: dict[str, tuple[int, int, int]], rounds: int, device: str) -> None:
    """Compare the factored movement with one interpolation in three dimensions."""
    for name, size in sizes.items():
        x = torch.rand(BATCH, 1, *size, device=device)
        rows = draw(BATCH, size[1:], Augmentation(), torch.Generator().manual_seed(0))
        assert rows is not None

        def in_one(x: Any = x, rows: Any = rows) -> torch.Tensor:
            grid = functional.affine_grid(rows.to(device), list(x.shape), align_corners=False)
            return functional.grid_sample(x, grid, padding_mode="border", align_corners=False)

        def factored(x: Any = x, rows: Any = rows) -> torch.Tensor:
            return move(x, rows)

        times: dict[Any, list[float]] = {in_one: [], factored: []}
        for _ in range(WARM_UP + rounds):
            for run, some in times.items():
                started = clock(device)
                run()
                some.append(clock(device) - started)
        old, new = (median(some[WARM_UP:]) * 1e3 for some in times.values())
        print(
            f"augmentation, {name:5}  in one {old:7.1f} ms, factored {new:6.1f} ms, "
            f"{old / new:.1f} times as fast; differ by {(in_one() - factored()).abs().max():.1e}"
        )


def loading(preset: str, rounds: int, device: str) -> None:
    """Compare steps with loaded and moved batches with steps that take one batch again."""
    network, recipe = PRESETS[preset].network(), Recipe(batch=BATCH)
    spec = Preprocessing(size=network.input_size)
    model = DARNet(network, fused=True).to(device).to(**ORDER).train()
    optimizer = torch.optim.Adam(model.parameters(), 1e-4)

    def step(x: torch.Tensor, y: torch.Tensor) -> None:
        loss = cross_entropy(model(x)[0], y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()

    with TemporaryDirectory() as folder:
        examples = []
        for index in range(BATCH * rounds):
            file = Path(folder) / f"{index}.npz"
            volume = np.random.default_rng(index).random((1, *network.input_size))
            np.savez(file, volume=volume.astype(np.float16))
            label = PAPER_CLASSES[index % 3]
            examples.append(Example(Entry(Path(str(index)), str(index), label), file, spec))
        group = Processes(device)
        (same,) = next(batches(examples, recipe, 1, 0, group)).parts
        each: dict[str, list[float]] = {"again": [], "loaded": []}
        # An epoch at a time, so that batches are loaded ahead as in a training.
        for epoch in range(1, 6):
            for name in each:
                parts = (
                    (batch.parts[0] for batch in batches(examples, recipe, epoch, 0, group))
                    if name == "loaded"
                    else (same for _ in range(rounds))
                )
                started = clock(device)
                for x, y in parts:
                    step(x, y)
                each[name].append((clock(device) - started) / rounds)
    again, loaded = (median(some[1:]) * 1e3 for some in each.values())
    print(
        f"step, {preset}: one batch again {again:.1f} ms, loaded and moved {loaded:.1f} ms "
        f"({loaded / again:.3f})"
    )


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


def attention(rounds: int) -> None:
    """Compare the fused attention with the separate layers, on one CPU thread."""
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


def main() -> None:
    """Measure all and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int)
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    on_gpu = torch.cuda.is_available()
    device = "cuda" if on_gpu else "cpu"
    sizes = {name: preset.input_size for name, preset in PRESETS.items()}
    augmentation(sizes, arguments.rounds, device)
    loading("paper" if on_gpu else "small", arguments.rounds, device)
    attention(arguments.rounds)


if __name__ == "__main__":
    main()
