"""`darnet-trt phantom`: write a synthetic cohort."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from darnet_trt.cli.number_range import number_range
from darnet_trt.cli.printing import print_line
from darnet_trt.cli.progress import progress, resumable


def phantom(
    out: Annotated[Path, typer.Argument(help="Folder to write: a new or an empty one.")],
    scans: Annotated[int, typer.Option(help="Number of scans.")] = 120,
    format_: Annotated[
        Literal["dicom", "nifti", "slices"],
        typer.Option("--format", help="slices: PNG files in folders, as in the CC-CCII data set."),
    ] = "dicom",
    seed: Annotated[
        int, typer.Option(help="Random seed. The same seed gives the same voxels.")
    ] = 0,
    matrix: Annotated[int, typer.Option(help="Rows and columns of a slice, 32 to 1024.")] = 128,
    slices: Annotated[
        str,
        typer.Option(
            help="Slices of each scan, 30 to 600: a number, or MIN:MAX to draw one for each scan."
        ),
    ] = "30:300",
    processes: Annotated[
        int | None, typer.Option(min=1, help="Worker processes. [default: one for each CPU]")
    ] = None,
) -> None:
    """Write a synthetic chest CT cohort: COVID-19-like, pneumonia-like and normal phantoms.

    The folder gets the scans, and cohort.csv with their labels (columns scan, patient, label). It
    appears when all scans are written; run the same command again to continue an interrupted one.
    The scans are synthetic: what a network learns from them does not apply to patients.
    """
    from darnet_trt.phantom import CohortPlan, write_cohort

    plan = CohortPlan(
        scans=scans,
        seed=seed,
        format=format_,
        matrix=matrix,
        slices=number_range(slices, "--slices"),
    )
    with resumable(), progress("writing scans", scans) as advance:
        table = write_cohort(plan, out, processes=processes, done=advance)
    print_line(f"{scans} synthetic scan{'s' * (scans != 1)}; labels: {table}")
