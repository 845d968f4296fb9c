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
        Literal["dicom", "nifti", "slices", "cc-ccii", "cc-ccii-cleaned"],
        typer.Option(
            "--format",
            help="slices: PNG files, a folder for each scan. cc-ccii: the same, in the folders and "
            "with the tables of the CC-CCII data set; cc-ccii-cleaned: those of its cleaned form.",
        ),
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
    classes: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,NAME=KIND+KIND,…",
            help="Classes, and the kinds of scans that each consists of; the first is the positive "
            "one. [default: the paper's three]",
        ),
    ] = None,
    kind: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=SHARE",
            help="Share of a kind in the patients of its class, 0 to 1. May be repeated.",
        ),
    ] = None,
    lesions: Annotated[
        bool,
        typer.Option("--lesions", help="Also write where lungs and lesions are: lesions/SCAN.npz."),
    ] = False,
    processes: Annotated[
        int | None, typer.Option(min=1, help="Worker processes. [default: one for each CPU]")
    ] = None,
) -> None:
    """Write a synthetic chest CT cohort: COVID-19-like, pneumonia-like and normal phantoms.

    The folder gets the scans, and cohort.csv with their labels (columns scan, patient, label, kind,
    severity: the share of the lungs that is diseased). It appears when all scans are written; run
    the same command again to continue an interrupted one. The scans are synthetic: what a network
    learns from them does not apply to patients.

    Kinds of COVID-19: covid-19 (typical), mild-covid-19, vascular-covid-19, one-sided-covid-19,
    central-covid-19. Of common pneumonia: common-pneumonia (lobar), viral-pneumonia. Of normal
    scans: normal, emphysema, small-nodules.
    """
    from darnet_trt.phantom import CohortPlan, plan_classes, write_cohort

    plan = CohortPlan(
        scans=scans,
        seed=seed,
        format=format_,
        matrix=matrix,
        slices=number_range(slices, "--slices"),
        kinds=plan_classes(classes, kind or ()),
        lesions=lesions,
    )
    with resumable(), progress("writing scans", scans) as advance:
        table = write_cohort(plan, out, processes=processes, done=advance)
    print_line(f"{scans} synthetic scan{'s' * (scans != 1)}; labels: {table}")
