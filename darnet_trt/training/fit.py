"""The training loop: Adam, cross-entropy, cosine annealing, batches of 4 (the paper's 4.2)."""

from __future__ import annotations

import csv
import hashlib
import io
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from darnet_trt.errors import UsageError
from darnet_trt.machine.files import whole_file
from darnet_trt.training.augmentation import Augmentation, augment
from darnet_trt.training.checkpoint import read_tensors, write_tensors
from darnet_trt.training.inputs import Example
from darnet_trt.training.model import DARNet, Network
from darnet_trt.training.outputs import batch_of, predict

STATE = "state.pt"  # lets an interrupted run continue; removed at the end
HISTORY = "history.csv"


@dataclass(frozen=True)
class Schedule:
    """The schedule of a training; the defaults are the paper's.

    Attributes:
        epochs: Passes over the training scans.
        batch: Scans a step.
        learning_rate: At the start; it falls to 0 along half a cosine, step by step.
        seed: Of weights, order and augmentation. On the CPU of one machine, with the same number
            of threads, the same seed gives the same weights.
        augmentation: Of the training scans.
    """

    epochs: int = 100
    batch: int = 4
    learning_rate: float = 1e-3
    seed: int = 0
    augmentation: Augmentation = field(default_factory=Augmentation)


@dataclass(frozen=True)
class Epoch:
    """The result of one epoch: a line of history.csv.

    Attributes:
        epoch: From 1 on.
        loss: Mean over the training scans.
        accuracy: On the augmented training scans, before each update.
        held_out_accuracy: On the held-out scans; NaN if there are none.
        learning_rate: At the end of the epoch.
        seconds: Duration.
    """

    epoch: int
    loss: float
    accuracy: float
    held_out_accuracy: float
    learning_rate: float
    seconds: float


def fit(
    network: Network,
    train: Sequence[Example],
    held_out: Sequence[Example],
    schedule: Schedule,
    run: Path,
    *,
    device: str = "cpu",
    report: Callable[[Epoch], None] = lambda epoch: None,
) -> DARNet:
    """Train; continue after the last finished epoch of an interrupted run.

    The weights after the last epoch are the result: choosing the best epoch on the held-out
    scans would make their accuracy look better than it is.

    Args:
        network: Its shape.
        train: Training scans.
        held_out: Scans that are only measured.
        schedule: How to train.
        run: Folder for `state.pt` and `history.csv`.
        device: "cpu" or "cuda".
        report: Called after each epoch, and first for those of the interrupted run.

    Returns:
        The network in evaluation mode, on the CPU.

    Raises:
        UsageError: `run` holds the state of another run, or there are too few scans.
        OutputError: `run` cannot be written.
    """
    if len(train) < schedule.batch:
        raise UsageError(f"{len(train)} training scans are fewer than a batch of {schedule.batch}")
    torch.manual_seed(schedule.seed)
    # Channels last is the faster order of Conv3d on the CPU: 1.1 to 1.5 times here.
    model = DARNet(network, fused=True).to(device)
    model.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    optimizer = torch.optim.Adam(model.parameters(), schedule.learning_rate)
    steps = schedule.epochs * (len(train) // schedule.batch)
    annealing = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    identity = _identity(network, train, held_out, schedule)
    state: dict[str, Any] = {"identity": identity, "history": []}
    if (run / STATE).exists():
        state = read_tensors(run / STATE)
        if state.get("identity") != identity:
            raise UsageError(
                "holds an unfinished run with other scans or options",
                where=run,
                do="give the same options to finish it, or choose another folder",
            )
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        annealing.load_state_dict(state["annealing"])
    history = [Epoch(**row) for row in state["history"]]
    for past in history:
        report(past)
    for number in range(len(history) + 1, schedule.epochs + 1):
        started = time.perf_counter()
        loss, accuracy = _epoch(model, train, schedule, number, optimizer, annealing, device)
        logits = predict(model, held_out, device).logits
        labels = np.array([e.label for e in held_out])
        correct = float((logits.argmax(1) == labels).mean()) if len(labels) else float("nan")
        history.append(
            Epoch(
                number,
                loss,
                accuracy,
                correct,
                float(annealing.get_last_lr()[0]),
                time.perf_counter() - started,
            )
        )
        state = {
            "identity": identity,
            "history": [asdict(row) for row in history],
            "model": model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "annealing": annealing.state_dict(),
        }
        write_tensors(state, run / STATE)
        _write_history(history, run / HISTORY)
        report(history[-1])
    model.cpu().eval()
    return model


def _epoch(
    model: DARNet,
    train: Sequence[Example],
    schedule: Schedule,
    number: int,
    optimizer: torch.optim.Optimizer,
    annealing: torch.optim.lr_scheduler.LRScheduler,
    device: str,
) -> tuple[float, float]:
    """Train one epoch; return its mean loss and accuracy. Only seed and number decide its order."""
    model.train()
    order = np.random.default_rng((schedule.seed, number)).permutation(len(train))
    generator = torch.Generator().manual_seed(schedule.seed * 100_003 + number)
    total, correct, shown = 0.0, 0, len(train) // schedule.batch * schedule.batch
    # Scans left over from the last full batch are skipped in this epoch, in another order others
    # are: batch normalization over a single volume would be useless.
    for first in range(0, shown, schedule.batch):
        x, y = batch_of([train[i] for i in order[first : first + schedule.batch]], device)
        x = augment(x, schedule.augmentation, generator)
        logits = model(x.contiguous(memory_format=torch.channels_last_3d))[0]
        loss = functional.cross_entropy(logits, y)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        annealing.step()
        total += loss.item() * schedule.batch
        correct += int((logits.argmax(1) == y).sum())
    return total / shown, correct / shown


def _identity(
    network: Network, train: Sequence[Example], held_out: Sequence[Example], schedule: Schedule
) -> str:
    """Hash everything that decides the result: only the same run may be continued."""
    files = [[(e.file.name, e.label) for e in side] for side in (train, held_out)]
    text = repr((network.model_dump_json(), files, schedule))
    return hashlib.sha256(text.encode()).hexdigest()


def _write_history(history: list[Epoch], path: Path) -> None:
    with whole_file(path) as file, io.TextIOWrapper(file, "utf-8", newline="") as text:
        table = csv.DictWriter(text, list(asdict(history[0])))
        table.writeheader()
        table.writerows({k: round(v, 6) for k, v in asdict(epoch).items()} for epoch in history)
