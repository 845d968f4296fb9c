"""Compare ways to scale a plan's int8 weights: decisions, launches and bytes. docs/precision.md.

    make demo
    python -m benchmarks.quantization.plan_forms demo/run demo/cohort [--width 64] [--scans 93]

OpenVINO runs each form on scans that the run held out; min-max ranges come from scans that trained.
TensorRT-RTX builds the same form for sm89 at the paper's size, 64×224×224 voxels, with the plugin
and without, and its table gives launches and bytes; nothing is executed on a GPU. `--width` widens
the run as `wide_network.py` does, without training it.
"""

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.quantization.trained_run import compared, network_of, sides
from darnet_trt.machine.cpus import share_cpus

CALIBRATING, TARGET, SIZE = 16, "sm89", (64, 224, 224)
SEED = 0
HEAD = (
    "weights", "logits error", "class flips", "probability moved: mean, most", "decisions",
    "with the plugin: launches, activations", "without: launches, activations", "weights read",
)  # fmt: skip


def forms(model):
    """Name each form: its Q/DQ, whether channels are made alike, and the layers by channel."""
    from darnet_trt.calibration.qdq import convolutions

    layers = convolutions(model, "s8")
    before_relu = [name for name in layers if name.endswith("conv1")]
    return {
        "the CPU's form": ("u8", False, ()),
        "one scale a layer": ("s8", False, ()),
        "channels made alike": ("s8", True, ()),
        "a scale a channel before ReLU": ("s8", False, before_relu),
        "a scale a channel in all layers": ("s8", False, layers),
    }


def cost(network, ranges_at, by, by_channel, plugin, work):
    """Return the launches and bytes of a plan at the paper's size with random weights."""
    import onnx

    from darnet_trt.calibration.equalize import equalized
    from darnet_trt.calibration.qdq import convolutions, quantize
    from darnet_trt.export.tensorrt.builder import build_tensorrt
    from darnet_trt.export.tensorrt.child import Job

    graph = equalized(network, by) if by else network
    if ranges_at is not None:
        form = "plugin" if plugin else "s8"
        graph = quantize(graph, ranges_at, convolutions(graph, form), form, by_channel)
    onnx.save(graph, work / "plan.onnx")
    job = Job(
        backend="tensorrt-rtx",
        onnx=work / "plan.onnx",
        plan=work / "x.plan",
        target=TARGET,
        plugin=plugin,
    )
    return build_tensorrt(job).work


def main() -> None:
    """Judge, build and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("cohort", type=Path)
    parser.add_argument("--width", type=int)
    parser.add_argument("--scans", type=int, help="How many held-out scans judge at most.")
    arguments = parser.parse_args()
    share_cpus()
    from darnet_trt.calibration.activations.collect import Collector, merged
    from darnet_trt.calibration.activations.ranges import ranges_of
    from darnet_trt.calibration.equalize import divisors, equalized
    from darnet_trt.calibration.qdq import Range, convolutions, quantize, quantized_tensors
    from darnet_trt.calibration.scans.sample import hashed
    from darnet_trt.export.onnx.graph import build_graph
    from darnet_trt.export.onnx.weights import folded
    from darnet_trt.kernels.build import build_library
    from darnet_trt.kernels.onnx_inline import inlined
    from darnet_trt.runtime.engines.openvino.conversion import build_openvino
    from darnet_trt.runtime.engines.openvino.runner import OpenVINORunner
    from darnet_trt.runtime.engines.runner import run
    from darnet_trt.training.checkpoint import load_checkpoint
    from darnet_trt.training.model import DARNet

    checkpoint = load_checkpoint(arguments.run)
    network, model = network_of(checkpoint, arguments.width)
    seen, unseen = sides(arguments.run, arguments.cohort, checkpoint.preprocessing)
    drawn = np.random.default_rng(SEED).permutation(len(seen))[:CALIBRATING]
    calibrating = [seen[i].load() for i in drawn]
    judges = np.random.default_rng(SEED).permutation(len(unseen))[: arguments.scans]
    inputs, labels = [unseen[i].load() for i in judges], [unseen[i].label for i in judges]
    shape = "×".join(map(str, network.input_size))
    print(f"{network.width} channels; {shape} voxels, {len(inputs)} scans judge", flush=True)
    graph = build_graph(network, folded(model), "fp32", {})
    paper = network.model_copy(update={"input_size": SIZE})
    of_plans = build_graph(paper, folded(DARNet(paper)), "fp16", {})
    library = build_library("cpu")
    by = divisors(graph)
    rows = []

    def statistics(graph):
        collector = Collector(graph, quantized_tensors(graph, convolutions(graph)))
        return merged(collector, calibrating, map(hashed, calibrating))

    with TemporaryDirectory() as name:
        work = Path(name)

        def logits(graph, precision):
            xml, _ = build_openvino(inlined(graph), work / "openvino")
            return run(OpenVINORunner(xml, precision=precision), inputs).logits

        def costs(ranges, by, by_channel):
            with_plugin, without = (
                cost(of_plans, ranges, by, by_channel, plugin, work) for plugin in (library, None)
            )
            moved = (f"{plan.launches}, {plan.activations / 1e6:,.0f} MB" for plan in
                     (with_plugin, without))  # fmt: skip
            return (*moved, f"{with_plugin.weights / 1e6:,.0f} MB")

        expected = logits(graph, "fp32")
        rows.append(("float16 (not judged here)", *["-"] * 4, *costs(None, {}, ())))
        print(*rows[-1], sep=" | ", flush=True)
        tensors = quantized_tensors(of_plans, convolutions(of_plans))
        at_the_papers_size = {tensor: Range(4.0, signed=True) for tensor in tensors}
        found = {False: statistics(graph), True: statistics(equalized(graph, by))}
        for title, (form, alike, by_channel) in forms(graph).items():
            ranges = ranges_of(found[alike], "minmax", form)
            base = equalized(graph, by) if alike else graph
            got = logits(quantize(base, ranges, convolutions(base, form), form, by_channel), "int8")
            cells, judged = compared(expected, got, labels)
            rows.append(
                (
                    title,
                    *cells,
                    "kept" if judged.passed else "not kept",
                    *(
                        ("-",) * 3
                        if form == "u8"
                        else costs(at_the_papers_size, by if alike else {}, by_channel)
                    ),
                )
            )
            print(*rows[-1], *judged.failures, sep=" | ", flush=True)
    print(f"\n| {' | '.join(HEAD)} |\n|{' --- |' * len(HEAD)}")
    for row in rows:
        print(f"| {' | '.join(row)} |")


if __name__ == "__main__":
    main()
