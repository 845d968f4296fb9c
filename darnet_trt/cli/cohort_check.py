"""`darnet-trt cohort check`: what gives a cohort's classes away."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from darnet_trt.cli import train_options as options
from darnet_trt.cli.device import use_torch
from darnet_trt.cli.printing import print_line, print_table
from darnet_trt.cli.progress import progress

if TYPE_CHECKING:
    from darnet_trt.training.checking.check import Check


def check(
    cohort: Annotated[
        Path, typer.Argument(help="The labelled cohort, in any form that train reads.")
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", metavar="FILE", help="File to write: the document that --json prints."
        ),
    ] = None,
    classes: options.Classes = None,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="Print one JSON document instead of the table: also the scans of each finding.",
        ),
    ] = False,
) -> None:
    """Look for what gives the classes away without the lungs, and for other faults of a cohort.

    Counts scans and patients; names scans that cannot be used, patients in two classes or on two
    sides, the same scan twice, slices out of order, very short scans; and what goes with the class:
    masked bodies, slices chosen, slice count, matrix, grey window, file type. Then a small network
    is trained on scans whose lungs are blanked out: if it tells the classes of other patients,
    something else does. A cohort that gives its classes away is trained on with --allow-shortcut
    only. Scans are read once, and a second check of the same files takes a moment. Exit code 1: it
    gives its classes away, or some scans cannot be used. Exit code 2: no scan can be used.
    """
    from darnet_trt.cli.labelled import given_cohort, print_notes
    from darnet_trt.cli.output_folder import refuse_existing

    read = given_cohort(cohort, classes)
    print_notes(read)
    if out is not None:
        refuse_existing(out)
    use_torch()
    from darnet_trt.machine.files import whole_file
    from darnet_trt.training.checking.check import check as check_cohort

    found = check_cohort(read, reading=partial(progress, "checking scans"))
    text = found.model_dump_json(indent=1)
    if out is not None:
        with whole_file(out) as file:
            file.write(text.encode() + b"\n")
    if as_json:
        typer.echo(text)
    else:
        _show(found)
    if found.shortcuts or any(one.usable < one.scans for one in found.counts):
        raise typer.Exit(1)


def _show(found: Check) -> None:
    """Print the counts, each finding in a line, and what the probe says."""
    print_table(
        ("class", "patients", "scans", "usable"),
        ([one.label, str(one.patients), str(one.scans), str(one.usable)] for one in found.counts),
    )
    for one in found.findings:
        kind = "gives the class away" if one.gives_away else "to know"
        print_line(f"{kind}: {one.code}: {one.text}")
    if found.probe.left_out:
        print_line(f"without the lungs: not tried: {found.probe.left_out}")
    for area in found.probe.areas:
        print_line(
            f"without the lungs: {area.label} against the rest: AUC {area.auc:.2f}, "
            f"99.9 % interval {area.lower:.2f} to {area.upper:.2f}"
        )
    if found.shortcuts:
        print_line(f"the cohort gives its classes away: {', '.join(found.shortcuts)}")
    else:
        print_line("nothing was found that gives the classes away")
