"""A portable TensorRT-RTX plan of the paper's network: build it, run it, compare it with torch.

    python -m benchmarks.gpu.tensorrt off|on|build

`off` builds with standard operators, `on` with the plugin, `build` runs `darnet-trt build` on a
small network.

On a GPU that is no target of TensorRT-RTX (sm_90), what TensorRT-RTX says when it loads the plan is
the result. So the plan is loaded as the runner does it, but without the preflight, which would
refuse it first.
"""

from __future__ import annotations

import json
import sys
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.gpu.measuring import elapsed, measure, skip
from benchmarks.gpu.networks import paper_network

ROUNDS = 20
LIMIT = 0.05  # of the largest logit: float16 against float32


def build_tiny(on: str) -> None:
    """Run `darnet-trt build` with the plugin on a small network; print its plans."""
    from darnet_trt.cli.main import main
    from darnet_trt.machine.hardware import require_packages
    from darnet_trt.training.checkpoint import save_checkpoint

    require_packages("tensorrt_rtx", extra="rtx")
    with TemporaryDirectory() as folder:
        run, bundle = Path(folder) / "run", Path(folder) / "bundle"
        save_checkpoint(random_checkpoint(paper_network("cpu")), run)
        options = ("--target", "tensorrt-rtx:portable", "--plugin", "on")
        sys.argv = ["darnet-trt", "build", str(run), "-o", str(bundle), *options]
        try:
            main()
        except SystemExit as ended:
            if ended.code:
                raise
        manifest = json.loads((bundle / "manifest.json").read_text())
    plans = [a for a in manifest["artifacts"] if a["backend"] == "tensorrt-rtx"]
    for plan in plans:
        print(json.dumps({k: v for k, v in plan.items() if k != "files"}))
    if not plans:
        sys.exit("no plan was built")
    if not all(plan["executed"] for plan in plans):
        skip("the plan was built; the output above says why it did not run here")


def try_plan(on: str, plugin_mode: str) -> None:
    """Build, load, run, compare and time a plan; if TensorRT-RTX refuses it, print its reason."""
    import numpy as np

    from darnet_trt.errors import DarnetError
    from darnet_trt.machine.hardware import require_packages
    from darnet_trt.runtime.engines.tensorrt.gpu import open_device
    from darnet_trt.runtime.engines.tensorrt.package import RTX_TARGETS, import_tensorrt
    from darnet_trt.runtime.engines.tensorrt.plan import LoadedPlan
    from darnet_trt.runtime.engines.tensorrt.runner import TensorRTRunner

    require_packages("tensorrt_rtx", extra="rtx")
    checkpoint = random_checkpoint(paper_network(on))
    plan, library, embedded = built(checkpoint, plugin_mode)
    target, current = "the CPU", nullcontext()
    if on == "cuda":
        device = open_device("tensorrt-rtx")
        target, current = "sm{}{}".format(*device.capability), device.current()
        print(f"{device.name}, {target}: {'' if target in RTX_TARGETS else 'no '}target of RTX's")
    try:
        with current:
            trt = import_tensorrt("tensorrt-rtx")
            loaded = LoadedPlan(trt, "tensorrt-rtx", plan, library=library, host_code=embedded)
        print("loaded")
        runner = TensorRTRunner(loaded, precision="fp16")
        shape = (1, 1, *checkpoint.network.input_size)
        x = np.random.default_rng(0).random(shape, np.float32)
        logits = runner.infer(x).logits
    except DarnetError as error:
        if target in RTX_TARGETS:
            sys.exit(f"refused on {target}: {error}")
        skip(f"refused on {target}: {error}")
    print(f"ran on {target}: {runner.provenance}")
    compare(runner, checkpoint, x, logits, on)
    runner.close()


def built(checkpoint: Any, plugin_mode: Any) -> tuple[bytes, Path | None, bool]:
    """Build a plan; return it, the library to load before it, and whether the plan carries it."""
    from darnet_trt.export.onnx.writing import Source, export_onnx
    from darnet_trt.export.tensorrt.builder import build_tensorrt
    from darnet_trt.export.tensorrt.child import Job
    from darnet_trt.export.tensorrt.plugin_choice import choose_plugin

    plugin = choose_plugin(plugin_mode, "tensorrt-rtx", ["portable"], print).get("portable")
    library = None if plugin is None else plugin.path
    embedded = plugin is not None and plugin.card.embedded
    with TemporaryDirectory() as work:
        graph, plan = Path(work) / "model.onnx", Path(work) / "x.plan"
        export_onnx(Source(checkpoint, "0" * 64), graph, "fp16")
        job = Job(
            backend="tensorrt-rtx",
            onnx=graph,
            plan=plan,
            target="portable",
            plugin=library,
            embed=embedded,
        )
        result = build_tensorrt(job, print)
        content = plan.read_bytes()
    print(
        f"built by tensorrt_rtx {result.version} in {result.seconds:.1f} s, "
        f"{len(content) / 1e6:.1f} MB: {result.kernels}"
    )
    return content, None if embedded else library, embedded


def compare(runner: Any, checkpoint: Any, x: Any, logits: Any, on: str) -> None:
    """Compare a plan with torch: logits, and times in turns with copies to and from the host."""
    import numpy as np
    import torch

    order = {"memory_format": torch.channels_last_3d}
    model = checkpoint.model().to(on).to(**order)

    def in_torch(dtype: torch.dtype) -> Any:
        return model(torch.from_numpy(x).to(on, dtype).to(**order))[0].float().cpu().numpy()

    with torch.no_grad():
        expected = in_torch(torch.float32)
        difference = float(np.abs(logits - expected).max() / np.abs(expected).max())
        print(f"logits differ from torch's in float32 by {difference:.1e}, relative")
        if not difference < LIMIT:
            sys.exit("the logits differ too much")
        model.half()
        in_torch(torch.float16)
        runner.infer(x)
        runner.infer(x)
        turns = [
            (
                elapsed(on, lambda: runner.infer(x)),
                elapsed(on, lambda: in_torch(torch.float16)),
            )
            for _ in range(ROUNDS)
        ]
    plan_ms, torch_ms = (median(times) * 1e3 for times in zip(*turns, strict=True))
    print(
        f"with copies to and from the host: plan {plan_ms:.2f} ms, torch eager in float16 "
        f"{torch_ms:.2f} ms, torch / plan {torch_ms / plan_ms:.2f}"
    )


def random_checkpoint(network: Any) -> Any:
    """Return random weights with the batch norms and the logits' spread of a trained network."""
    import torch
    from torch import nn

    from darnet_trt.scan.preprocessing import Preprocessing
    from darnet_trt.training.checkpoint import Checkpoint
    from darnet_trt.training.model import DARNet

    torch.manual_seed(0)
    model = DARNet(network)
    with torch.no_grad():
        for norm in model.modules():
            if isinstance(norm, nn.BatchNorm3d):
                norm.weight.uniform_(0.5, 1.5)
                norm.bias.normal_(0, 0.3)
                norm.running_mean.normal_(0, 0.3)
                norm.running_var.uniform_(0.3, 2.0)
        model.classifier.weight *= 4
    return Checkpoint(
        network=network,
        preprocessing=Preprocessing(size=network.input_size),
        trained_on="nothing: random weights",
        validation={},
        state_dict=model.state_dict(),
    )


if __name__ == "__main__":
    measure(
        {
            "off": partial(try_plan, plugin_mode="off"),
            "on": partial(try_plan, plugin_mode="on"),
            "build": build_tiny,
        }
    )
