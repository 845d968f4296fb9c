"""Train a small network on scans without their lungs: what it learns is no disease.

It is judged on patients that did not train it, each once, by cross-validation. If it tells classes
apart, something in the cohort does that has nothing to do with lungs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from statistics import NormalDist
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from pydantic import BaseModel, ConfigDict
from torch.nn import functional

from darnet_trt.errors import counted
from darnet_trt.evaluation.intervals import area_interval
from darnet_trt.scan.cohorts import POSITIVE
from darnet_trt.training.checking.reading import VIEW
from darnet_trt.training.model import DARNet, Network

LEVEL: Final = 0.999
FEWEST_PATIENTS: Final = 15
"""Of each class. With so many, an area of 0.85 is above chance; with fewer hardly any is."""
MOST_SCANS: Final = 300
"""Trained on and judged: more make it slower, and what they add is small."""
_PARTS: Final = 5
_WIDTH: Final = 4
_EPOCHS: Final = 12
_BATCH: Final = 16
_RATE: Final = 3e-3


class Area(BaseModel):
    """How well one class is told from the rest without the lungs.

    Attributes:
        label: The class.
        auc: Area under the ROC curve over patients; 0.5 is chance.
        lower: Lower end of its 99.9 % interval, wider where several classes are looked at.
        upper: Upper end.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    label: str
    auc: float
    lower: float
    upper: float

    @property
    def above_chance(self) -> bool:
        """Whether the class is clearly told from the rest."""
        return self.lower > 0.5


class Probe(BaseModel):
    """What the small network learned without the lungs.

    Attributes:
        areas: Of each class against the rest; the first is the positive one's. Empty where it was
            left out.
        patients: Judged.
        left_out: Why it was left out; empty where it was not.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    areas: tuple[Area, ...] = ()
    patients: int = 0
    left_out: str = ""


def probe(
    views: Sequence[npt.NDArray[np.float16]],
    labels: npt.NDArray[np.intp],
    patients: npt.NDArray[np.intp],
    classes: tuple[str, ...],
) -> Probe:
    """Train and judge the small network.

    A patient with scans of several classes counts for that of the first scan.

    Args:
        views: Scans with blanked lungs, `VIEW`.
        labels: Each scan's class.
        patients: Each scan's patient.
        classes: Their names; the first is the positive one.
    """
    rng = np.random.default_rng(0)
    chosen = _chosen(labels, patients, rng)
    labels, patients = labels[chosen], patients[chosen]
    known, first, of = np.unique(patients, return_index=True, return_inverse=True)
    counts = np.bincount(labels[first], minlength=len(classes))
    fewest = int(counts.min())
    if fewest < FEWEST_PATIENTS:
        return Probe(
            left_out=f"{classes[counts.argmin()]} has {counted(fewest, 'patient')} with usable "
            f"scans, and an answer needs {FEWEST_PATIENTS} of each class"
        )
    inputs = np.stack([views[i] for i in chosen])[:, None].astype(np.float32)
    part_of = _parts(labels, patients, rng)
    scores = np.zeros((len(labels), len(classes)))
    with torch.random.fork_rng(devices=[]), _one_thread():
        for part in range(_PARTS):
            held_out = part_of == part
            train = ~held_out
            found = _scores(inputs[train], labels[train], inputs[held_out], len(classes), part)
            # Each network has an offset of its own, which must not decide between its patients
            # and those of another.
            scores[held_out] = found - found.mean(0)
    sums = np.stack([np.bincount(of, column) for column in scores.T], 1)
    mean = sums / np.bincount(of)[:, None]
    looks = 1 if len(classes) == 2 else len(classes)
    z = NormalDist().inv_cdf(1 - (1 - LEVEL) / 2 / looks)
    areas = tuple(
        Area(label=classes[label], auc=auc, lower=lower, upper=upper)
        for label in range(POSITIVE, POSITIVE + looks)
        for auc, lower, upper in [area_interval(mean[:, label], labels[first] == label, z)]
    )
    return Probe(areas=areas, patients=len(known))


def _chosen(
    labels: npt.NDArray[np.intp], patients: npt.NDArray[np.intp], rng: np.random.Generator
) -> npt.NDArray[np.intp]:
    """Return the places of `MOST_SCANS` scans at most: evenly of the classes, of many patients."""
    order = rng.permutation(len(labels))
    for of in (patients, labels):
        order = order[np.argsort(_turns(of[order]), kind="stable")]
    return np.sort(order[:MOST_SCANS])


def _turns(values: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    """Return how often each value has come before its place."""
    before: Counter[int] = Counter()
    turns = np.empty(len(values), np.intp)
    for place, value in enumerate(values.tolist()):
        turns[place] = before[value]
        before[value] += 1
    return turns


@contextmanager
def _one_thread() -> Iterator[None]:
    """Let torch use one thread: for so small a network more only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _parts(
    labels: npt.NDArray[np.intp], patients: npt.NDArray[np.intp], rng: np.random.Generator
) -> npt.NDArray[np.intp]:
    """Return the part of each scan: those of a patient in one, classes evenly."""
    known, first, of = np.unique(patients, return_index=True, return_inverse=True)
    shuffled = rng.permutation(len(known))
    by_class = shuffled[np.argsort(labels[first][shuffled], kind="stable")]
    part = np.empty(len(known), np.intp)
    part[by_class] = np.arange(len(known)) % _PARTS
    return np.asarray(part[of])


def _scores(
    inputs: npt.NDArray[np.float32],
    labels: npt.NDArray[np.intp],
    held_out: npt.NDArray[np.float32],
    classes: int,
    seed: int,
) -> npt.NDArray[np.float64]:
    """Train on some scans; return the logarithms of the probabilities (n, classes) of others."""
    torch.manual_seed(seed)
    network = Network(
        attention="none", width=_WIDTH, input_size=VIEW, classes=tuple(map(str, range(classes)))
    )
    model = DARNet(network)
    model.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    optimizer = torch.optim.Adam(model.parameters(), _RATE)
    mean, deviation = float(inputs.mean()), float(inputs.std()) or 1.0

    def batch(array: npt.NDArray[np.float32]) -> torch.Tensor:
        x = torch.from_numpy((array - mean) / deviation)
        return x.contiguous(memory_format=torch.channels_last_3d)

    y = torch.from_numpy(labels.astype(np.int64))
    steps = _EPOCHS * (len(y) // _BATCH)
    annealing = torch.optim.lr_scheduler.OneCycleLR(optimizer, _RATE, total_steps=steps + 1)
    model.train()
    for _ in range(_EPOCHS):
        order = torch.randperm(len(y)).numpy()
        for first in range(0, len(y) // _BATCH * _BATCH, _BATCH):
            some = order[first : first + _BATCH]
            loss = functional.cross_entropy(model(batch(inputs[some]))[0], y[some])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            annealing.step()
    model.eval()
    parts = np.array_split(held_out, len(held_out) // _BATCH + 1)
    with torch.inference_mode():
        logits = torch.cat([model(batch(part))[0] for part in parts])
    return np.asarray(logits.log_softmax(1).double().numpy())
