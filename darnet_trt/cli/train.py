"""`darnet-trt train`: from a labelled cohort to a checkpoint."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from darnet_trt.cli.device import Device, device_for
from darnet_trt.cli.held_out import measures
from darnet_trt.cli.printing import print_line, print_table, say, warn
from darnet_trt.cli.progress import progress, resumable

if TYPE_CHECKING:
    from darnet_trt.training.checkpoint import Checkpoint
    from darnet_trt.training.fitting.history import Epoch
    from darnet_trt.training.inputs import Failure


def train(
    cohort: Annotated[
        Path,
        typer.Argument(
            help="cohort.csv (columns scan, patient, label), or the folder that holds it. A scan "
            "is a file, folder or zip archive with one study, as inspect reads it."
        ),
    ],
    run: Annotated[
        Path, typer.Option("--out", "-o", help="Folder to write: checkpoint, metrics, split.")
    ],
    preset: Annotated[
        Literal["small", "paper"],
        typer.Option(
            help="Size of the network. small: trains in minutes on a CPU; paper: the paper's, "
            "35 million parameters, 64×224×224 voxels."
        ),
    ] = "small",
    attention: Annotated[
        Literal["none", "channel", "depth", "both"],
        typer.Option(help="Attention modules of the network; both: as in the paper."),
    ] = "both",
    extent: Annotated[
        Literal["lungs", "scan"],
        typer.Option(
            help="What the network sees along the body. lungs: the lungs and a margin, wherever "
            "they lie in a scan; scan: the whole scan, for cohorts that are cut to the chest."
        ),
    ] = "lungs",
    resolution: Annotated[
        Literal["full", "half"],
        typer.Option(
            help="Resolution of the slices that the input is made from. half: slices with twice "
            "the input's pixels a side and more are halved first, as JPEG 2000 does; it decodes "
            "them three times as fast. The bundle keeps to it, for every format."
        ),
    ] = "full",
    epochs: Annotated[
        int | None,
        typer.Option(min=1, help="Passes over the training scans. [default: the preset's]"),
    ] = None,
    seed: Annotated[
        int,
        typer.Option(
            min=0,
            help="Random seed of the split, initial weights, order of the scans and augmentation.",
        ),
    ] = 0,
    held_out: Annotated[
        float,
        typer.Option(
            metavar="SHARE",
            help="Share of the patients to hold out: the network is measured on them, "
            "not trained. 0: none.",
        ),
    ] = 0.2,
    augment: Annotated[
        bool, typer.Option(help="Flip, rotate, shift and scale training scans at random.")
    ] = True,
    device: Annotated[
        Device,
        typer.Option(help="auto: cuda if torch finds a CUDA device, else cpu."),
    ] = "auto",
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU threads. [default: torch's choice]")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print metrics.json instead of the table.")
    ] = False,
) -> None:
    """Train the network on a labelled cohort.

    Writes checkpoint.pt, history.csv, split.csv and metrics.json into the run's folder. Run the
    same command again to continue an interrupted run after the last epoch that it finished. The
    result is the network after the last epoch; the held-out patients only measure it. The
    checkpoint keeps hashes of the training patients and scans, so that these do not judge int8.
    Exit code 1: trained, but some scans could not be used.
    """
    from darnet_trt.cli.output_folder import refuse_bundle_or_cohort
    from darnet_trt.scan.cohorts import read_cohort

    refuse_bundle_or_cohort(run)
    entries = read_cohort(cohort)  # before torch, which takes seconds to import
    from darnet_trt.machine.cpus import share_cpus
    from darnet_trt.machine.hardware import require_packages

    share_cpus()
    require_packages("torch", extra="train")
    import torch

    from darnet_trt.training.fitting.records import METRICS
    from darnet_trt.training.presets import PRESETS
    from darnet_trt.training.recipe import NO_AUGMENTATION, Augmentation, Recipe
    from darnet_trt.training.run import train as train_run

    size = PRESETS[preset]
    if threads:
        torch.set_num_threads(threads)
    recipe = Recipe(
        epochs=epochs or size.epochs,
        seed=seed,
        augmentation=Augmentation() if augment else NO_AUGMENTATION,
    )
    failures: list[Failure] = []
    seconds: list[float] = []

    @contextmanager
    def reading(training: int, kept: int) -> Iterator[Callable[[int], None]]:
        say(f"{training} scans to train on, {kept} held out")
        with progress("reading scans", training + kept) as advance:
            yield advance

    def failed(failure: Failure) -> None:
        failures.append(failure)
        warn(f"left out: {failure.reason}")

    def finished(epoch: Epoch) -> None:
        seconds.append(epoch.seconds)
        left = sum(seconds) / len(seconds) * (recipe.epochs - epoch.epoch)
        accuracy = epoch.held_out_accuracy
        held_out = "" if math.isnan(accuracy) else f"  held-out accuracy {accuracy:.3f}"
        say(
            f"epoch {epoch.epoch}/{recipe.epochs}  loss {epoch.loss:.3f}  "
            f"accuracy {epoch.accuracy:.3f}{held_out}  {epoch.seconds:.1f} s, {left:.0f} s left"
        )

    with resumable():
        checkpoint = train_run(
            entries,
            run,
            size,
            recipe,
            attention=attention,
            extent=extent,
            resolution=resolution,
            held_out=held_out,
            device=device_for(device),
            reading=reading,
            failed=failed,
            report=finished,
        )
    if as_json:
        typer.echo((run / METRICS).read_text().rstrip())
    else:
        _show(run, checkpoint)
    if failures:
        raise typer.Exit(1)


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
    print_line(f"trained on {checkpoint.trained_on}")
    print_line(f"the run is in {run}")
