"""Read a run as the benchmarks need it: its network, perhaps widened, and its scans by side."""

import csv
from pathlib import Path

import numpy as np


def network_of(checkpoint, width: int | None):
    """Return a checkpoint's shape and model, widened to so many channels without training."""
    from benchmarks.quantization.wide_network import widened

    network, model = checkpoint.network, checkpoint.model()
    if width is not None:
        network = network.model_copy(update={"width": width})
        model = widened(model, network).eval()
    return network, model


def sides(run: Path, cohort: Path, spec):
    """Return the examples that trained and those held out, from the run's split."""
    from darnet_trt.scan.cohorts import read_cohort
    from darnet_trt.training.fitting.records import SPLIT
    from darnet_trt.training.inputs import prepare

    table = read_cohort(cohort)
    with (run / SPLIT).open(newline="") as lines:
        of = {row["scan"]: row["side"] for row in csv.DictReader(lines)}
    found = []
    for side in ("train", "held-out"):
        chosen = tuple(entry for entry in table.entries if of.get(table.name(entry)) == side)
        found.append(prepare(chosen, spec, run / "inputs")[0])
    return found


def compared(expected, got, labels):
    """Return the cells logits error, class flips and drift (mean, most), and the decisions."""
    from darnet_trt.calibration.decisions.decide import decide

    judged = decide(expected, got, labels, "held out")
    error = np.abs(got - expected).max() / np.abs(expected).max()
    cells = (
        f"{error:.3f}",
        f"{judged.class_flips} of {judged.scans}",
        f"{judged.mean_probability_drift:.4f}, {judged.max_probability_drift:.3f}",
    )
    return cells, judged
