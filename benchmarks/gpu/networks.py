"""The paper's whole network in torch and in ONNX Runtime: times, memory, agreement.

    python -m benchmarks.gpu.networks network|training|onnxruntime

On a machine without a GPU a small network runs on the CPU, to try the script.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

from benchmarks.gpu.measuring import elapsed, measure, skip


def network(on: str) -> None:
    """Time the network in torch: the paper's layers and the fused ones, eager and compiled.

    The eager ones are timed before anything is compiled, because that takes long and may fail;
    then all of them take turns.
    """
    import torch

    from darnet_trt.training.model import DARNet

    shape, dtype = paper_network(on), torch.float16 if on == "cuda" else torch.float32
    order = {"memory_format": torch.channels_last_3d}
    x = torch.rand(1, 1, *shape.input_size, device=on, dtype=dtype).to(**order)
    runs: dict[str, Callable[[Any], Any]] = {}
    for name, fused in (("paper's layers", False), ("fused", True)):
        torch.manual_seed(0)
        runs[f"{name}, eager"] = DARNet(shape, fused=fused).to(on, dtype).to(**order).eval()
    with torch.no_grad():
        reference, _ = runs["paper's layers, eager"](x)
        failed = differing(runs, x, reference)
        in_turns(on, runs, x)
        if on == "cuda":
            compiled = {
                name.replace("eager", "compiled"): torch.compile(model)
                for name, model in runs.items()
            }
            failed += differing(compiled, x, reference)
            in_turns(on, runs | compiled, x)
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
        print(f"{name}: logits differ from the paper's layers by {difference:.1e}, relative")
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

    from darnet_trt.training.model import DARNet

    shape, order = paper_network(on), {"memory_format": torch.channels_last_3d}
    x = torch.rand(4, 1, *shape.input_size, device=on).to(**order)
    y = torch.tensor([0, 1, 2, 0], device=on)
    for name, fused in (("paper's layers", False), ("fused", True)):
        torch.manual_seed(0)
        model = DARNet(shape, fused=fused).to(on).to(**order).train()
        optimizer = torch.optim.Adam(model.parameters(), 1e-3)
        scaler = torch.amp.GradScaler(on, enabled=on == "cuda")

        def step(model: Any = model, optimizer: Any = optimizer, scaler: Any = scaler) -> None:
            with torch.autocast(on, torch.float16, enabled=on == "cuda"):
                loss = cross_entropy(model(x)[0], y)
            optimizer.zero_grad()
            scaler.scale(loss).backward()
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
    """Compare the exported graph in ONNX Runtime on the GPU with its CPU provider."""
    import numpy as np
    import torch

    from darnet_trt.runtime.engines.onnxruntime.package import import_onnxruntime

    ort = import_onnxruntime()
    provider = "CUDAExecutionProvider" if on == "cuda" else "CPUExecutionProvider"
    if provider not in ort.get_available_providers():
        skip(f"this onnxruntime has no {provider}: {ort.get_available_providers()}")
    if on == "cuda" and hasattr(ort, "preload_dlls"):
        ort.preload_dlls()  # CUDA and cuDNN as torch brought them
    from darnet_trt.export.onnx.graph import build_graph
    from darnet_trt.export.onnx.weights import folded
    from darnet_trt.training.model import DARNet

    torch.manual_seed(0)
    shape = paper_network(on)
    graph = build_graph(shape, folded(DARNet(shape).eval()), "fp32", {}).SerializeToString()
    x = np.random.default_rng(0).random((1, 1, *shape.input_size), np.float32)
    sessions = {
        name: ort.InferenceSession(graph, providers=[name])
        for name in dict.fromkeys((provider, "CPUExecutionProvider"))
    }
    used = sessions[provider].get_providers()
    if used[0] != provider:
        sys.exit(f"asked for {provider}, got {used}")
    feed = {sessions[provider].get_inputs()[0].name: x}
    results = {name: session.run(None, feed) for name, session in sessions.items()}
    expected = results["CPUExecutionProvider"][0]
    difference = float(np.abs(results[provider][0] - expected).max() / np.abs(expected).max())
    seconds = sorted(elapsed("cpu", lambda: sessions[provider].run(None, feed)) for _ in range(5))
    print(f"onnxruntime {ort.__version__} {provider}: {seconds[2] * 1e3:.1f} ms a volume")
    print(f"logits differ from the CPU's by {difference:.1e}, relative")
    if not difference < 5e-3:  # convolutions in TF32
        sys.exit("the logits differ too much")


def paper_network(on: str) -> Any:
    """Return the paper's network for a GPU, and a small one for the CPU."""
    from darnet_trt.training.model import Network

    return Network() if on == "cuda" else Network(width=4, input_size=(8, 32, 32))


if __name__ == "__main__":
    measure({"network": network, "training": training, "onnxruntime": onnxruntime})
