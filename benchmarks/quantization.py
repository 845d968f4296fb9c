"""How each way of choosing ranges fares on held-out scans: the table of docs/quantization.md.

    python benchmarks/wide_network.py --out /tmp/wide
    python benchmarks/quantization.py /tmp/wide [--calibration-scans 32] [--nncf]

For OpenVINO and ONNX Runtime, int8 against float32 of the same backend: class flips, AUC and
accuracy with their paired 95 % intervals, probability drift, logits error. The scans of the
training side calibrate, those that training held out judge. `--nncf` adds OpenVINO's own
quantizer, where the package nncf is installed.
"""

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from darnet_trt.cpus import share_cpus

SEED = 0


def main() -> None:
    """Calibrate, try, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wide", type=Path)
    parser.add_argument("--calibration-scans", type=int, default=32)
    parser.add_argument("--nncf", action="store_true")
    arguments = parser.parse_args()
    share_cpus()
    import onnx

    from darnet_trt.calibration.collect import Collector, merged
    from darnet_trt.calibration.decisions import decide
    from darnet_trt.calibration.qdq import convolutions, quantized_tensors
    from darnet_trt.calibration.ranges import METHODS, ranges_of
    from darnet_trt.export.int8_trials import Subject, Trials
    from darnet_trt.export.onnx_export import export_onnx, load_source
    from darnet_trt.scan.cohort import read_cohort
    from darnet_trt.training.inputs import prepare
    from darnet_trt.training.split import split_by_patient

    source = load_source(arguments.wide / "run")
    with TemporaryDirectory() as work:
        export_onnx(source, Path(work) / "model.onnx")
        model = onnx.load(Path(work) / "model.onnx")
    entries = split_by_patient(read_cohort(arguments.wide / "cohort").entries, 0.25, SEED)
    spec, cache = source.checkpoint.preprocessing, arguments.wide / "small" / "inputs"
    seen, unseen = (prepare(side, spec, cache)[0] for side in entries)
    chosen = np.random.default_rng(SEED).permutation(len(seen))[: arguments.calibration_scans]
    layers = convolutions(model)
    statistics = merged(
        Collector(model, quantized_tensors(model, layers)), (seen[i].load() for i in chosen)
    )
    held_out = [example.load() for example in unseen]
    labels = [example.label for example in unseen]
    print(f"{len(chosen)} scans calibrate, {len(held_out)} judge; {len(layers)} convolutions\n")
    head = ("backend", "ranges by", "logits error", "flips", "accuracy", "Δ AUC", "Δ accuracy")
    head += ("drift mean, max", "decisions")
    print(f"| {' | '.join(head)} |\n|{' --- |' * len(head)}")

    def row(backend, method, expected, got):
        found = decide(expected, got, labels, "held out")
        error = np.abs(got - expected).max() / np.abs(expected).max()
        cells = [
            backend, method, f"{error:.3f}", f"{found.class_flips} of {found.scans}",
            f"{found.accuracy.candidate:.3f}", difference(found.auc), difference(found.accuracy),
            f"{found.mean_probability_drift:.4f}, {found.max_probability_drift:.3f}",
            "kept" if found.passed else "; ".join(found.failures),
        ]  # fmt: skip
        print(f"| {' | '.join(cells)} |", flush=True)

    for backend in ("openvino", "onnxruntime"):
        trials = Trials(Subject(model, model, "u8", backend), held_out)
        expected = trials.logits({}, frozenset())
        for method in METHODS:
            ranges = ranges_of(statistics, method, "u8")
            row(backend, method, expected, trials.logits(ranges, frozenset(layers)))
        if backend == "openvino" and arguments.nncf:
            calibrating = [seen[i].load() for i in chosen]
            row(backend, "NNCF", expected, nncf_logits(model, calibrating, held_out))


def difference(found) -> str:
    """ "-0.001 (-0.004 … 0.002)"."""
    value = found.candidate - found.reference
    return f"{value:+.4f} ({found.lower:+.4f} … {found.upper:+.4f})"


def nncf_logits(model, calibrating, held_out):
    """OpenVINO's own quantizer with its defaults for the same network."""
    import nncf
    from onnx.inliner import inline_local_functions

    from darnet_trt.runtime.openvino_import import import_openvino

    openvino = import_openvino()
    with TemporaryDirectory() as work:
        file = Path(work) / "model.onnx"
        file.write_bytes(inline_local_functions(model).SerializeToString())
        network = openvino.convert_model(file)
    quantized = nncf.quantize(
        network,
        nncf.Dataset(calibrating, lambda scan: scan[None]),
        preset=nncf.QuantizationPreset.MIXED,
        subset_size=len(calibrating),
    )
    compiled = openvino.compile_model(quantized, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return np.concatenate([compiled(scan[None])[compiled.output("logits")] for scan in held_out])


if __name__ == "__main__":
    main()
