"""What a training tells of itself while it runs: in a CSV, to TensorBoard, to a callback."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from importlib.util import find_spec
from pathlib import Path

from darnet_trt.errors import CheckpointError
from darnet_trt.machine.files import whole_text

HISTORY = "history.csv"
BOARD = "tensorboard"


@dataclass(frozen=True)
class Epoch:
    """The result of one epoch: a line of history.csv.

    Attributes:
        epoch: From 1 on.
        loss: Mean over the training scans.
        accuracy: On the augmented training scans, before each update.
        held_out_loss: Cross-entropy on the held-out scans; NaN if there are none.
        held_out_accuracy: Likewise.
        learning_rate: Of the epoch's first step; it falls step by step to that of the next epoch.
        seconds: Duration.
    """

    epoch: int
    loss: float
    accuracy: float
    held_out_loss: float
    held_out_accuracy: float
    learning_rate: float
    seconds: float


@dataclass(frozen=True)
class Step:
    """How far an epoch has come.

    Attributes:
        epoch: From 1 on.
        step: Steps done in it.
        steps: Of them in all.
        loss: Mean over the scans of this epoch so far.
        learning_rate: Of the last step.
        seconds_left: Until the last epoch ends, as fast as until now.
    """

    epoch: int
    step: int
    steps: int
    loss: float
    learning_rate: float
    seconds_left: float


def write_history(history: Sequence[Epoch], path: Path) -> None:
    """Write one line an epoch.

    Raises:
        OutputError: It cannot be written.
    """
    with whole_text(path) as text:
        table = csv.DictWriter(text, [field.name for field in fields(Epoch)])
        table.writeheader()
        for epoch in history:  # six digits: a small learning rate stays one
            table.writerow({k: f"{v:.6g}" for k, v in asdict(epoch).items()})


def read_history(path: Path) -> list[Epoch]:
    """Read what `write_history` wrote; a column that an older version did not write is NaN.

    Raises:
        CheckpointError: Absent or damaged.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return [
                Epoch(
                    int(row["epoch"]),
                    *(float(row.get(field.name, math.nan)) for field in fields(Epoch)[1:]),
                )
                for row in csv.DictReader(file)
            ]
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise CheckpointError(
            "the run's history cannot be read", where=path, do="train into another folder"
        ) from error


def show_on_board(history: Sequence[Epoch], run: Path) -> None:
    """Write `run/tensorboard` anew, where the package tensorboard is installed."""
    if find_spec("tensorboard") is None:
        return
    from torch.utils.tensorboard import SummaryWriter

    for old in (run / BOARD).glob("events.*"):
        old.unlink()
    with SummaryWriter(run / BOARD) as board:
        for epoch in history:
            for name, value in asdict(epoch).items():
                if name != "epoch":
                    board.add_scalar(name, value, epoch.epoch)
