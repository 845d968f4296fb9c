"""The training loop: Adam, cross-entropy, cosine annealing, batches of 4 (the paper's 4.2)."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from darnet_trt.errors import TrainingError
from darnet_trt.training.fitting.arithmetic import (
    autocast,
    gradient_scaler,
    recompute_blocks,
    train_mode,
)
from darnet_trt.training.fitting.batches import Batch, batches
from darnet_trt.training.fitting.configuration import configured, of_scans
from darnet_trt.training.fitting.history import HISTORY, Epoch, Step, show_on_board, write_history
from darnet_trt.training.fitting.processes import ALONE, Processes, averaged_once
from darnet_trt.training.fitting.state import StateFile
from darnet_trt.training.fitting.training import Training
from darnet_trt.training.inputs import Example
from darnet_trt.training.model import DARNet, Network
from darnet_trt.training.outputs import predict
from darnet_trt.training.recipe import Recipe


def fit(
    network: Network,
    train: Sequence[Example],
    held_out: Sequence[Example],
    recipe: Recipe,
    run: Path,
    *,
    start: Mapping[str, Tensor] | None = None,
    past: Sequence[Epoch] = (),
    configuration: Mapping[str, Any] | None = None,
    group: Processes = ALONE,
    report: Callable[[Epoch], None] = lambda epoch: None,
    saved: Callable[[Step], None] = lambda step: None,
    tell: Callable[[str], None] = lambda line: None,
) -> DARNet:
    """Train; go on where an interrupted run was.

    The weights after the last epoch are the result, unless the recipe has `best`.

    Args:
        network: Its shape.
        train: Training scans.
        held_out: Scans that are only measured.
        recipe: How to train; it suits the scans, the device and the processes.
        run: Folder for the state and `history.csv`.
        start: Weights to start from; what is absent there is random.
        past: Epochs that `start` has behind it. The learning rate starts anew and falls over
            those that are left.
        configuration: What decides the result, by name: an interrupted run goes on only with the
            same. None: the network, the recipe and the scans.
        group: The processes that train together, and the device of this one.
        report: Called after each epoch, and first for those behind.
        saved: Called when the state is saved inside an epoch, about every minute.
        tell: Called with what a person should know, a line each.

    Returns:
        The network in evaluation mode, on the CPU.

    Raises:
        UsageError: `run` holds the state of another run.
        TrainingError: The numbers ran away, or an input cannot be read.
        OutputError: `run` cannot be written.
    """
    training = _begin(network, len(train), recipe, start or {}, past, group)
    configuration = configuration or configured(network, recipe) | of_scans(train, held_out)
    file = StateFile(run, configuration, writes=group.leads)
    file.load(training, tell)
    for epoch in training.history:
        report(epoch)
    wrapped = group.wrapped(training.model)
    left_s = training.clock()
    while not training.ended:
        began = time.monotonic() - training.seconds
        train_mode(training.model, frozen_normalization=recipe.frozen_normalization)
        for batch in batches(train, recipe, training.epoch, training.done, group):
            _step(training, wrapped, batch, group)
            training.seconds = time.monotonic() - began
            if file.is_due:
                file.save(training)
                saved(training.so_far(left_s()))
        if held_out:
            file.save(training)  # measuring may take longer than a minute
        measured = _measure(training.model, held_out, group)
        training.finish(*measured, seconds=time.monotonic() - began)
        file.save(training)
        if group.leads:
            write_history(training.history, run / HISTORY)
            show_on_board(training.history, run)
        report(training.history[-1])
    return training.result()


def _begin(
    network: Network,
    scans: int,
    recipe: Recipe,
    start: Mapping[str, Tensor],
    past: Sequence[Epoch],
    group: Processes,
) -> Training:
    torch.manual_seed(recipe.seed)
    model = DARNet(network, fused=True)
    model.load_state_dict(start, strict=False)
    group.synchronize(model)
    # Channels last is the faster order of Conv3d on the CPU: 1.1 to 1.5 times here.
    model.to(group.device, memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    if recipe.checkpointing:
        recompute_blocks(model)
    return Training(
        recipe=recipe,
        steps=scans // recipe.batch,
        model=model,
        optimizer=torch.optim.Adam(model.parameters(), recipe.learning_rate),
        scaler=gradient_scaler(recipe.precision, group.device),
        history=[*past],
        before=len(past),
    )


def _step(training: Training, wrapped: nn.Module, batch: Batch, group: Processes) -> None:
    """Train one batch.

    Raises:
        TrainingError: The loss or the weights are no longer finite.
    """
    recipe, optimizer, scaler = training.recipe, training.optimizer, training.scaler
    for some in optimizer.param_groups:
        some["lr"] = training.learning_rate
    optimizer.zero_grad()
    loss, correct = 0.0, 0
    for number, (x, y) in enumerate(batch.parts, start=1):
        with averaged_once(wrapped, last=number == len(batch.parts)):
            with autocast(recipe.precision, group.device):
                logits = wrapped(x)[0].float()
            part = functional.cross_entropy(logits, y)
            scaler.scale(part / len(batch.parts)).backward()  # type: ignore[no-untyped-call]
        loss += part.item() * len(y)
        correct += int((logits.argmax(1) == y).sum())
    scaler.step(optimizer)
    scaler.update()
    loss, correct_of_all = group.sums(loss, correct)
    if not (np.isfinite(loss) and _finite(training.model)):
        raise TrainingError(
            f"the loss or the weights are no longer finite in epoch {training.epoch}, step "
            f"{training.done + 1}, after "
            + ", ".join(str(example.entry.scan) for example in batch.examples),
            do="look at these scans, or train into another folder with a lower --learning-rate "
            "(the last good state is kept)",
        )
    training.loss += loss
    training.correct += int(correct_of_all)
    training.done += 1


def _finite(model: nn.Module) -> bool:
    norms = torch._foreach_norm([*model.parameters()])
    return bool(torch.stack(norms).isfinite().all())


def _measure(model: DARNet, held_out: Sequence[Example], group: Processes) -> tuple[float, float]:
    """Return the mean loss and the accuracy on the held-out scans; NaN if there are none."""
    if not held_out:
        return float("nan"), float("nan")
    mine = predict(model, held_out[group.rank :: group.size], group.device).logits
    logits = torch.from_numpy(np.stack(group.gather([*mine])))
    labels = torch.tensor([example.label for example in held_out])
    loss = functional.cross_entropy(logits, labels)
    return float(loss), float((logits.argmax(1) == labels).float().mean())
