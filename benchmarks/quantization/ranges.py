"""Compare the methods of choosing ranges on scans that the network has not seen.

    python -m benchmarks.quantization.ranges RUN COHORT

RUN was trained on COHORT. Training scans calibrate, and the run's held-out patients judge, beside
as many other training scans. Both forms of int8 run in OpenVINO. `ONNX Runtime's` are the ranges of
its own entropy calibration, of our histograms: those hold magnitudes, so that both sides of a
tensor with negative values get half of the counts.
"""

import argparse
from pathlib import Path

import numpy as np

from benchmarks.quantization.trained_run import compared, sides
from darnet_trt.machine.cpus import share_cpus

SEED = 0
STEPS = 128  # ONNX Runtime's num_quantized_bins
HEAD = (
    *("form", "ranges", "logits error", "class flips", "probability moved: mean, most"),
    "the same on seen scans",
)


def onnxruntime_entropy(found, bins):
    """Return ONNX Runtime's entropy range of one tensor's statistics.

    Args:
        found: `Statistics`.
        bins: Of its histogram, both sides together; its default is 128.
    """
    from onnxruntime.quantization.calibrate import HistogramCollector

    half = bins // 2
    used = int(np.flatnonzero(found.counts)[-1]) + 1
    width = -(-used // half)
    counts = np.zeros(half * width, np.int64)
    counts[:used] = found.counts[:used]
    counts = counts.reshape(half, width).sum(1)
    left = counts[::-1] // 2 if found.signed else np.zeros_like(counts)
    both = np.concatenate([left, counts - left[::-1]])
    largest = half * width * 2.0**found.exponent
    edges = np.linspace(-largest, largest, bins + 1, dtype=np.float32)
    limits = (np.float32(found.smallest), np.float32(found.largest))
    chosen = HistogramCollector.get_entropy_threshold(None, (both, edges, *limits), STEPS)
    return min(float(max(map(abs, chosen))), found.magnitude)


def main() -> None:
    """Calibrate, judge and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("cohort", type=Path)
    parser.add_argument("--calibration-scans", type=int, default=32)
    arguments = parser.parse_args()
    share_cpus()
    from darnet_trt.calibration.activations.collect import Collector, merged
    from darnet_trt.calibration.activations.ranges import METHODS, ranges_of
    from darnet_trt.calibration.qdq import Range, convolutions, quantized_tensors
    from darnet_trt.calibration.scans.sample import hashed
    from darnet_trt.calibration.search.trials import Subject, Trials
    from darnet_trt.export.onnx.writing import load_source

    source = load_source(arguments.run)
    model = source.float32
    seen, unseen = sides(arguments.run, arguments.cohort, source.checkpoint.preprocessing)
    drawn = [seen[i] for i in np.random.default_rng(SEED).permutation(len(seen))]
    calibrating = [one.load() for one in drawn[: arguments.calibration_scans]]
    others = drawn[arguments.calibration_scans :][: len(unseen)]
    layers = frozenset(convolutions(model))
    collector = Collector(model, quantized_tensors(model, layers))
    statistics = merged(collector, calibrating, map(hashed, calibrating))
    chosen = {}
    for bins in (STEPS, 2048):
        largest = {name: onnxruntime_entropy(one, bins) for name, one in statistics.items()}
        chosen[f"ONNX Runtime's entropy, {bins} bins"] = {
            name: Range(largest[name], one.signed) for name, one in statistics.items()
        }
    print(
        f"{len(calibrating)} scans calibrate; {len(unseen)} unseen and {len(others)} seen judge\n"
    )
    print(f"| {' | '.join(HEAD)} |\n|{' --- |' * len(HEAD)}")
    for form in ("u8", "s8"):
        subject = Subject(model, form, "openvino")
        judges = [
            (Trials(subject, inputs, list(map(hashed, inputs))), [one.label for one in side])
            for side in (unseen, others)
            for inputs in [[one.load() for one in side]]
        ]
        ours = {f"`{method}`": ranges_of(statistics, method, form) for method in METHODS}
        for name, ranges in {**ours, **chosen}.items():
            cells = []
            for trials, labels in judges:
                expected = trials.logits(ranges, frozenset())
                got = trials.logits(ranges, layers)
                cells += compared(expected, got, labels)[0]
            row = (form, name, *cells[:3], "; ".join(cells[3:]))
            print(f"| {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
