"""Measure what float32 gates or a float32 head gain in a float16 network: docs/precision.md.

    python -m benchmarks.quantization.half_precision RUN [--width 64] [--scans 6]

It compares logits, map and probabilities on phantoms with the float32 network. On the CPU, ONNX
Runtime keeps float32 values between float16 convolutions. So this script runs the float32 graph and
rounds every value and weight that a float16 plan stores to float16's eleven bits; sums within a
layer stay float32. `--width` widens the run as `wide_network.py` does, without training it.
"""

import argparse
from pathlib import Path

import numpy as np

from benchmarks.quantization.trained_run import network_of
from darnet_trt.machine.cpus import share_cpus

SPLIT = 2.0**13 + 1  # Veltkamp's, which leaves 24 - 13 bits
ROUNDED = ("Conv", "Gemm", "Mul", "Add", "Sigmoid")
SEED = 0


def rounded(model, *, gates, head):
    """Return the graph with values rounded to float16, except the parts that stay in float32."""
    from onnx import ModelProto
    from onnx.helper import make_node
    from onnx.inliner import inline_local_functions
    from onnx.numpy_helper import from_array, to_array

    copied = ModelProto()
    copied.CopyFrom(inline_local_functions(model))
    graph = copied.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    nodes = list(graph.node)
    del graph.node[:]
    for node in nodes:
        name = node.output[0].split("__")[0]
        of_gates = name.startswith(("z", "channel_", "depth_", "both_"))
        of_head = node.name in ("classifier", "logits")
        rounds = node.op_type in ROUNDED or name in ("z", "z_channel")
        if node.name == "logits" or (of_head and head) or (of_gates and gates):
            rounds = False
        if name == "gates_ncdhw":  # float32 gates are rounded here
            rounds = gates
        graph.node.append(node)
        if not rounds:
            continue
        for weight in node.input[1:]:
            if weight in weights:
                values = to_array(weights[weight]).astype(np.float16).astype(np.float32)
                weights[weight].CopyFrom(from_array(values, weight))
        exact, given = f"{node.output[0]}.exact", node.output[0]
        graph.node[-1].output[0] = exact
        graph.node.extend(
            [
                make_node("Mul", [exact, "split"], [f"{given}.high"]),
                make_node("Sub", [f"{given}.high", exact], [f"{given}.low"]),
                make_node("Sub", [f"{given}.high", f"{given}.low"], [given]),
            ]
        )
    graph.initializer.append(from_array(np.array(SPLIT, np.float32), "split"))
    return copied


def outputs(model, scans):
    """Return logits, map and probabilities of all scans."""
    from darnet_trt.runtime.engines.onnxruntime.package import import_onnxruntime
    from darnet_trt.runtime.engines.runner import Outputs

    session = import_onnxruntime().InferenceSession(model.SerializeToString())
    found = [session.run(["logits", "cam"], {"input": scan[None]}) for scan in scans]
    both = Outputs(*(np.concatenate(values) for values in zip(*found, strict=True)))
    return both.logits, both.cam, both.probabilities


def main() -> None:
    """Run, compare and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--width", type=int)
    parser.add_argument("--scans", type=int, default=6)
    arguments = parser.parse_args()
    share_cpus()
    from darnet_trt.export.onnx.graph import build_graph
    from darnet_trt.export.onnx.weights import folded
    from darnet_trt.phantom import synthesize
    from darnet_trt.scan.cohorts import PAPER_CLASSES
    from darnet_trt.scan.preprocessing import preprocess
    from darnet_trt.training.checkpoint import load_checkpoint

    checkpoint = load_checkpoint(arguments.run)
    network, model = network_of(checkpoint, arguments.width)
    scans = [
        preprocess(
            checkpoint.preprocessing, synthesize(PAPER_CLASSES[i % len(PAPER_CLASSES)], SEED + i)
        )
        for i in range(arguments.scans)
    ]
    graph = build_graph(network, folded(model), "fp32", {})
    expected = outputs(graph, scans)
    print(f"{network.width} channels, {'×'.join(map(str, network.input_size))}, {len(scans)} scans")
    print("| in float32 | logits error: largest, rms | map error | probability moved, most |")
    print("| --- | --- | --- | --- |")
    kept = {"neither": (0, 0), "gates": (1, 0), "head": (0, 1), "gates and head": (1, 1)}
    for name, (gates, head) in kept.items():
        got = outputs(rounded(graph, gates=gates, head=head), scans)
        logits, cam, probabilities = (g - e for g, e in zip(got, expected, strict=True))
        largest = np.abs(expected[0]).max()
        rms = np.sqrt(np.square(logits).mean())
        cells = [
            name,
            f"{np.abs(logits).max() / largest:.1e}, {rms / largest:.1e}",
            f"{np.abs(cam).max() / np.abs(expected[1]).max():.1e}",
            f"{np.abs(probabilities).max():.1e}",
        ]
        print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
