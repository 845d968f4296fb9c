"""The step of `gpu.py` for TensorRT-RTX: a portable plan of the paper's network, built and tried.

Where TensorRT-RTX has no target for the GPU (sm_90), what it says when the plan is loaded is the
result. The plan is loaded as the runner does it, without the preflight, which would not let it
come to that.
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

from benchmarks.gpu.networks import paper_network
from benchmarks.gpu.step_process import all_parts, elapsed, folder, need, run, skip

ROUNDS = 20
LIMIT = 0.05  # of the largest logit: float16 against float32


def tensorrt(on: str) -> None:
    """A portable plan without and with the plugin, and the same by `darnet-trt build`."""
    need("tensorrt_rtx", "onnx", "pydantic", "typer", "torch", "cuda.bindings")
    here = ("-m", "benchmarks.gpu.tensorrt")
    all_parts(
        {
            "standard operators": partial(run, sys.executable, *here, "off", on),
            "plugin": partial(run, sys.executable, *here, "on", on),
            "darnet-trt build": build_tiny,
        }
    )


def build_tiny() -> None:
    """The project's own command, with the plugin, on a small network: what its manifest says."""
    need("pydicom", "SimpleITK", "imagecodecs")
    from darnet_trt.training.checkpoint import save_checkpoint

    out = folder() / "tensorrt"
    networks = _networks()
    save_checkpoint(networks.trained_like(networks.TINY), out / "run")
    command = "from darnet_trt.cli.main import main; main()"
    options = ("--force", "--target", "tensorrt-rtx:portable", "--plugin", "on")
    run(sys.executable, "-c", command, "build", out / "run", "-o", out / "bundle", *options)
    manifest = json.loads((out / "bundle" / "manifest.json").read_text())
    plans = [a for a in manifest["artifacts"] if a["backend"] == "tensorrt-rtx"]
    for plan in plans:
        print(json.dumps({k: v for k, v in plan.items() if k != "files"}))
    if not plans:
        sys.exit("no plan was built")
    if not all(plan["executed"] for plan in plans):
        skip("the plan was built; the log above says why it did not run here")


def try_plan(plugin_mode: str, on: str) -> None:
    """Build, load, run, compare, time; a refusal by TensorRT-RTX is said in its own words."""
    from darnet_trt.errors import DarnetError
    from darnet_trt.runtime.engines.tensorrt.gpu import open_device
    from darnet_trt.runtime.engines.tensorrt.package import RTX_TARGETS
    from darnet_trt.runtime.engines.tensorrt.runner import TensorRTRunner

    checkpoint = _networks().trained_like(paper_network(on))
    plan, library, embedded = built(checkpoint, plugin_mode)
    target, current = "the CPU", nullcontext()
    if on == "cuda":
        device = open_device("tensorrt-rtx")
        target, current = "sm{}{}".format(*device.capability), device.current()
        print(f"{device.name}, {target}: {'' if target in RTX_TARGETS else 'no '}target of RTX's")
    try:
        with current:
            loaded = _loaded(plan, library, embedded)
        print("loaded")
        runner = TensorRTRunner(loaded, precision="fp16")
        x = _volume(checkpoint)
        logits = runner.infer(x).logits
    except DarnetError as error:
        if target in RTX_TARGETS:
            sys.exit(f"refused on {target}: {error}")
        skip(f"refused on {target}: {error}")
    print(f"ran on {target}: {runner.provenance}")
    compare(runner, checkpoint, x, logits, on)
    runner.close()


def built(checkpoint: Any, plugin_mode: Any) -> tuple[bytes, Path | None, bool]:
    """The plan, the library to load before it, and whether the plan carries it."""
    from darnet_trt.export.onnx.writing import Source, export_onnx
    from darnet_trt.export.tensorrt.builder import build_tensorrt
    from darnet_trt.export.tensorrt.layer_table import counted
    from darnet_trt.export.tensorrt.plugin_choice import choose_plugin

    plugin = choose_plugin(plugin_mode, "tensorrt-rtx", {"portable"}, print)
    library = None if plugin is None else plugin.path
    embedded = plugin is not None and plugin.card.embedded
    with TemporaryDirectory() as work:
        graph, plan = Path(work) / "model.onnx", Path(work) / "x.plan"
        export_onnx(Source(checkpoint, "0" * 64), graph, "fp16")
        result = build_tensorrt(
            "tensorrt-rtx", graph, plan, "portable", plugin=library, embed=embedded, log=print
        )
        content = plan.read_bytes()
    print(
        f"built by tensorrt_rtx {result.version} in {result.seconds:.1f} s, "
        f"{len(content) / 1e6:.1f} MB: {counted(result.layers)}"
    )
    return content, None if embedded else library, embedded


def compare(runner: Any, checkpoint: Any, x: Any, logits: Any, on: str) -> None:
    """The plan against torch: logits, and time in turns, both with copies to and from the host."""
    import numpy as np
    import torch

    from darnet_trt.training.model import DARNet

    order = {"memory_format": torch.channels_last_3d}
    model = DARNet(checkpoint.network)
    model.load_state_dict(checkpoint.state_dict)
    model = model.eval().to(on).to(**order)

    def in_torch(dtype: torch.dtype) -> Any:
        return model(torch.from_numpy(x).to(on, dtype).to(**order))[0].float().cpu().numpy()

    with torch.inference_mode():
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


def _networks() -> Any:
    from tests.export import networks

    return networks


def _volume(checkpoint: Any) -> Any:
    import numpy as np

    shape = (1, 1, *checkpoint.network.input_size)
    return np.random.default_rng(0).random(shape, np.float32)


def _loaded(plan: bytes, library: Path | None, embedded: bool) -> Any:
    from darnet_trt.runtime.engines.tensorrt.package import import_tensorrt
    from darnet_trt.runtime.engines.tensorrt.plan import LoadedPlan

    trt = import_tensorrt("tensorrt-rtx")
    return LoadedPlan(trt, "tensorrt-rtx", plan, library=library, host_code=embedded)


if __name__ == "__main__":
    from darnet_trt.errors import DarnetError

    try:
        try_plan(sys.argv[1], sys.argv[2])
    except DarnetError as error:
        sys.exit(str(error))
