"""Write what an evaluation found: figures, a table of the scans, pictures; print the figures."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from darnet_trt import __version__
from darnet_trt.cli.evaluate_network import Judged, Logits
from darnet_trt.cli.evaluate_scans import LEFT_OUT, Scored, Status
from darnet_trt.cli.output_folder import PREDICTIONS
from darnet_trt.cli.printing import print_line, print_table, warn
from darnet_trt.evaluation.fonts import missing_letters
from darnet_trt.evaluation.measured import CALIBRATED, Measured, as_json, measured
from darnet_trt.evaluation.metrics import not_measured, softmax
from darnet_trt.evaluation.pictures import (
    confusion,
    confusion_counts,
    reliability_diagram,
    roc,
    shortcut_note,
)
from darnet_trt.machine.files import whole_file
from darnet_trt.runtime.prediction.results.result import INTENDED_USE
from darnet_trt.runtime.prediction.results.tables import cell
from darnet_trt.scan.cohorts import POSITIVE, Cohort

METRICS: Final = "metrics.json"
DRAWS: Final = 2000  # of the bootstrap


@dataclass(frozen=True, eq=False)
class Evaluation:
    """A network's scores on a cohort; at least one scan is measured.

    Attributes:
        judged: The network.
        cohort: The scans.
        scored: Each of them.
    """

    judged: Judged
    cohort: Cohort
    scored: tuple[Scored, ...]

    @cached_property
    def measured(self) -> tuple[Scored, ...]:
        """Return the scans that are measured."""
        return tuple(one for one in self.scored if one.status == "ok")

    @cached_property
    def logits(self) -> Logits:
        """Return the logits of the scans that are measured, (n, classes)."""
        return np.stack([one.logits for one in self.measured if one.logits is not None])

    @cached_property
    def labels(self) -> npt.NDArray[np.int64]:
        """Return the labels of the scans that are measured, (n,)."""
        classes = self.judged.classes
        return np.array([classes.index(one.entry.label) for one in self.measured], np.int64)

    @cached_property
    def patients(self) -> list[str]:
        """Return the patients of the scans that are measured."""
        return [one.entry.patient for one in self.measured]

    @cached_property
    def found(self) -> dict[str, Measured]:
        """Measure them."""
        return measured(
            self.logits,
            self.labels,
            self.patients,
            self.judged.classes,
            temperature=self.judged.temperature,
            draws=DRAWS,
        )

    @property
    def left_out(self) -> Counter[Status]:
        """Count the scans that are not measured, by status."""
        return Counter(one.status for one in self.scored if one.status != "ok")

    def as_json(self) -> dict[str, Any]:
        """Return the content of `metrics.json`."""
        judged, classes = self.judged, self.judged.classes
        return {
            "network": {**judged.facts, "temperature": judged.temperature},
            "cohort": self.cohort.describe(tuple(one.entry for one in self.measured)),
            "classes": list(classes),
            "positive": classes[0],
            "scans": {
                "in_cohort": len(self.scored),
                "evaluated": len(self.measured),
                "patients": len(set(self.patients)),
                **{status.replace("-", "_"): self.left_out[status] for status in LEFT_OUT},
                "training_scans_known": judged.trained is not None,
            },
            "interval": {"level": 0.95, "draws": DRAWS, "by": "patient"},
            "metrics": as_json(self.found),
            "confusion": confusion_counts(self.logits, self.labels, len(classes)).tolist(),
            "left_out": [
                {"scan": self.cohort.name(one.entry), "status": one.status, "reason": one.reason}
                for one in self.scored
                if one.status != "ok"
            ],
            "intended_use": INTENDED_USE,
            "toolkit": __version__,
        }

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield a row of `predictions.csv` for each scan of the cohort."""
        classes, temperature = self.judged.classes, self.judged.temperature
        for one in self.scored:
            entry = one.entry
            logits = None if one.logits is None else one.logits[None].astype(np.float64)
            best = "" if logits is None else classes[int(logits[0].argmax())]
            yield {
                "scan": self.cohort.name(entry),
                "key": one.key,
                "patient": entry.patient,
                "label": entry.label,
                "side": entry.side or ("train" if one.status == "seen" else ""),
                "fold": entry.fold,
                "status": one.status,
                "class": best,
                **_columns("probability", classes, logits, temperature),
                **_columns("raw_probability", classes, logits, 1.0),
                **{
                    f"logit_{name}": None if logits is None else round(float(logits[0, c]), 6)
                    for c, name in enumerate(classes)
                },
                "reason": one.reason,
                "code": one.code,
            }

    def write(self, out: Path) -> None:
        """Write the files; `metrics.json`, the last one, tells that all are there.

        Raises:
            OutputError: One cannot be written.
        """
        classes, found = self.judged.classes, self.found
        temperature, note = self.judged.temperature, shortcut_note(self.judged.shortcuts)
        if letters := missing_letters(classes):
            warn(letters)
        pictures = {
            "roc.png": roc(self.logits, self.labels, classes, found, note),
            "confusion.png": confusion(self.logits, self.labels, classes, note),
            "reliability.png": reliability_diagram(
                self.logits, self.labels, found, temperature, note
            ),
        }
        for name, picture in pictures.items():
            if picture is not None:
                _write(out / name, picture)
        _write(out / PREDICTIONS, _csv(self.rows()))
        _write(out / METRICS, json.dumps(self.as_json(), indent=2).encode() + b"\n")

    def show(self) -> None:
        """Print the measures with their intervals."""
        print_table(("measure", "value (95 % interval)"), self._lines())
        print_line()
        titles = ("class", "scans", "right", "precision", "recall", "F1", "AUC")
        print_table(titles, map(self._class_line, range(len(self.judged.classes))))

    def _lines(self) -> Iterator[tuple[str, str]]:
        positive = self.judged.classes[0]
        words = {
            "accuracy": "accuracy over all classes",
            "auc": f"AUC of {positive} against the rest",
            "sensitivity": f"sensitivity to {positive}",
            "specificity": f"specificity to {positive}",
            "f1": f"F1 of {positive}",
            "macro_auc": "AUC, mean over the classes",
            "macro_precision": "precision, mean over the classes",
            "macro_recall": "recall, mean over the classes",
            "macro_f1": "F1, mean over the classes",
        }
        for name in ("log_loss", "calibration_error", "overconfidence"):
            words[name] = name.replace("_", " ").replace("log loss", "log-loss")
            words[CALIBRATED + name] = f"{words[name]}, calibrated"
        for name, said in words.items():
            if name in self.found:
                yield said, str(self.found[name])
            elif name == "auc":
                scans = int((self.labels == POSITIVE).sum())
                yield f"{positive} against the rest", not_measured(positive, scans)

    def _class_line(self, index: int) -> tuple[str, ...]:
        name = self.judged.classes[index]
        of_class = self.labels == index
        right = of_class & (self.logits.argmax(1) == index)
        keys = (f"{measure}_{name}" for measure in ("precision", "recall", "f1", "auc"))
        each = (str(self.found[key]) if key in self.found else "" for key in keys)
        return (name, str(of_class.sum()), str(right.sum()), *each)


def _columns(
    title: str,
    classes: Sequence[str],
    logits: npt.NDArray[np.float64] | None,
    temperature: float,
) -> Mapping[str, float | None]:
    """Return a column for each class with its probability."""
    if logits is None:
        return {f"{title}_{name}": None for name in classes}
    values = softmax(logits / temperature)[0]
    return {f"{title}_{name}": round(float(p), 6) for name, p in zip(classes, values, strict=True)}


def _csv(rows: Iterator[dict[str, Any]]) -> bytes:
    text = io.StringIO()
    first = next(rows)
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(first)
    for row in (first, *rows):
        writer.writerow(cell(name, value) for name, value in row.items())
    return text.getvalue().encode("utf-8", "backslashreplace")


def _write(path: Path, content: bytes) -> None:
    with whole_file(path) as file:
        file.write(content)
