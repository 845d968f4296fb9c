"""Train on a cohort and write the run's folder."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

from darnet_trt.errors import UsageError
from darnet_trt.evaluation.seen import TrainingScans, identity
from darnet_trt.machine.files import sole_writer, whole_file
from darnet_trt.scan.cohorts import Cohort, Entry, split_by_patient
from darnet_trt.scan.preprocessing import NEW, Extent, Resolution
from darnet_trt.training.assessment import assess
from darnet_trt.training.checkpoint import FILE_NAME, Checkpoint, save_checkpoint
from darnet_trt.training.fit import STATE, Epoch, Schedule, fit
from darnet_trt.training.inputs import Example, Failure, prepare
from darnet_trt.training.model import Attention
from darnet_trt.training.presets import Preset

METRICS = "metrics.json"
SPLIT = "split.csv"
INPUTS = "inputs"  # a cache of preprocessed scans


def train(
    cohort: Cohort,
    run: Path,
    preset: Preset,
    schedule: Schedule,
    *,
    attention: Attention = "both",
    extent: Extent = NEW.extent,
    resolution: Resolution = NEW.resolution,
    held_out: float = 0.2,
    device: str = "cpu",
    reading: Callable[[int, int], AbstractContextManager[Callable[[int], None]]] = (
        lambda train, held_out: nullcontext(lambda count: None)
    ),
    failed: Callable[[Failure], None] = lambda failure: None,
    report: Callable[[Epoch], None] = lambda epoch: None,
) -> Checkpoint:
    """Train on a cohort and write checkpoint.pt, history.csv, split.csv and metrics.json.

    Called again with the same arguments, it continues an interrupted run after its last epoch.

    Args:
        cohort: From `read_cohort`.
        run: A folder that holds no finished run yet.
        preset: Size of the network.
        schedule: How to train.
        attention: The variant.
        extent: What the network's input covers of a scan.
        resolution: Of the slices that the input is made from.
        held_out: Share of the patients to hold out.
        device: "cpu" or "cuda".
        reading: Called with the numbers of training and held-out scans; returns a context that
            is open while they are preprocessed and gives a function to call with the number done
            since the last call.
        failed: Called with each scan that cannot be used.
        report: Called after each epoch.

    Raises:
        UsageError: The cohort or the options cannot work, `run` holds a finished run, or
            another process is writing into it.
        OutputError: `run` cannot be written.
    """
    split = split_by_patient(cohort, held_out, schedule.seed)
    sides = split.train, split.held_out
    network = preset.network(attention, cohort.classes)
    preprocessing = NEW.model_copy(
        update={"size": preset.input_size, "extent": extent, "resolution": resolution}
    )
    with sole_writer(run):
        if (run / FILE_NAME).exists():
            raise UsageError("holds a finished run already", where=run, do="choose another folder")
        with reading(*map(len, sides)) as done:
            (seen, unusable), (unseen, unusable_too) = (
                prepare(side, preprocessing, run / INPUTS, classes=cohort.classes, done=done)
                for side in sides
            )
        failures = unusable + unusable_too
        for failure in failures:
            failed(failure)
        _check_classes(seen, cohort)
        _write_split(run / SPLIT, cohort, split.test, seen, unseen, failures)
        model = fit(network, seen, unseen, schedule, run, device=device, report=report)
        found = assess(model, seen, unseen)
        checkpoint = Checkpoint(
            network=network,
            preprocessing=preprocessing,
            trained_on=cohort.describe(tuple(e.entry for e in seen)),
            validation=found.validation,
            state_dict=model.state_dict(),
            temperature=found.temperature,
            familiarity=found.familiarity,
            phantoms_only=cohort.seed is not None,
            coarsest_pixel_mm=max((mm for e in seen if (mm := e.pixel_mm)), default=None),
            training_scans=TrainingScans.of(
                [identity(cohort, e.entry.patient, e.patient_id, e.hashes) for e in seen]
            ),
        )
        _write_metrics(run / METRICS, checkpoint, schedule, failures)
        save_checkpoint(checkpoint, run)
        (run / STATE).unlink(missing_ok=True)
    return checkpoint


def _check_classes(seen: tuple[Example, ...], cohort: Cohort) -> None:
    usable = {example.entry.label for example in seen}
    for label in cohort.classes:
        if label not in usable:
            raise UsageError(
                f"no usable scan with the label {label} is left to train on",
                where=cohort.table,
                do="every class must occur; darnet-trt inspect says why scans are refused",
            )


def _write_metrics(
    path: Path, checkpoint: Checkpoint, schedule: Schedule, failures: tuple[Failure, ...]
) -> None:
    metrics: dict[str, Any] = {
        "trained_on": checkpoint.trained_on,
        "held_out": checkpoint.validation,
        "temperature": checkpoint.temperature,
        "network": checkpoint.network.model_dump(mode="json"),
        "preprocessing": checkpoint.preprocessing.model_dump(mode="json"),
        "schedule": asdict(schedule),
        "unusable_scans": [{"scan": str(f.entry.scan), "reason": f.reason} for f in failures],
    }
    with whole_file(path) as file:
        file.write(json.dumps(metrics, indent=2).encode() + b"\n")


def _write_split(
    path: Path,
    cohort: Cohort,
    test: tuple[Entry, ...],
    seen: tuple[Example, ...],
    unseen: tuple[Example, ...],
    failures: tuple[Failure, ...],
) -> None:
    side: dict[Entry, str] = {e.entry: "train" for e in seen}
    side |= {e.entry: "held-out" for e in unseen}
    side |= {f.entry: "unusable" for f in failures}
    side |= dict.fromkeys(test, "test")
    with whole_file(path) as file, io.TextIOWrapper(file, "utf-8", newline="") as text:
        rows = csv.writer(text)
        rows.writerow(["scan", "patient", "label", "side"])
        for entry, where in sorted(side.items(), key=lambda item: str(item[0].scan)):
            rows.writerow([cohort.name(entry), entry.patient, entry.label, where])
