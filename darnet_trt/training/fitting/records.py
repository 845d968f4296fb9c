"""What a run's folder says of its scans and of its result."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from darnet_trt.errors import UsageError
from darnet_trt.evaluation.metrics import softmax
from darnet_trt.machine.files import whole_file, whole_text
from darnet_trt.scan.cohorts import Cohort, Entry
from darnet_trt.training.assessment import Assessment
from darnet_trt.training.checkpoint import Checkpoint, checkpoint_file
from darnet_trt.training.inputs import Example, Failure
from darnet_trt.training.recipe import Recipe

METRICS: Final = "metrics.json"
SPLIT: Final = "split.csv"
_SIDES: Final = {"train", "held-out", "test", "unusable"}
SCORES: Final = "held-out.csv"


def write_metrics(
    path: Path,
    checkpoint: Checkpoint,
    recipe: Recipe,
    configuration: Mapping[str, Any],
    failures: tuple[Failure, ...],
) -> None:
    """Write what was trained, how, and what was measured on the held-out scans.

    Raises:
        OutputError: It cannot be written.
    """
    metrics: dict[str, Any] = {
        "trained_on": checkpoint.trained_on,
        "held_out": checkpoint.validation,
        "temperature": checkpoint.temperature,
        "network": checkpoint.network.model_dump(mode="json"),
        "preprocessing": checkpoint.preprocessing.model_dump(mode="json"),
        "recipe": recipe.model_dump(mode="json"),
        "configuration": dict(configuration),
        "shortcuts": list(checkpoint.shortcuts),
        "unusable_scans": [{"scan": str(f.entry.scan), "reason": f.reason} for f in failures],
    }
    with whole_file(path) as file:
        file.write(json.dumps(metrics, indent=2).encode() + b"\n")


def write_split(
    path: Path,
    cohort: Cohort,
    seen: tuple[Example, ...],
    unseen: tuple[Example, ...],
    failures: tuple[Failure, ...],
    test: tuple[Entry, ...],
) -> None:
    """Write on which side each scan is: train, held-out, test, unusable.

    Raises:
        OutputError: It cannot be written.
    """
    side: dict[Entry, str] = {e.entry: "train" for e in seen}
    side |= {e.entry: "held-out" for e in unseen}
    side |= {f.entry: "unusable" for f in failures}
    side |= dict.fromkeys(test, "test")
    rows = [
        [cohort.name(entry), entry.patient, entry.label, where]
        for entry, where in sorted(side.items(), key=lambda item: str(item[0].scan))
    ]
    _write(path, ["scan", "patient", "label", "side"], rows)


def sides_of_patients(run: Path) -> dict[str, str] | None:
    """Return the side of each patient that `write_split` wrote; None where there is no such file.

    Args:
        run: The run's folder, or its checkpoint file.

    Raises:
        UsageError: The file is damaged, or a part of it is missing.
    """
    path = checkpoint_file(run).parent / SPLIT
    try:
        with path.open(newline="", encoding="utf-8") as file:
            sides = {row["patient"]: row["side"] for row in csv.DictReader(file)}
        if not sides or not set(sides.values()) <= _SIDES:
            raise ValueError("a part of it is missing")
        return sides
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, csv.Error) as error:
        raise UsageError(
            "does not say which patients are on the test side",
            where=path,
            do="copy the run again, since nothing else says which they are",
        ) from error


def write_scores(
    path: Path, cohort: Cohort, held_out: Sequence[Example], found: Assessment
) -> None:
    """Write each held-out scan's class, logits and calibrated probabilities.

    Raises:
        OutputError: It cannot be written.
    """
    classes = held_out[0].classes if held_out else ()
    header = ["scan", "patient", "label", "predicted"]
    header += [f"{what}_{name}" for what in ("logit", "probability") for name in classes]
    rows = [
        [
            cohort.name(example.entry),
            example.entry.patient,
            example.entry.label,
            classes[of_scan.argmax()],
            *(
                f"{value:.6g}"
                for value in (*of_scan, *softmax(of_scan[None] / found.temperature)[0])
            ),
        ]
        for example, of_scan in zip(held_out, found.logits, strict=True)
    ]
    _write(path, header, rows)


def _write(path: Path, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    with whole_text(path) as text:
        lines = csv.writer(text)
        lines.writerow(header)
        lines.writerows(rows)
