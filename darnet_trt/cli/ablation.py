"""`darnet-trt ablation`: the paper's four networks over folds and seeds, and its Tables 2 and 3."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from darnet_trt.cli.device import Device, device_for
from darnet_trt.cli.printing import print_line, print_table, say, warn
from darnet_trt.cli.progress import progress, resumable

if TYPE_CHECKING:
    from darnet_trt.scan.cohorts import Cohort, Folds
    from darnet_trt.training.ablation.run import Progress
    from darnet_trt.training.inputs import Failure


def ablation(
    cohort: Annotated[
        Path, typer.Argument(help="The labelled cohort, as `darnet-trt train` reads it.")
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder to write: the runs and the tables.")
    ],
    folds: Annotated[
        str | None,
        typer.Option(
            metavar="N|FILE",
            help="How many folds to divide the patients into, or a file of "
            "`darnet-trt cohort folds`. [default: the folds that the cohort names, else 5]",
        ),
    ] = None,
    test: Annotated[
        float,
        typer.Option(
            metavar="SHARE",
            help="Share of the patients to keep apart for the test, where neither the cohort nor a "
            "file of folds names them. 0: every network is measured on the fold that it did not "
            "see.",
        ),
    ] = 0.0,
    seeds: Annotated[
        int,
        typer.Option(
            min=1,
            help="Trainings of each network on each fold, from --seed on. A winner is named from "
            "two seeds on. A finished ablation can be given more.",
        ),
    ] = 1,
    preset: Annotated[
        Literal["small", "paper"], typer.Option(help="Size of the networks, as in train.")
    ] = "small",
    extent: Annotated[
        Literal["lungs", "scan"],
        typer.Option(help="What the networks see along the body, as in train."),
    ] = "lungs",
    resolution: Annotated[
        Literal["full", "half"],
        typer.Option(help="Resolution of the slices that the input is made from, as in train."),
    ] = "full",
    epochs: Annotated[
        int | None,
        typer.Option(min=1, help="Passes over the training scans. [default: the preset's]"),
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="Scans a step.")] = 4,
    learning_rate: Annotated[
        float, typer.Option(help="At the start; it falls to 0 along half a cosine.")
    ] = 1e-3,
    seed: Annotated[
        int,
        typer.Option(
            min=0, help="First seed of weights, order and augmentation; the seed of the folds."
        ),
    ] = 0,
    augment: Annotated[
        bool, typer.Option(help="Flip, rotate, shift and scale training scans at random.")
    ] = True,
    precision: Annotated[
        Literal["fp32", "bf16", "fp16"],
        typer.Option(help="bf16, fp16: automatic mixed precision. The weights stay float32."),
    ] = "fp32",
    classes: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,…",
            help="The cohort's classes; the first is the positive one. [default: the cohort's own, "
            "else the paper's]",
        ),
    ] = None,
    allow_shortcut: Annotated[
        bool,
        typer.Option(
            "--allow-shortcut",
            help="Train although the cohort gives the class away without the lungs; the "
            "checkpoints and the tables say so.",
        ),
    ] = False,
    device: Annotated[
        Device,
        typer.Option(help="auto: cuda if torch finds a CUDA device, else cpu."),
    ] = "auto",
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU threads. [default: torch's choice]")
    ] = None,
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
    from darnet_trt.cli.output_folder import refuse_bundle_or_cohort
    from darnet_trt.scan.cohorts import parse_classes, read_cohort

    refuse_bundle_or_cohort(out)
    read = read_cohort(cohort, parse_classes(classes) if classes else None)
    divided = _divided(read, folds, test, seed)
    from darnet_trt.machine.cpus import share_cpus
    from darnet_trt.machine.hardware import require_packages

    share_cpus()
    require_packages("torch", extra="train")
    import torch

    from darnet_trt.training.ablation.report import FILE_NAME
    from darnet_trt.training.ablation.run import ablate
    from darnet_trt.training.ablation.settings import Settings
    from darnet_trt.training.presets import PRESETS
    from darnet_trt.training.recipe import NO_AUGMENTATION, Augmentation, Recipe

    size = PRESETS[preset]
    if threads:
        torch.set_num_threads(threads)
    recipe = Recipe(
        epochs=epochs or size.epochs,
        batch=batch,
        learning_rate=learning_rate,
        seed=seed,
        augmentation=Augmentation() if augment else NO_AUGMENTATION,
        precision=precision,
    )
    settings = Settings(read, divided, size, recipe, seeds, extent, resolution)

    @contextmanager
    def reading(scans: int) -> Iterator[Callable[[int], None]]:
        say(f"{scans} scans, {len(settings.trainings)} trainings of {recipe.epochs} epochs")
        with progress("reading scans", scans) as advance:
            yield advance

    def failed(failure: Failure) -> None:
        warn(f"left out: {failure.reason}")

    with resumable():
        report = ablate(
            settings,
            out,
            device=device_for(device),
            reading=reading,
            failed=failed,
            report=_Clock(recipe.epochs),
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
    from darnet_trt.scan.cohorts import make_folds, read_folds

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
            f"{_minutes(left)} left"
        )


def _minutes(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"
