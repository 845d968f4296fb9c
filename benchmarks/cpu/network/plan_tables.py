"""Build TensorRT-RTX plans of the paper's network and print what their tables of layers say.

    python -m benchmarks.cpu.network.plan_tables

For each target and precision it builds a plan with the plugin and one without, and prints kernels,
launches and bytes of a run at batch 1 as Markdown. Nothing is executed: it needs no GPU, and the
plugin is the one for the CPU. The weights are random, which changes nothing in the tables.
"""

import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import torch

from darnet_trt.bundle.plan import Work
from darnet_trt.errors import BuildError
from darnet_trt.export.onnx.graph import GraphPrecision, build_graph
from darnet_trt.export.onnx.weights import folded
from darnet_trt.export.onnx.writing import write_graph
from darnet_trt.export.tensorrt.builder import build_tensorrt
from darnet_trt.export.tensorrt.child import Job
from darnet_trt.kernels.build import build_library
from darnet_trt.runtime.engines.tensorrt.package import RTX_TARGETS
from darnet_trt.training.model import DARNet, Network

PRECISIONS: Final[tuple[GraphPrecision, ...]] = ("fp16", "bf16", "fp32")


def row(graph: Path, target: str, library: Path | None, plan: Path) -> str:
    """Build a plan and return its kernels, launches, bytes and size as cells of a table."""
    job = Job(backend="tensorrt-rtx", onnx=graph, plan=plan, target=target, plugin=library)
    try:
        built = build_tensorrt(job)
    except BuildError as error:
        return f"refused: {error.what} | | | | |"
    kernels = sum(n for types in built.kernels.values() for n in types.values())
    work = built.work or Work(launches=0, activations=0, weights=0, read_again=0)
    moved = " + ".join(f"{n / 1e6:,.0f}" for n in (work.activations, work.read_again) if n)
    return (
        f"{kernels} | {work.launches} | {moved} MB | {plan.stat().st_size / 1e6:.1f} MB | "
        f"{built.seconds:.1f} s"
    )


def main() -> None:
    """Print the table."""
    plugin = build_library("cpu")
    torch.manual_seed(0)
    network = Network()
    weights = folded(DARNet(network).eval())
    print("| target | precision | plugin | kernels | launches | activations | plan | built in |")
    print(f"{'| --- ' * 8}|")
    with TemporaryDirectory() as work:
        for precision in PRECISIONS:
            graph = Path(work) / f"{precision}.onnx"
            write_graph(build_graph(network, weights, precision, {}), graph)
            for target in RTX_TARGETS:
                for library in (plugin, None):
                    cells = row(graph, target, library, Path(work) / "x.plan")
                    print(f"| {target} | {precision} | {'yes' if library else 'no'} | {cells} |")
    print(f"\nload average {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
