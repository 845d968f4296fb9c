"""Compare a bundle's engines with torch, with each other, and with this CPU's arithmetic peak.

    python -m benchmarks.cpu.network.engines BUNDLE --scan PATH [--engine NAME] \
        [--rounds 5] [-o FILE]

Engines, other runtimes and the peak's loops take turns in one process. The script prints the share
of the peak that each engine reaches in its best round, and which of the project's targets are
reached. Engines are compared with each other by their medians.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Final

import numpy as np
import onnx

from darnet_trt.bundle.manifest import MODEL_FILE
from darnet_trt.bundle.reading import open_bundle, verified_file
from darnet_trt.export.gates.reference import TorchRunner
from darnet_trt.machine.hardware import cpu
from darnet_trt.runtime.bench.benchmark import Benchmark
from darnet_trt.runtime.bench.layers.peaks import TRIAD, compile_peak, measure
from darnet_trt.runtime.bench.report.schema import BenchReport
from darnet_trt.runtime.bench.subject import Subject, Trace
from darnet_trt.runtime.bench.turns import in_turns
from darnet_trt.runtime.engines.loading import load_engine
from darnet_trt.runtime.engines.onnxruntime.runner import OnnxRuntimeRunner
from darnet_trt.runtime.engines.runner import Runner


@dataclass(frozen=True)
class Target:
    """One line of the table of targets."""

    what: str
    found: float
    limit: float
    at_least: bool
    unit: str

    @property
    def reached(self) -> bool:
        """Return whether the target is reached."""
        return self.found >= self.limit if self.at_least else self.found <= self.limit

    def __str__(self) -> str:
        sign = "≥" if self.at_least else "≤"
        found = f"{self.found:.3g}{self.unit}"
        verdict = "reached" if self.reached else "NOT reached"
        return f"{self.what:52} {found:>9}   {sign} {self.limit:g}{self.unit:8} {verdict}"


def convolution_gmac(model: Path) -> float:
    """Return the multiply-adds of all convolutions for one volume, in 10⁹."""
    proto = onnx.load(model)
    proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    graph = onnx.shape_inference.infer_shapes(proto, data_prop=True).graph
    shapes = {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*graph.value_info, *graph.output, *graph.input)
    }
    weights = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    total = 0
    for node in graph.node:
        if node.op_type == "Conv":
            spatial = shapes[node.output[0]][2:]
            total += math.prod(weights[node.input[1]]) * math.prod(spatial)
    return total / 1e9


# Targets for a CPU with bfloat16 or VNNI, by the default engine's precision.
_SHARES: Final = {"bf16": 95.0, "int8": 92.0}  # % of the peak
# Speed-ups in int8.
_TIMES: Final = {"torch": 7.0, "torch-compile": 4.4, "onnxruntime-fp32": 4.9}
_INT8_MEMORY_MB: Final = 700.0


def targets(
    default: str,
    precision: str,
    times: dict[str, Trace],
    shares: dict[str, float],
    report: BenchReport | None,
) -> list[Target]:
    """Return the project's targets for a default engine that runs in `precision`."""
    found = []
    if default in shares and precision in _SHARES:
        share = shares[default] * 100
        found.append((f"{default}: share of the peak", share, _SHARES[precision], True, " %"))
    if precision == "int8":
        own_ms = times[default].median_ms
        found += [
            (f"{rival} / {default}", times[rival].median_ms / own_ms, limit, True, "×")
            for rival, limit in _TIMES.items()
            if rival in times
        ]
    if report is not None:
        alone, from_file = (one.latency for one in report.configurations)
        (engine,) = report.engines
        cold, many_ms = engine.cold_start, engine.many_ms_per_scan
        assert alone is not None
        assert from_file is not None
        assert cold is not None
        assert many_ms is not None
        ratio = from_file.median_ms / alone.median_ms
        startup_s = (cold.first_result_ms - alone.median_ms) / 1e3
        found += [
            ("scan file to result / engine", ratio, 1.25, False, "×"),
            ("in a batch / engine", many_ms / alone.median_ms, 1.05, False, "×"),
            ("process start to first result − engine", startup_s, 1.5, False, " s"),
        ]
        if precision == "int8":
            memory = cold.peak_memory_mb
            found.append(("peak memory of predict", memory, _INT8_MEMORY_MB, False, " MB"))
        else:
            print(f"peak memory of predict: {cold.peak_memory_mb:.0f} MB")
    return [Target(*row) for row in found]


def main() -> int:
    """Measure and print; return 1 if a target is not reached."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--engine", help="compared with the targets [default: the bundle's]")
    parser.add_argument("--scan", type=Path, help="also measure a scan from file to result")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--torch-compile", action="store_true", help="measure torch.compile too")
    parser.add_argument("-o", "--out", type=Path, help="file for all results as JSON")
    arguments = parser.parse_args()

    bundle = open_bundle(arguments.bundle)
    default = arguments.engine or bundle.manifest.default
    if default is None:
        sys.exit("engines: the bundle has no default engine")
    model = verified_file(bundle, MODEL_FILE)
    names = [a.name for a in bundle.manifest.artifacts if a.executed]
    loaded = {name: load_engine(bundle, name) for name in names}
    runners: dict[str, Runner] = {name: engine.runner for name, engine in loaded.items()}
    runners["torch"] = TorchRunner.from_onnx(model)
    if arguments.torch_compile:
        runners["torch-compile"] = TorchRunner.from_onnx(model, mode="compiled")
    if "onnxruntime-fp32" not in runners:
        runners["onnxruntime-fp32"] = OnnxRuntimeRunner(model)
    volume = np.random.default_rng(0).random(
        (1, 1, *bundle.manifest.preprocessing.size), np.float32
    )
    gmac = convolution_gmac(model)

    peaks: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        program = compile_peak(Path(folder))
        runs: dict[str, Callable[[], object]] = {
            name: partial(runner.infer, volume) for name, runner in runners.items()
        }
        threads = cpu().cores
        runs["peak"] = lambda: peaks.append(measure(program, threads))
        times: dict[str, Trace] = {}
        subjects = [Subject(name, run, turn_ms=0) for name, run in runs.items()]
        in_turns(subjects, times, rounds=arguments.rounds)
    del times["peak"]
    # Best round against best loop: in slower ones, other processes took time from these cores.
    peak = {kind: max(p[kind] for p in peaks) for kind in peaks[0] if kind != TRIAD}
    shares = {
        name: gmac / (min(times[name].latencies_ms) / 1e3) / peak[runner.precision]
        for name, runner in runners.items()
        if peak.get(runner.precision)
    }
    print(f"{cpu().name}, {threads} cores; {gmac:.1f} GMAC a volume; peak GMAC/s {peak}")
    print(f"{'engine':24}{'runs in':9}{'median s':>9}{'min s':>9}{'of peak':>9}{'default is':>12}")
    for name, trace in times.items():
        share = f"{shares[name]:.1%}" if name in shares else "-"
        print(
            f"{name:24}{runners[name].precision:9}{trace.median_ms / 1e3:9.3f}"
            f"{min(trace.latencies_ms) / 1e3:9.3f}{share:>9}"
            f"{trace.median_ms / times[default].median_ms:11.2f}×"
        )
    report = None
    if arguments.scan is not None:
        whole = Benchmark(
            bundle, [loaded[default]], scan=arguments.scan,
            notify=lambda line: print(line, file=sys.stderr),
        )  # fmt: skip
        whole.measure(rounds=arguments.rounds)
        report = whole.report()
    print()
    reached = targets(default, runners[default].precision, times, shares, report)
    for target in reached:
        print(target)
    if arguments.out is not None:
        content = {
            "gmac": gmac,
            "peak_gmac_per_s": peak,
            "peaks": peaks,
            "engines": {
                name: {"median_ms": trace.median_ms, "samples_ms": trace.latencies_ms}
                for name, trace in times.items()
            },
            "share_of_peak": shares,
            "median_peak": {k: median(p[k] for p in peaks) for k in peak},
            "report": None if report is None else report.model_dump(mode="json"),
            "targets": [
                {"what": t.what, "found": t.found, "limit": t.limit, "reached": t.reached}
                for t in reached
            ],
        }
        arguments.out.write_text(json.dumps(content, indent=2) + "\n")
    return 0 if all(target.reached for target in reached) else 1


if __name__ == "__main__":
    sys.exit(main())
