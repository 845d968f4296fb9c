"""`darnet-trt phantom`: write a synthetic cohort."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from darnet_trt.cli.interruption import goes_on
from darnet_trt.cli.number_range import number_range
from darnet_trt.cli.progress import Progress

__all__ = ["phantom"]


def phantom(
    out: Annotated[Path, typer.Argument(help="The folder to write; must not exist or be empty.")],
    scans: Annotated[int, typer.Option(help="How many scans.")] = 120,
    format_: Annotated[
        str, typer.Option("--format", help="dicom, nifti, or slices (PNG folders as CC-CCII's).")
    ] = "dicom",
    seed: Annotated[int, typer.Option(help="The same seed gives the same voxels.")] = 0,
    matrix: Annotated[int, typer.Option(help="Rows and columns of a slice.")] = 128,
    slices: Annotated[
        str, typer.Option(help="Slices of a scan: a number, or MIN:MAX to draw between.")
    ] = "30:300",
    processes: Annotated[
        int | None, typer.Option(min=1, help="Processes at once.  [default: one for each CPU]")
    ] = None,
) -> None:
    """Write a synthetic chest CT cohort: COVID-19-like, pneumonia-like and normal phantoms.

    The labels are in OUT/cohort.csv (scan, patient, label). OUT appears whole; an interrupted
    run goes on where it stopped when the same command is given again. Synthetic: nothing
    learned from it says anything about patients.
    """
    from darnet_trt.phantom import CohortPlan, write_cohort

    plan = CohortPlan(
        scans=scans,
        seed=seed,
        format=format_,  # type: ignore[arg-type]  # the plan checks it
        matrix=matrix,
        slices=number_range(slices, "--slices"),
    )
    with goes_on(), Progress("writing scans", scans) as progress:
        table = write_cohort(plan, out, processes=processes, done=progress.advance)
    typer.echo(f"{scans} synthetic scans, labels in {table}")
