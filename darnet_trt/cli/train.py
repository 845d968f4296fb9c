"""`darnet-trt train`: from a labelled cohort to a checkpoint."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from darnet_trt.cli import printing
from darnet_trt.cli import train_options as options
from darnet_trt.cli.device import device_for, use_torch
from darnet_trt.cli.held_out import measures
from darnet_trt.cli.printing import print_line, print_table, say, warn
from darnet_trt.cli.progress import duration, progress, resumable
from darnet_trt.errors import UsageError, counted

if TYPE_CHECKING:
    from darnet_trt.scan.cohorts import Cohort, Sides
    from darnet_trt.training.checkpoint import Checkpoint
    from darnet_trt.training.fitting.history import Epoch, Step
    from darnet_trt.training.inputs import Failure
    from darnet_trt.training.recipe import Recipe


def train(
    cohort: Annotated[
        Path,
        typer.Argument(
            help="cohort.csv (columns scan, patient, label), or the folder that holds it; or the "
            "folders of CC-CCII, or a file that divides them (docs/cohorts.md). A scan is a file, "
            "folder or zip archive with one study, as inspect reads it."
        ),
    ],
    run: Annotated[
        Path, typer.Option("--out", "-o", help="Folder to write: checkpoint, metrics, split.")
    ],
    classes: options.Classes = None,
    held_out: options.HeldOut = 0.2,
    folds: options.FoldsFile = None,
    fold: options.Fold = None,
    allow_shortcut: options.AllowShortcut = False,
    preset: options.Preset = "small",
    attention: options.Attention = "both",
    extent: options.Extent = "lungs",
    resolution: options.Resolution = "full",
    start: options.From = None,
    new_head: options.NewHead = False,
    epochs: options.Epochs = None,
    batch: options.Batch = 4,
    learning_rate: options.LearningRate = 1e-3,
    seed: options.Seed = 0,
    frozen_normalization: options.FrozenNormalization = False,
    patience: options.Patience = None,
    best: options.Best = False,
    augment: options.Augment = True,
    flip: options.Flip = 0.5,
    rotation: options.Rotation = 8.0,
    translation: options.Translation = 0.05,
    scaling: options.Scaling = 0.08,
    device: options.Device = "auto",
    threads: options.Threads = None,
    precision: options.Precision = "fp32",
    accumulate: options.Accumulate = 1,
    checkpointing: options.Checkpointing = False,
    loading: options.Loading = 2,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print metrics.json instead of the table.")
    ] = False,
) -> None:
    """Train the network on a labelled cohort.

    Writes checkpoint.pt, history.csv, held-out.csv, split.csv and metrics.json into the run's
    folder. Run the same command again to continue an interrupted run; at most two minutes of work
    are lost. The result is the network after the last epoch; the held-out patients only measure it.
    The checkpoint keeps hashes of the training patients and scans, so that these do not judge int8.
    Exit code 1: trained, but some scans could not be used.
    """
    from darnet_trt.cli.labelled import given_cohort, print_notes
    from darnet_trt.cli.output_folder import refuse_all_but

    refuse_all_but("run", run)
    if new_head and start is None:
        raise UsageError("needs --from", where="--new-head")
    # before torch, which takes seconds to import
    labelled = given_cohort(cohort, classes)
    if os.environ.get("RANK", "0") == "0":  # the first process of torchrun, or the only one
        print_notes(labelled)
    sides = _sides(labelled, folds, fold)
    use_torch(threads)
    from darnet_trt.training.checking.shortcuts import shortcuts
    from darnet_trt.training.checkpoint import load_checkpoint
    from darnet_trt.training.fitting.processes import joined
    from darnet_trt.training.fitting.records import METRICS
    from darnet_trt.training.presets import PRESETS
    from darnet_trt.training.recipe import NO_AUGMENTATION, Augmentation, Recipe
    from darnet_trt.training.run import train as train_run

    size = PRESETS[preset]
    with options.named():
        movement = Augmentation(
            flip=flip, rotation_deg=rotation, translation=translation, scaling=scaling
        )
        recipe = Recipe(
            epochs=epochs or size.epochs,
            batch=batch,
            learning_rate=learning_rate,
            seed=seed,
            augmentation=movement if augment else NO_AUGMENTATION,
            precision=precision,
            accumulate=accumulate,
            checkpointing=checkpointing,
            loading=loading,
            frozen_normalization=frozen_normalization,
            patience=patience,
            best=best,
        )
    with joined(device_for(device)) as group, resumable():
        printing.quiet |= not group.leads
        telling = _Telling(recipe)
        checkpoint = train_run(
            labelled,
            run,
            size,
            recipe,
            attention=attention,
            extent=extent,
            resolution=resolution,
            held_out=held_out,
            sides=sides,
            start=None if start is None else load_checkpoint(start),
            new_head=new_head,
            shortcuts=lambda: shortcuts(
                labelled, allow=allow_shortcut, reading=partial(progress, "checking scans")
            ),
            group=group,
            reading=telling.reading,
            failed=telling.failed,
            report=telling.finished,
            saved=telling.saved,
            known=warn,
            tell=warn if group.leads else (lambda line: None),
        )
        leads = group.leads
    if not leads:
        return
    if as_json:
        typer.echo((run / METRICS).read_text().rstrip())
    else:
        _show(run, checkpoint)
    if telling.failures:
        raise typer.Exit(1)


def _sides(cohort: Cohort, folds: Path | None, fold: int | None) -> Sides | None:
    """Return the sides of a fold, of the file or of the cohort's table; None without one."""
    from darnet_trt.cli.labelled import folds_of

    if fold is not None:
        return folds_of(cohort, folds).sides(cohort, fold)
    if folds is not None:
        raise UsageError(
            "needs --fold", where="--folds", do="say which fold to hold out, such as --fold 0"
        )
    return None


class _Telling:
    """Say on stderr how far a training has come.

    Attributes:
        failures: Scans that could not be used.
    """

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self._seconds: list[float] = []
        self.failures: list[Failure] = []

    @contextmanager
    def reading(self, training: int, kept: int) -> Iterator[Callable[[int], None]]:
        say(f"{counted(training, 'scan')} to train on, {kept} held out")
        with progress("reading scans", training + kept) as advance:
            yield advance

    def failed(self, failure: Failure) -> None:
        self.failures.append(failure)
        warn(f"left out: {failure.reason}")

    def finished(self, epoch: Epoch) -> None:
        self._seconds.append(epoch.seconds)
        each = sum(self._seconds) / len(self._seconds)
        left = duration(each * (self._recipe.epochs - epoch.epoch))
        held_out = ""
        if not math.isnan(epoch.held_out_accuracy):
            held_out = (
                f"  held-out loss {epoch.held_out_loss:.3f}, accuracy {epoch.held_out_accuracy:.3f}"
            )
        say(
            f"epoch {epoch.epoch}/{self._recipe.epochs}  loss {epoch.loss:.3f}  "
            f"accuracy {epoch.accuracy:.3f}{held_out}  learning rate {epoch.learning_rate:.1e}  "
            f"{epoch.seconds:.1f} s, {left} left"
        )

    def saved(self, step: Step) -> None:
        say(
            f"epoch {step.epoch}/{self._recipe.epochs}, step {step.step}/{step.steps}  "
            f"loss {step.loss:.3f}  learning rate {step.learning_rate:.1e}  "
            f"{duration(step.seconds_left)} left"
        )


def _show(run: Path, checkpoint: Checkpoint) -> None:
    """Print what was measured on the held-out scans, and where the run is."""
    found = checkpoint.validation
    if not found:
        print_line("no scan was held out, so nothing was measured")
    else:
        rows = (
            [name, *(f"{found[f'{count}_{name}']:.0f}" for count in ("scans", "correct"))]
            for name in checkpoint.network.classes
        )
        print_table(("held-out scans", "scans", "correct"), rows)
        for line in measures(found, checkpoint.network.classes):
            print_line(line)
    print_line(f"trained on {checkpoint.training}")
    print_line(f"the run is in {run}")
