"""`darnet-trt ablation`: the paper's four networks over folds and seeds, and its Tables 2 and 3."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from darnet_trt.cli import train_options as options
from darnet_trt.cli.device import device_for, use_torch
from darnet_trt.cli.printing import print_line, print_table, say, warn
from darnet_trt.cli.progress import duration, progress, resumable
from darnet_trt.errors import counted

if TYPE_CHECKING:
    from darnet_trt.scan.cohorts import Cohort, Folds
    from darnet_trt.training.ablation.run import Progress
    from darnet_trt.training.fitting.history import Step


def ablation(
    cohort: Annotated[
        Path, typer.Argument(help="The labelled cohort, in any form that train reads.")
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder to write: the runs and the tables.")
    ],
    classes: options.Classes = None,
    allow_shortcut: options.AllowShortcut = False,
    folds: Annotated[
        str | None,
        typer.Option(
            metavar="N|FILE",
            help="How many folds to divide the patients into, or a file that cohort folds wrote. "
            "[default: the folds that the cohort names, else 5]",
        ),
    ] = None,
    test: Annotated[
        float,
        typer.Option(
            metavar="SHARE",
            help="Share of each class's patients to keep apart for the test, where neither the "
            "cohort nor a file of folds names them. 0: each network is measured only on the fold "
            "that it did not see.",
        ),
    ] = 0.0,
    seeds: Annotated[
        int,
        typer.Option(
            min=1,
            help="Trainings of each network on each fold, from --seed on. A winner is named from "
            "two seeds on. A finished ablation can be given more, and keeps those it has.",
        ),
    ] = 1,
    preset: options.Preset = "small",
    extent: options.Extent = "lungs",
    resolution: options.Resolution = "full",
    epochs: options.Epochs = None,
    batch: options.Batch = 4,
    learning_rate: options.LearningRate = 1e-3,
    seed: Annotated[
        int,
        typer.Option(
            min=0, help="First seed of weights, order and augmentation; the seed of the folds."
        ),
    ] = 0,
    augment: options.Augment = True,
    device: options.Device = "auto",
    threads: options.Threads = None,
    precision: options.Precision = "fp32",
    accumulate: options.Accumulate = 1,
    checkpointing: options.Checkpointing = False,
    loading: options.Loading = 2,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print ablation.json instead of the tables.")
    ] = False,
) -> None:
    """Train the paper's four networks over the folds, and print its Tables 2 and 3.

    The networks: without attention (none), with channel attention, with depth attention, with
    both. Writes runs/, predictions.csv (every network's answer for every scan that it did not see),
    tables.md, tables.csv and ablation.json. Run the same command again to continue after an
    interruption at any moment. The networks are compared in pairs on the same scans; a winner is
    named where the interval over patients and seeds, corrected for the six pairs, leaves zero out.
    Exit code 1: done, but some scans could not be used.
    """
    from darnet_trt.cli.labelled import given_cohort, print_notes
    from darnet_trt.cli.output_folder import refuse_all_but

    refuse_all_but("ablation", out)
    read = given_cohort(cohort, classes)
    print_notes(read)
    divided = _divided(read, folds, test, seed)
    use_torch(threads)
    from darnet_trt.training.ablation.report import FILE_NAME
    from darnet_trt.training.ablation.run import ablate
    from darnet_trt.training.ablation.settings import Settings
    from darnet_trt.training.checking.shortcuts import shortcuts
    from darnet_trt.training.presets import PRESETS
    from darnet_trt.training.recipe import NO_AUGMENTATION, Augmentation, Recipe

    size = PRESETS[preset]
    with options.named():
        recipe = Recipe(
            epochs=epochs or size.epochs,
            batch=batch,
            learning_rate=learning_rate,
            seed=seed,
            augmentation=Augmentation() if augment else NO_AUGMENTATION,
            precision=precision,
            accumulate=accumulate,
            checkpointing=checkpointing,
            loading=loading,
        )
    clock = _Clock(recipe.epochs)

    @contextmanager
    def reading(scans: int) -> Iterator[Callable[[int], None]]:
        trainings = counted(len(settings.trainings), "training")
        say(f"{counted(scans, 'scan')}, {trainings} of {counted(recipe.epochs, 'epoch')}")
        with progress("reading scans", scans) as advance:
            yield advance

    settings = Settings(read, divided, size, recipe, seeds, extent, resolution)
    with resumable():
        report = ablate(
            settings,
            out,
            device=device_for(device),
            shortcuts=lambda: shortcuts(
                read, allow=allow_shortcut, reading=partial(progress, "checking scans")
            ),
            reading=reading,
            failed=lambda failure: warn(f"left out: {failure.reason}"),
            report=clock,
            saved=clock.saved,
            tell=warn,
        )
    if as_json:
        typer.echo((out / FILE_NAME).read_text().rstrip())
    else:
        for line in report.about:
            print_line(line)
        for table in report.tables:
            print_line()
            print_line(table.title)
            print_table(table.titles, table.rows)
            for note in table.notes:
                print_line(note)
        print_line()
        print_line(f"the tables, the predictions and the runs are in {out}")
    if report.failures:
        raise typer.Exit(1)


def _divided(cohort: Cohort, folds: str | None, test: float, seed: int) -> Folds:
    """Return the folds of a file, or those that the cohort names, or new ones."""
    from darnet_trt.scan.cohorts import make_folds, named_folds, read_folds

    if folds is None and (named := named_folds(cohort)):
        return named
    if folds is not None and not folds.isdecimal():
        return read_folds(Path(folds), cohort)
    kept = frozenset(entry.patient for entry in cohort.entries if entry.side == "test")
    return make_folds(cohort, int(folds or 5), kept or test, seed)


class _Clock:
    """Say after each epoch how far the ablation has come, and how long it will take.

    Args:
        epochs: Of each training.
    """

    def __init__(self, epochs: int) -> None:
        self._epochs = epochs
        self._seconds: list[float] = []

    def __call__(self, at: Progress) -> None:
        """Print a line."""
        self._seconds.append(at.epoch.seconds)
        to_come = (at.total - at.done) * self._epochs - at.epoch.epoch
        left = sum(self._seconds) / len(self._seconds) * to_come
        training = at.training
        say(
            f"training {at.done + 1}/{at.total} ({training.attention}, fold {training.fold}, seed "
            f"{training.seed})  epoch {at.epoch.epoch}/{self._epochs}  loss {at.epoch.loss:.3f}  "
            f"{duration(left)} left"
        )

    def saved(self, step: Step) -> None:
        """Print a line about a long epoch."""
        at = f"epoch {step.epoch}/{self._epochs}, step {step.step}/{step.steps}"
        say(f"{at}  loss {step.loss:.3f}")
