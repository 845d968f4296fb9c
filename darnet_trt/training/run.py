"""One training run, from a cohort to a folder with a checkpoint."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from darnet_trt.errors import UsageError
from darnet_trt.evaluation.metrics import evaluate
from darnet_trt.machine.files import sole_writer, whole_file
from darnet_trt.scan import Preprocessing
from darnet_trt.scan.cohort import CLASSES, Cohort, Entry, read_cohort
from darnet_trt.training.checkpoint import FILE_NAME, Checkpoint, save_checkpoint
from darnet_trt.training.fit import STATE, Epoch, Schedule, fit, predict_logits
from darnet_trt.training.inputs import Example, Failure, prepare
from darnet_trt.training.model import Attention
from darnet_trt.training.presets import Preset
from darnet_trt.training.split import split_by_patient

__all__ = ["METRICS", "SPLIT", "Listener", "train"]

METRICS = "metrics.json"
SPLIT = "split.csv"
INPUTS = "inputs"  # preprocessed scans; only a cache


@dataclass(frozen=True)
class Listener:
    """What a run tells while it goes on.

    Attributes:
        split: Called with the training and the held-out scans, before anything is read.
        prepared: Called with the number of scans preprocessed since the last call.
        failed: Called with each scan that cannot be used.
        epoch: Called after each epoch.
    """

    split: Callable[[int, int], None] = lambda train, held_out: None
    prepared: Callable[[int], None] = lambda count: None
    failed: Callable[[Failure], None] = lambda failure: None
    epoch: Callable[[Epoch], None] = lambda epoch: None


def train(
    table: Path,
    run: Path,
    preset: Preset,
    schedule: Schedule,
    *,
    attention: Attention = "both",
    held_out: float = 0.2,
    device: str = "cpu",
    listener: Listener = Listener(),
) -> Checkpoint:
    """Train on a cohort and write checkpoint.pt, history.csv, split.csv and metrics.json.

    An interrupted run goes on from its last epoch when called again with the same arguments.

    Args:
        table: `cohort.csv`, or the folder that holds it.
        run: A folder that holds no finished run yet.
        preset: Size of the network.
        schedule: How to train.
        attention: The variant.
        held_out: Share of the patients to keep aside.
        device: "cpu" or "cuda".
        listener: Told what happens.

    Raises:
        UsageError: The cohort or the options cannot work, `run` holds a finished run, or
            another process is writing into it.
        OutputError: `run` cannot be written.
    """
    cohort = read_cohort(table)
    sides = split_by_patient(cohort.entries, held_out, schedule.seed)
    with sole_writer(run):
        if (run / FILE_NAME).exists():
            raise UsageError("holds a finished run already", where=run, do="name another folder")
        listener.split(*map(len, sides))
        (seen, unseen), failures = _prepare(sides, preset.preprocessing(), run, cohort, listener)
        _write_split(run / SPLIT, cohort.table, seen, unseen, failures)
        network = preset.network(attention)
        model = fit(network, seen, unseen, schedule, run, device=device, report=listener.epoch)
        labels = np.array([e.label for e in unseen], np.int64)
        checkpoint = Checkpoint(
            network=network,
            preprocessing=preset.preprocessing(),
            trained_on=cohort.describe(tuple(e.entry for e in seen)),
            validation=evaluate(predict_logits(model, unseen), labels),
            state_dict=model.state_dict(),
            phantoms_only=cohort.seed is not None,
            coarsest_pixel_mm=max((mm for e in seen if (mm := e.pixel_mm)), default=None),
        )
        _write_metrics(run / METRICS, checkpoint, schedule, failures)
        save_checkpoint(checkpoint, run)
        (run / STATE).unlink(missing_ok=True)
    return checkpoint


def _prepare(
    sides: Iterable[tuple[Entry, ...]],
    spec: Preprocessing,
    run: Path,
    cohort: Cohort,
    listener: Listener,
) -> tuple[list[tuple[Example, ...]], list[Failure]]:
    """The inputs of the training side, then of the held-out one, and what gives none."""
    prepared: list[tuple[Example, ...]] = []
    failures: list[Failure] = []
    for entries in sides:
        examples, bad = prepare(entries, spec, run / INPUTS, done=listener.prepared)
        for failure in bad:
            listener.failed(failure)
        prepared.append(examples)
        failures += bad
    for label in CLASSES:
        if not any(e.entry.label == label for e in prepared[0]):
            raise UsageError(
                f"no usable scan with the label {label} is left to train on",
                where=cohort.table,
                do="every class must occur; darnet-trt inspect says why scans are refused",
            )
    return prepared, failures


def _write_metrics(
    path: Path, checkpoint: Checkpoint, schedule: Schedule, failures: list[Failure]
) -> None:
    metrics: dict[str, Any] = {
        "trained_on": checkpoint.trained_on,
        "held_out": checkpoint.validation,
        "network": checkpoint.network.model_dump(mode="json"),
        "preprocessing": checkpoint.preprocessing.model_dump(mode="json"),
        "schedule": asdict(schedule),
        "unusable_scans": [{"scan": str(f.entry.scan), "reason": f.reason} for f in failures],
    }
    with whole_file(path) as file:
        file.write(json.dumps(metrics, indent=2).encode() + b"\n")


def _write_split(
    path: Path,
    table: Path,
    seen: tuple[Example, ...],
    unseen: tuple[Example, ...],
    failures: list[Failure],
) -> None:
    side: dict[Entry, str] = {e.entry: "train" for e in seen}
    side |= {e.entry: "held-out" for e in unseen}
    side |= {f.entry: "unusable" for f in failures}
    with whole_file(path) as file, io.TextIOWrapper(file, "utf-8", newline="") as text:
        rows = csv.writer(text)
        rows.writerow(["scan", "patient", "label", "side"])
        for entry, where in sorted(side.items(), key=lambda item: str(item[0].scan)):
            rows.writerow([entry.scan.relative_to(table.parent), entry.patient, entry.label, where])
