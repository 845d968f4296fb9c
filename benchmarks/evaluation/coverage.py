"""Measure how often the bootstrap's intervals cover the truth: the table of docs/evaluation.md.

    python -m benchmarks.evaluation.coverage [--trials 1000] [--draws 1000] [--seed 0]

Three classes, as many patients of each on average, one to three scans a patient; the logits of a
patient's scans are alike. The truth is that of 200,000 patients. Each cell is the share of trials
in percent in which the interval holds the truth.
"""

import argparse
import math

import numpy as np

from darnet_trt.evaluation.measured import measured
from darnet_trt.evaluation.metrics import evaluate

CLASSES = ("a", "b", "c")
MEASURES = (
    *("accuracy", "auc", "sensitivity", "specificity", "f1", "macro_f1", "macro_auc"),
    *("log_loss", "overconfidence", "calibration_error"),
)
SETTINGS = ((100, 1.5), (250, 2.2), (100, 2.2), (250, 1.5), (40, 1.5), (100, 4.0))
"""Patients, and how far the classes lie apart."""
TRUTH = 200_000


def drawn(rng: np.random.Generator, patients: int, apart: float):
    """Draw scans: their logits (n, 3), labels and patients."""
    labels = rng.integers(0, len(CLASSES), patients)
    scans = np.repeat(np.arange(patients), rng.integers(1, 4, patients))
    of_patient = apart * np.eye(len(CLASSES))[labels] + rng.normal(size=(patients, len(CLASSES)))
    logits = of_patient[scans] + 0.5 * rng.normal(size=(len(scans), len(CLASSES)))
    return logits.astype(np.float32), labels[scans], scans


def covered(rng, patients: int, apart: float, trials: int, draws: int) -> dict[str, float]:
    """Return for each measure the share of trials in which its interval holds the truth."""
    truth = evaluate(*drawn(rng, TRUTH, apart)[:2], CLASSES)
    held = dict.fromkeys(MEASURES, 0)
    counted = dict.fromkeys(MEASURES, 0)
    for _ in range(trials):
        logits, labels, scans = drawn(rng, patients, apart)
        found = measured(logits, labels, scans.astype(str).tolist(), CLASSES, draws=draws)
        for name in MEASURES:
            one = found[name]
            if one.low is not None and one.high is not None:
                counted[name] += 1
                held[name] += one.low - 1e-9 <= truth[name] <= one.high + 1e-9
    return {name: held[name] / max(counted[name], 1) for name in MEASURES} | {"truth": truth["auc"]}


def main() -> None:
    """Simulate and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    heads = [name.replace("_", " ") for name in MEASURES]
    print(f"| patients | true AUC | {' | '.join(heads)} |\n|{' ---: |' * (2 + len(heads))}")
    for patients, apart in SETTINGS:
        rng = np.random.default_rng((arguments.seed, patients, math.floor(10 * apart)))
        found = covered(rng, patients, apart, arguments.trials, arguments.draws)
        cells = " | ".join(f"{100 * found[name]:.1f}" for name in MEASURES)
        print(f"| {patients} | {found['truth']:.3f} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
