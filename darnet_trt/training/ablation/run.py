"""Train the four networks over the folds and seeds, and write the tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from darnet_trt.machine.files import sole_writer
from darnet_trt.scan.cohorts.folds import Sides, write_folds
from darnet_trt.training.ablation.report import DRAWS, Report, write_report
from darnet_trt.training.ablation.scored import SIDES, Scored, Training, read_scored, write_scored
from darnet_trt.training.ablation.settings import Settings, training_side
from darnet_trt.training.checkpoint import load_checkpoint
from darnet_trt.training.fitting.folder import CHECKPOINT, FOLDS, RUNS
from darnet_trt.training.fitting.history import Epoch, Step
from darnet_trt.training.fitting.state import remove_state
from darnet_trt.training.inputs import Example, Failure, prepare
from darnet_trt.training.outputs import predict
from darnet_trt.training.run import (
    INPUTS,
    among_training,
    identity_of,
    refuse_usable,
    train,
)

PREDICTIONS: Final = "predictions.csv"


@dataclass(frozen=True)
class Progress:
    """How far an ablation has come.

    Attributes:
        done: Trainings finished.
        total: Trainings to finish.
        training: The one at work.
        epoch: The one it finished last.
    """

    done: int
    total: int
    training: Training
    epoch: Epoch


def ablate(
    settings: Settings,
    out: Path,
    *,
    draws: int = DRAWS,
    device: str = "cpu",
    shortcuts: Callable[[], tuple[str, ...]] = lambda: (),
    reading: Callable[[int], AbstractContextManager[Callable[[int], None]]] = (
        lambda scans: nullcontext(lambda count: None)
    ),
    failed: Callable[[Failure], None] = lambda failure: None,
    report: Callable[[Progress], None] = lambda progress: None,
    saved: Callable[[Step], None] = lambda step: None,
    tell: Callable[[str], None] = lambda line: None,
) -> Report:
    """Train each network on each fold from each seed; write predictions, tables and ablation.json.

    Called again with the same settings, it goes on: finished trainings stay, one that was
    interrupted continues.

    Args:
        settings: What to train.
        out: A folder; each training has one in its `runs`.
        draws: Of the bootstrap.
        device: "cpu" or "cuda".
        shortcuts: Called before the scans are read, once the folder and the options are known to
            do; returns the codes of what gives the class away without the lungs, and was allowed.
        reading: Called with the number of scans; returns a context that is open while they are
            preprocessed and gives a function to call with the number done since the last call.
        failed: Called with each scan that cannot be used.
        report: Called after each epoch.
        saved: Called when a training's state is saved inside an epoch.
        tell: Called with what a person should know, a line each.

    Raises:
        UsageError: The cohort or the options cannot work, `out` holds another ablation, or another
            process is writing into it.
        OutputError: `out` cannot be written.
    """
    cohort = settings.cohort
    settings.refuse(device)
    with sole_writer(out):
        settings.refuse_another(out)
        found = shortcuts()
        with reading(len(cohort.entries)) as done:
            examples, failures = prepare(
                cohort.entries,
                settings.preprocessing,
                out / INPUTS,
                classes=cohort.classes,
                done=done,
            )
        for failure in failures:
            failed(failure)
        sides = _usable_sides(settings, examples)
        known = tuple(_known(settings, sides, examples))
        for line in known:
            tell(line)
        settings.write_plan(out)
        write_folds(settings.folds, cohort, out / FOLDS)
        scored: list[Scored] = []
        for number, training in enumerate(settings.trainings):

            def finished(epoch: Epoch, at: int = number, of: Training = training) -> None:
                report(Progress(at, len(settings.trainings), of, epoch))

            run = out / RUNS / training.name
            if not (run / CHECKPOINT).exists():
                train(
                    cohort,
                    run,
                    settings.preset,
                    settings.recipe.model_copy(update={"seed": training.seed}),
                    attention=training.attention,
                    extent=settings.extent,
                    resolution=settings.resolution,
                    sides=sides[training.fold],
                    inputs=out / INPUTS,
                    shortcuts=lambda: found,
                    device=device,
                    report=finished,
                    saved=saved,
                    tell=tell,
                )
            remove_state(run)  # left where the training was killed at its very end
            if not (run / PREDICTIONS).exists():
                answers = _answers(settings, run, training, sides[training.fold], examples, device)
                write_scored(answers, cohort.classes, run / PREDICTIONS)
            scored += read_scored(run / PREDICTIONS, cohort.classes)
        write_scored(scored, cohort.classes, out / PREDICTIONS)
        return write_report(
            settings, scored, failures, out, shortcuts=found, known=known, draws=draws
        )


def _usable_sides(settings: Settings, examples: tuple[Example, ...]) -> list[Sides]:
    """Return the scans that can be used of each fold's sides.

    Raises:
        UsageError: Too few are left to train on.
    """
    example_of = {example.entry: example for example in examples}
    found = []
    for fold in range(len(settings.folds.folds)):
        every = settings.folds.sides(settings.cohort, fold)
        sides = Sides(
            *(
                tuple(entry for entry in part if entry in example_of)
                for part in (every.train, every.held_out, every.test)
            )
        )
        seen, unseen = ([example_of[e] for e in part] for part in (sides.train, sides.held_out))
        side = training_side(fold)
        refuse_usable(settings.cohort, settings.recipe, seen, unseen, side=side)
        found.append(sides)
    return found


def _known(
    settings: Settings, sides: Sequence[Sides], examples: tuple[Example, ...]
) -> Iterator[str]:
    """Say of which folds some scans are among those that train, for all that the table says."""
    who = {example.entry: identity_of(settings.cohort, example) for example in examples}
    for fold, of in enumerate(sides):
        seen = [who[entry] for entry in of.train]
        for side, entries in zip(SIDES, (of.test, of.held_out), strict=True):
            for line in among_training(seen, [who[entry] for entry in entries], side):
                yield f"fold {fold}: {line}"


def _answers(
    settings: Settings,
    run: Path,
    training: Training,
    sides: Sides,
    examples: tuple[Example, ...],
    device: str,
) -> list[Scored]:
    """Return what a trained network says of the scans that it has not seen."""
    checkpoint = load_checkpoint(run)
    model = checkpoint.model().to(device)
    example_of = {example.entry: example for example in examples}
    found = []
    for side, entries in zip(SIDES, (sides.test, sides.held_out), strict=True):
        if entries:
            chosen = [example_of[entry] for entry in entries]
            found.append(
                Scored(
                    training,
                    side,
                    tuple(settings.cohort.name(entry) for entry in entries),
                    tuple(entry.patient for entry in entries),
                    np.array([example.label for example in chosen], np.int64),
                    predict(model, chosen, device).logits,
                    checkpoint.temperature,
                )
            )
    return found
