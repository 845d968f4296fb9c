"""Compare ways of choosing int8 ranges on held-out scans: the table of docs/precision.md.

    python -m benchmarks.quantization.wide_network --out /tmp/wide
    python -m benchmarks.quantization.methods /tmp/wide [--nncf] [--modelopt PYTHON]

It compares int8 in all 20 layers with float32 of the same backend: class flips, AUC and accuracy,
probability drift, logits error, and the time of one volume, with all engines in turns. Scans of the
training side calibrate; those that training held out judge. ONNX Runtime's quantizer is always
included; `--nncf` adds OpenVINO's (install nncf first), `--modelopt` NVIDIA's from another
environment.
"""

import argparse
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.quantization import quantizers
from benchmarks.quantization.trained_run import compared
from darnet_trt.machine.cpus import share_cpus

ROUNDS = 15
HEAD = (
    "run by", "quantizer", "logits error", "class flips", "accuracy", "difference of AUC",
    "probability moved: mean, most", "decisions", "time of float32's",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Row:
    """A row of the table: one engine."""

    backend: str
    quantizer: str
    cells: tuple[str, ...]
    engine: object


def main() -> None:
    """Calibrate, judge, time and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wide", type=Path)
    parser.add_argument("--calibration-scans", type=int, default=32)
    parser.add_argument("--nncf", action="store_true")
    parser.add_argument("--modelopt", type=Path, metavar="PYTHON")
    arguments = parser.parse_args()
    share_cpus()
    import onnx

    from benchmarks.quantization.wide_network import HELD_OUT, SEED
    from darnet_trt.calibration.activations.collect import Collector, merged
    from darnet_trt.calibration.activations.ranges import METHODS, ranges_of
    from darnet_trt.calibration.decisions.decide import decide
    from darnet_trt.calibration.qdq import convolutions, quantize, quantized_tensors
    from darnet_trt.calibration.scans.sample import hashed
    from darnet_trt.export.onnx.writing import export_onnx, load_source
    from darnet_trt.kernels.onnx_inline import inlined
    from darnet_trt.runtime.bench.subject import Subject, Trace
    from darnet_trt.runtime.bench.turns import in_turns
    from darnet_trt.runtime.engines.onnxruntime.runner import OnnxRuntimeRunner
    from darnet_trt.runtime.engines.openvino.conversion import build_openvino
    from darnet_trt.runtime.engines.openvino.runner import OpenVINORunner
    from darnet_trt.runtime.engines.runner import run
    from darnet_trt.scan.cohorts import read_cohort, split_by_patient
    from darnet_trt.training.inputs import prepare

    source = load_source(arguments.wide / "run")
    cohort = read_cohort(arguments.wide / "cohort")
    sides = split_by_patient(cohort, float(HELD_OUT), SEED)
    spec, cache = source.checkpoint.preprocessing, arguments.wide / "small" / "inputs"
    seen, unseen = (prepare(side, spec, cache)[0] for side in (sides.train, sides.held_out))
    drawn = np.random.default_rng(SEED).permutation(len(seen))[: arguments.calibration_scans]
    calibrating = [seen[i].load() for i in drawn]
    held_out = [example.load() for example in unseen]
    labels = [example.label for example in unseen]
    rows: list[Row] = []
    with TemporaryDirectory() as name:
        work = Path(name)
        model, plain = source.float32, work / "model.onnx"
        export_onnx(source, plain, inline=True)
        layers = convolutions(model)
        started = time.monotonic()
        collector = Collector(model, quantized_tensors(model, layers))
        statistics = merged(collector, calibrating, map(hashed, calibrating))
        print(f"{len(calibrating)} scans calibrate, {len(held_out)} judge", end="; ")
        print(f"collecting statistics took {time.monotonic() - started:.0f} s", flush=True)

        def opened(backend, file, precision="int8"):
            if backend == "ONNX Runtime":
                return OnnxRuntimeRunner(file)
            if file.suffix != ".xml":
                file, _ = build_openvino(file, file.with_suffix(""))
            return OpenVINORunner(file, precision=precision)

        def ours(form, method):
            file = work / f"{form}-{method}.onnx"
            if not file.exists():
                ranges = ranges_of(statistics, method, form)
                graph = quantize(model, ranges, convolutions(model, form), form)
                onnx.save(inlined(graph), file)
            return file

        def theirs(quantizer, *words):
            started = time.monotonic()
            file = quantizer(*words, plain, calibrating, work)
            label = " ".join([quantizer.__name__, *map(str, words)])
            print(f"{label}: {time.monotonic() - started:.0f} s", flush=True)
            return file

        def add(backend, quantizer, file, shown=None):
            engine = opened(backend, file)
            expected, got = references[backend][1], run(engine, held_out).logits
            (error, flips, drift), found = compared(expected, got, labels)
            cells = (
                error,
                flips,
                f"{found.accuracy.candidate:.3f}",
                f"{found.auc.candidate - found.auc.reference:+.4f}",
                drift,
                "kept" if found.passed else "not kept",
            )
            rows.append(Row(shown or backend, quantizer, cells, engine))
            in_int8 = engine.provenance.get("int8 convolutions", "?")
            said = (*cells, f"{in_int8} int8 convolutions", *found.failures)
            print(rows[-1].backend, quantizer, *said, sep=" | ", flush=True)

        references = {}
        for backend in ("OpenVINO", "ONNX Runtime"):
            engine = opened(backend, plain, "fp32")
            logits = run(engine, held_out).logits
            references[backend] = engine, logits
            found = decide(logits, logits, labels, "held out")
            print(f"{backend} float32: accuracy {found.accuracy.reference:.3f}", end=", ")
            print(f"AUC {found.auc.reference:.4f}", flush=True)
        ort = theirs(quantizers.onnxruntime)
        for backend in references:
            for method in METHODS:
                add(backend, method, ours("u8", method))
            add(backend, "onnxruntime.quantization", ort)
            if backend == "OpenVINO" and arguments.nncf:
                for settings in ("defaults", "min-max"):
                    add(backend, f"NNCF, {settings}", theirs(quantizers.nncf, settings))
        for method in METHODS:
            add("OpenVINO", method, ours("s8", method), shown="OpenVINO, as plans")
        if arguments.modelopt:
            for method in ("entropy", "max"):
                file = theirs(quantizers.modelopt, arguments.modelopt, method)
                add("OpenVINO", f"ModelOpt, {method}", file, shown="OpenVINO, as plans")
        engines = {backend: engine for backend, (engine, _) in references.items()}
        engines |= {f"{row.backend}, {row.quantizer}": row.engine for row in rows}
        volume = held_out[0][None]
        subjects = [
            Subject(name, partial(engine.infer, volume), turn_ms=0)
            for name, engine in engines.items()
        ]
        traces: dict[str, Trace] = {}
        in_turns(subjects, traces, rounds=ROUNDS)
        times = {name: trace.median_ms for name, trace in traces.items()}
    print(f"\n| {' | '.join(HEAD)} |\n|{' --- |' * len(HEAD)}")
    for row in rows:
        float32 = times[row.backend.partition(",")[0]]
        share = times[f"{row.backend}, {row.quantizer}"] / float32
        print(f"| {' | '.join((row.backend, row.quantizer, *row.cells, f'{share:.2f}'))} |")


if __name__ == "__main__":
    main()
