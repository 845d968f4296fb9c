"""The paper's whole network in torch and in ONNX Runtime: times, memory, agreement.

    python -m benchmarks.gpu.networks eager|compiled|training|onnxruntime

On a machine without a GPU a small network runs on the CPU, to try the script.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.gpu.measuring import elapsed, measure, skip


def network(on: str, *, compiled: bool) -> None:
    """Time the network in torch: the paper's layers and the fused ones, in turns."""
    import torch

    from darnet_trt.training.model import DARNet

    if compiled and on == "cpu":
        skip("torch.compile is tried on a GPU only")
    shape, dtype = paper_network(on), torch.float16 if on == "cuda" else torch.float32
    order = {"memory_format": torch.channels_last_3d}
    x = torch.rand(1, 1, *shape.input_size, device=on, dtype=dtype).to(**order)
    runs: dict[str, Callable[[Any], Any]] = {}
    for name, fused in (("paper's layers", False), ("fused", True)):
        torch.manual_seed(0)
        model = DARNet(shape, fused=fused).to(on, dtype).to(**order).eval()
        runs[f"{name}, eager"] = model
        if compiled:
            runs[f"{name}, compiled"] = torch.compile(model)
    with torch.no_grad():
        reference = runs["paper's layers, eager"](x)[0]
        failed = differing(runs, x, reference)
        in_turns(on, runs, x)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


def differing(runs: dict[str, Callable[[Any], Any]], x: Any, reference: Any) -> list[str]:
    """Take out those that do not run or whose logits differ too much; return their names."""
    failed = []
    for name, model in tuple(runs.items()):
        try:
            difference = float((model(x)[0] - reference).abs().max() / reference.abs().max())
        except Exception as error:  # a compiler's, as a rule
            print(f"{name}: {type(error).__name__}: {error}")
            difference = float("nan")
        says = f"{name}: logits differ from the paper's layers by {difference:.1e}, relative"
        print(says, flush=True)
        if not difference < 0.02:
            failed.append(name)
            del runs[name]
    return failed


def in_turns(on: str, runs: dict[str, Callable[[Any], Any]], x: Any) -> None:
    """Print the median time of each, which take turns."""
    turns: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(20 if on == "cuda" else 2):
        for name, model in runs.items():
            turns[name].append(elapsed(on, partial(model, x)))
    for name, seconds in turns.items():
        print(f"{name}: {median(seconds) * 1e3:.2f} ms a volume (median)", flush=True)


def training(on: str) -> None:
    """Measure a training step's time and peak memory: batch 4, automatic mixed precision."""
    import torch
    from torch.nn.functional import cross_entropy

    from darnet_trt.training.fitting.arithmetic import autocast, gradient_scaler, recompute_blocks
    from darnet_trt.training.model import DARNet

    shape, order = paper_network(on), {"memory_format": torch.channels_last_3d}
    x = torch.rand(4, 1, *shape.input_size, device=on).to(**order)
    y = torch.tensor([0, 1, 2, 0], device=on)
    half = "fp16" if on == "cuda" else "fp32"
    for name, fused, precision, checkpointing, parts in (
        (f"paper's layers, {half}", False, half, False, 1),
        (f"fused, {half}", True, half, False, 1),
        ("fused, bf16", True, "bf16" if on == "cuda" else "fp32", False, 1),
        (f"fused, {half}, --checkpointing", True, half, True, 1),
        (f"fused, {half}, --accumulate 2", True, half, False, 2),
    ):
        torch.manual_seed(0)
        model = DARNet(shape, fused=fused).to(on).to(**order).train()
        if checkpointing:
            recompute_blocks(model)
        optimizer = torch.optim.Adam(model.parameters(), 1e-3)
        scaler = gradient_scaler(precision, on)  # type: ignore[arg-type]

        def step(
            model: Any = model,
            optimizer: Any = optimizer,
            scaler: Any = scaler,
            precision: Any = precision,
            parts: int = parts,
        ) -> None:
            optimizer.zero_grad()
            for some, labels in zip(x.chunk(parts), y.chunk(parts), strict=True):
                with autocast(precision, on):
                    logits = model(some)[0].float()
                loss = cross_entropy(logits, labels)
                scaler.scale(loss / parts).backward()
            scaler.step(optimizer)
            scaler.update()
            if not loss.isfinite():
                sys.exit(f"the loss is {loss}")

        if on == "cuda":
            torch.cuda.reset_peak_memory_stats()
        step()
        seconds = sorted(elapsed(on, step) for _ in range(7 if on == "cuda" else 2))
        peak = torch.cuda.max_memory_allocated() / 2**30 if on == "cuda" else float("nan")
        print(f"{name}: {seconds[len(seconds) // 2] * 1e3:.0f} ms a step, {peak:.2f} GiB at most")
        del model, optimizer, scaler, step


def onnxruntime(on: str) -> None:
    """Run the exported graphs in ONNX Runtime on the GPU, and compare with its CPU provider."""
    import numpy as np

    from benchmarks.gpu.tensorrt import random_checkpoint
    from darnet_trt.export.onnx.writing import Source, export_onnx
    from darnet_trt.runtime.engines.onnxruntime.runner import OnnxRuntimeRunner
    from darnet_trt.runtime.engines.parity import LIMITS, compare

    source = Source(random_checkpoint(paper_network(on)), "0" * 64)
    shape = (1, 1, *source.checkpoint.network.input_size)
    x = np.random.default_rng(0).random(shape, np.float32)
    failed = []
    with TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        export_onnx(source, file)
        on_cpu = OnnxRuntimeRunner(file)
        expected = on_cpu.infer(x)
        on_cpu.close()
        for precision in ("fp32", "fp16"):
            export_onnx(source, file, precision)  # type: ignore[arg-type]
            runner = OnnxRuntimeRunner(file, device=on)  # type: ignore[arg-type]
            limits = LIMITS[runner.precision]  # type: ignore[index]
            parity = compare(expected, runner.infer(x), limits, "noise")
            milliseconds = median(elapsed("cpu", partial(runner.infer, x)) for _ in range(9)) * 1e3
            print(
                f"{precision}: {milliseconds:.2f} ms a volume with copies (median), ran in "
                f"{runner.precision}; logits differ from the CPU's by "
                f"{parity.max_logits_error:.1e}, relative; {runner.provenance}",
                flush=True,
            )
            if not parity.passed or runner.precision != precision:
                failed.append(precision)
            runner.close()
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


def paper_network(on: str) -> Any:
    """Return the paper's network for a GPU, and a small one for the CPU."""
    from darnet_trt.training.model import Network

    return Network() if on == "cuda" else Network(width=4, input_size=(8, 32, 32))


if __name__ == "__main__":
    measure(
        {
            "eager": partial(network, compiled=False),
            "compiled": partial(network, compiled=True),
            "training": training,
            "onnxruntime": onnxruntime,
        }
    )
