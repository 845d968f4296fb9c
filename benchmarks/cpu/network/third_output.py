"""Time engines of the paper's network with three outputs and with two, in turns.

python -m benchmarks.cpu.network.third_output [--width 64] [--rounds 15]
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
import torch

from darnet_trt.export.onnx.graph import build_graph
from darnet_trt.export.onnx.weights import folded
from darnet_trt.kernels.onnx_inline import inlined
from darnet_trt.runtime.bench.subject import Subject, Trace
from darnet_trt.runtime.bench.turns import in_turns
from darnet_trt.runtime.engines.onnxruntime.runner import OnnxRuntimeRunner
from darnet_trt.runtime.engines.openvino.package import cpu_precisions
from darnet_trt.runtime.engines.openvino.runner import OpenVINORunner
from darnet_trt.runtime.engines.runner import Runner
from darnet_trt.training.model import DARNet, Network


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    network = Network(width=arguments.width)
    model = inlined(build_graph(network, folded(DARNet(network).eval()), "fp32", {}))
    volume = np.random.default_rng(0).random((1, 1, *network.input_size), np.float32)
    runners: dict[str, Runner] = {}
    with TemporaryDirectory() as folder:
        for outputs in (3, 2):
            file = Path(folder) / f"{outputs}.onnx"
            del model.graph.output[outputs:]
            onnx.save(model, file)
            for precision in ("fp32", "bf16"):
                if precision in cpu_precisions():
                    name = f"openvino-{precision}, {outputs} outputs"
                    runners[name] = OpenVINORunner(file, precision=precision)  # type: ignore[arg-type]
            runners[f"onnxruntime-fp32, {outputs} outputs"] = OnnxRuntimeRunner(file)
    subjects = [
        Subject(name, partial(runner.infer, volume), turn_ms=0) for name, runner in runners.items()
    ]
    traces: dict[str, Trace] = {}
    in_turns(subjects, traces, rounds=arguments.rounds)
    for name, trace in traces.items():
        print(f"{name}: {trace.median_ms:.1f} ms (median of {arguments.rounds}, in turns)")


if __name__ == "__main__":
    main()
