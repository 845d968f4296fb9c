"""What each trained network answered for each scan it had not seen."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt

from darnet_trt.evaluation.metrics import softmax
from darnet_trt.machine.files import whole_text
from darnet_trt.training.model import Attention

Side = Literal["test", "held-out"]
SIDES: tuple[Side, ...] = ("test", "held-out")


@dataclass(frozen=True)
class Training:
    """One of the trainings: a network, the fold it does not see, and its seed."""

    attention: Attention
    fold: int
    seed: int

    @property
    def name(self) -> str:
        """Return the name of its folder."""
        return f"{self.attention}-fold{self.fold}-seed{self.seed}"


@dataclass(frozen=True, eq=False)
class Scored:
    """The answers of one trained network for the scans of one side.

    Attributes:
        training: Which network.
        side: "held-out": its fold; "test": the test cohort.
        scans: Of each scan, its path as the table names it.
        patients: Of each scan.
        labels: (n,) indices into the classes.
        logits: (n, classes).
        temperature: Divides the logits in the probabilities.
    """

    training: Training
    side: Side
    scans: tuple[str, ...]
    patients: tuple[str, ...]
    labels: npt.NDArray[np.int64]
    logits: npt.NDArray[np.float32]
    temperature: float


def write_scored(scored: Iterable[Scored], classes: Sequence[str], path: Path) -> None:
    """Write a CSV with a line for each network and scan.

    Raises:
        OutputError: It cannot be written.
    """
    with whole_text(path) as text:
        rows = csv.writer(text)
        rows.writerow(
            [
                *("scan", "patient", "label", "attention", "fold", "seed", "side"),
                *("temperature", "predicted"),
                *(f"probability_{name}" for name in classes),
                *(f"logit_{name}" for name in classes),
            ]
        )
        for one in scored:
            training = one.training
            about = (training.attention, training.fold, training.seed, one.side, one.temperature)
            probabilities = softmax(one.logits / one.temperature)
            for index, (scan, patient) in enumerate(zip(one.scans, one.patients, strict=True)):
                logits = one.logits[index]
                rows.writerow(
                    [
                        *(scan, patient, classes[one.labels[index]]),
                        *about,
                        classes[int(logits.argmax())],
                        *(f"{p:.6f}" for p in probabilities[index]),
                        *map(str, logits),
                    ]
                )


def read_scored(path: Path, classes: Sequence[str]) -> tuple[Scored, ...]:
    """Read what `write_scored` wrote."""
    groups: dict[tuple[str, ...], list[dict[str, str]]] = {}
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            keys = ("attention", "fold", "seed", "side", "temperature")
            groups.setdefault(tuple(row[key] for key in keys), []).append(row)
    return tuple(_scored(key, rows, classes) for key, rows in groups.items())


def _scored(key: tuple[str, ...], rows: list[dict[str, Any]], classes: Sequence[str]) -> Scored:
    attention, fold, seed, side, temperature = key
    return Scored(
        Training(cast(Attention, attention), int(fold), int(seed)),
        cast(Side, side),
        tuple(row["scan"] for row in rows),
        tuple(row["patient"] for row in rows),
        np.array([classes.index(row["label"]) for row in rows], np.int64),
        np.array([[row[f"logit_{name}"] for name in classes] for row in rows], np.float32),
        float(temperature),
    )
