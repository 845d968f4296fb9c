"""A training in memory: what trains, and how far it has come."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from darnet_trt.training.fitting.history import Epoch, Step
from darnet_trt.training.model import DARNet
from darnet_trt.training.recipe import Recipe


@dataclass
class Training:
    """A training and how far it has come.

    Attributes:
        recipe: How it trains.
        steps: Of an epoch.
        model: The network.
        optimizer: Of its weights.
        scaler: Of its gradients.
        history: The finished epochs.
        before: How many of these another training did, which this one goes on from.
        done: Steps done in the next epoch.
        loss: Sum of the losses of its scans.
        correct: Of these scans.
        seconds: That they took.
        best: The weights of the epoch with the lowest held-out loss, where the recipe asks.
    """

    recipe: Recipe
    steps: int
    model: DARNet
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    history: list[Epoch]
    before: int
    done: int = 0
    loss: float = 0.0
    correct: int = 0
    seconds: float = 0.0
    best: dict[str, Tensor] = field(default_factory=dict)

    @property
    def epoch(self) -> int:
        """The number of the epoch that is under way, from 1."""
        return len(self.history) + 1

    @property
    def step(self) -> int:
        """Steps done in all."""
        return (len(self.history) - self.before) * self.steps + self.done

    @property
    def total(self) -> int:
        """Steps to do in all."""
        return (self.recipe.epochs - self.before) * self.steps

    @property
    def learning_rate(self) -> float:
        """Return that of the next step."""
        return self._rate(self.step)

    def _rate(self, step: int) -> float:
        """Return the learning rate with which a step is taken: half a cosine over all steps."""
        return self.recipe.learning_rate * (1 + math.cos(math.pi * step / self.total)) / 2

    @property
    def ended(self) -> bool:
        """Whether all epochs are done, or the held-out loss fell no more."""
        return _ends(self.recipe, self.recipe.epochs, self.history, self.before)

    def clock(self) -> Callable[[], float]:
        """Start a clock; it gives the seconds left, as fast as since its start."""
        first, started = self.step, time.monotonic()

        def left_s() -> float:
            each = (time.monotonic() - started) / (self.step - first)
            return each * (self.total - self.step)

        return left_s

    def so_far(self, seconds_left: float) -> Step:
        """Return how far the epoch has come."""
        loss = self.loss / (self.done * self.recipe.batch)
        rate = self._rate(self.step - 1)
        return Step(self.epoch, self.done, self.steps, loss, rate, seconds_left)

    def finish(self, held_out_loss: float, held_out_accuracy: float, seconds: float) -> None:
        """End the epoch."""
        scans = self.done * self.recipe.batch
        loss, accuracy = self.loss / scans, self.correct / scans
        rate = self._rate(self.step - self.done)
        epoch = Epoch(self.epoch, loss, accuracy, held_out_loss, held_out_accuracy, rate, seconds)
        self.history.append(epoch)
        self.done, self.loss, self.correct, self.seconds = 0, 0.0, 0, 0.0
        if self.recipe.best and _best(self.history[self.before :]) == epoch:
            self.best = {k: v.clone() for k, v in self.model.state_dict().items()}

    def result(self) -> DARNet:
        """Return the network in evaluation mode, on the CPU."""
        if self.best:
            self.model.load_state_dict(self.best)
        return self.model.cpu().eval()

    def content(self) -> dict[str, Any]:
        """Return what a state file keeps."""
        return {
            "history": [asdict(epoch) for epoch in self.history],
            "before": self.before,
            "done": self.done,
            "loss": self.loss,
            "correct": self.correct,
            "seconds": self.seconds,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "best": self.best,
        }

    def load(self, content: Mapping[str, Any]) -> None:
        """Go on from what a state file kept."""
        self.history = _history(content)
        self.before, self.done = content["before"], content["done"]
        self.loss, self.correct = content["loss"], content["correct"]
        self.seconds = content["seconds"]
        self.model.load_state_dict(content["model"])
        self.optimizer.load_state_dict(content["optimizer"])
        self.scaler.load_state_dict(content["scaler"])
        self.best = content["best"]

    def follow(self, content: Mapping[str, Any]) -> None:
        """Begin after the end of the training that a state file is of."""
        self.history = _history(content)
        self.before = len(self.history)
        self.model.load_state_dict(content["best"] or content["model"])


def may_follow(recipe: Recipe, content: Mapping[str, Any], epochs: int) -> bool:
    """Return whether a state file is of a training of fewer epochs that was at its end.

    Args:
        recipe: Of the training that would follow.
        content: Of the file.
        epochs: Of that training.
    """
    return epochs < recipe.epochs and _ends(recipe, epochs, _history(content), content["before"])


def _ends(recipe: Recipe, epochs: int, history: list[Epoch], before: int) -> bool:
    if recipe.patience and history[before:]:
        epochs = min(epochs, _best(history[before:]).epoch + recipe.patience)
    return len(history) >= epochs


def _history(content: Mapping[str, Any]) -> list[Epoch]:
    return [Epoch(**row) for row in content["history"]]


def _best(history: list[Epoch]) -> Epoch:
    """Return the first epoch with the lowest loss on the held-out scans."""
    return min(history, key=lambda epoch: epoch.held_out_loss)
