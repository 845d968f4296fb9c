"""`darnet-trt train`: from a labelled cohort to a checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from darnet_trt.cli.printing import say, warn
from darnet_trt.cli.progress import progress, resumable
from darnet_trt.errors import MissingPackageError, UsageError

if TYPE_CHECKING:
    from darnet_trt.training.fit import Epoch
    from darnet_trt.training.inputs import Failure

__all__ = ["train"]


def train(
    cohort: Annotated[
        Path, typer.Argument(help="cohort.csv (scan,patient,label), or the folder that holds it.")
    ],
    run: Annotated[Path, typer.Option("--out", "-o", help="The run's folder.")],
    preset: Annotated[
        Literal["small", "paper"],
        typer.Option(help="small: minutes on a CPU; paper: 64×224×224, 35 M parameters."),
    ] = "small",
    attention: Annotated[
        Literal["none", "channel", "depth", "both"],
        typer.Option(help="The paper's ablation; both is its network."),
    ] = "both",
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Passes over the cohort.  [default: the preset's]")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of split, weights and order.")] = 0,
    held_out: Annotated[
        float, typer.Option(help="Share of the patients to keep aside and to measure on.")
    ] = 0.2,
    augment: Annotated[
        bool, typer.Option(help="Flip, rotate, move and scale training scans.")
    ] = True,
    device: Annotated[
        Literal["auto", "cpu", "cuda"], typer.Option(help="auto: cuda where torch finds it.")
    ] = "auto",
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU threads.  [default: torch's choice]")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the metrics as JSON.")] = False,
) -> None:
    """Train the network on a labelled cohort.

    The run's folder gets checkpoint.pt, history.csv, split.csv and metrics.json. An interrupted
    run goes on from its last epoch when the same command is given again. The result is the
    network after the last epoch; the held-out patients choose nothing. Exit code 1: trained,
    but some scans could not be used.
    """
    import json

    from darnet_trt.machine.cpus import share_cpus

    share_cpus()
    try:
        import torch
    except ModuleNotFoundError as error:
        raise MissingPackageError("torch", extra="train") from error
    from darnet_trt.scan.cohort import read_cohort
    from darnet_trt.training.augmentation import NO_AUGMENTATION, Augmentation
    from darnet_trt.training.fit import Schedule
    from darnet_trt.training.presets import PRESETS
    from darnet_trt.training.run import METRICS, Listener
    from darnet_trt.training.run import train as train_run

    size = PRESETS[preset]
    if threads:
        torch.set_num_threads(threads)
    schedule = Schedule(
        epochs=epochs or size.epochs,
        seed=seed,
        augmentation=Augmentation() if augment else NO_AUGMENTATION,
    )
    failures: list[Failure] = []

    @contextmanager
    def reading(training: int, kept: int) -> Iterator[Callable[[int], None]]:
        say(f"{training} scans to train on, {kept} held out")
        with progress("reading scans", training + kept) as advance:
            yield advance

    def failed(failure: Failure) -> None:
        failures.append(failure)
        warn(f"left out: {failure.reason}")

    with resumable():
        checkpoint = train_run(
            read_cohort(cohort),
            run,
            size,
            schedule,
            attention=attention,
            held_out=held_out,
            device=_device(device),
            listener=Listener(reading=reading, failed=failed, epoch=_EpochLine(schedule.epochs)),
        )
    if as_json:
        typer.echo((run / METRICS).read_text().rstrip())
    else:
        typer.echo(f"{run}: trained on {checkpoint.trained_on}")
        if checkpoint.validation:
            typer.echo("held-out patients: " + json.dumps(checkpoint.validation))
    if failures:
        raise typer.Exit(1)


class _EpochLine:
    """One line an epoch, with the time that is left."""

    def __init__(self, epochs: int) -> None:
        self.epochs = epochs
        self.seconds: list[float] = []

    def __call__(self, epoch: Epoch) -> None:
        self.seconds.append(epoch.seconds)
        left = sum(self.seconds) / len(self.seconds) * (self.epochs - epoch.epoch)
        held_out = (
            ""
            if epoch.held_out_accuracy != epoch.held_out_accuracy  # NaN: none held out
            else f"  held-out accuracy {epoch.held_out_accuracy:.3f}"
        )
        say(
            f"epoch {epoch.epoch}/{self.epochs}  loss {epoch.loss:.3f}  "
            f"accuracy {epoch.accuracy:.3f}{held_out}  {epoch.seconds:.1f} s, {left:.0f} s left"
        )


def _device(asked: Literal["auto", "cpu", "cuda"]) -> str:
    import torch

    available = torch.cuda.is_available()
    if asked == "auto":
        return "cuda" if available else "cpu"
    if asked == "cuda" and not available:
        raise UsageError("torch finds no CUDA device here", do="use --device cpu")
    return asked
