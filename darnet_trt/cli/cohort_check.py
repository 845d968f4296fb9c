"""`darnet-trt cohort check`: what gives a cohort's classes away."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from darnet_trt.cli.printing import print_line, print_table
from darnet_trt.cli.progress import progress

if TYPE_CHECKING:
    from darnet_trt.training.checking import Check


def check(
    cohort: Annotated[Path, typer.Argument(help="As `train` takes it: a table, or its folder.")],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", metavar="FILE", help="JSON to write: what --json prints, with each scan."
        ),
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,…",
            help="The cohort's classes, in order; the first is the positive one. [default: those "
            "of the phantoms, or the paper's]",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document instead of the table.")
    ] = False,
) -> None:
    """Look for what gives the classes away without the lungs, and for other faults of a cohort.

    Counts scans and patients; names scans that cannot be used, patients in two classes or on two
    sides, the same scan twice, slices out of order, very short scans; and what goes with the class:
    masked bodies, slices chosen, slice count, matrix, grey window, file type. Then a small network
    is trained on scans whose lungs are blanked out: if it tells the classes of other patients,
    something else does. A cohort that gives its classes away is trained on with --allow-shortcut
    only. Scans are read once; a second check of the same files takes a moment. Exit code 1: it
    gives its classes away, or some scans cannot be used.
    """
    from darnet_trt.scan.cohorts import parse_classes, read_cohort

    read = read_cohort(cohort, None if classes is None else parse_classes(classes))
    from darnet_trt.machine.cpus import share_cpus
    from darnet_trt.machine.hardware import require_packages

    share_cpus()
    require_packages("torch", extra="train")
    from darnet_trt.machine.files import cannot_write, whole_file
    from darnet_trt.training.checking import check as check_cohort

    found = check_cohort(read, reading=reading)
    text = found.model_dump_json(indent=1)
    if out is not None:
        try:
            with whole_file(out) as file:
                file.write(text.encode() + b"\n")
        except OSError as error:
            raise cannot_write(out, error) from error
    if as_json:
        typer.echo(text)
    else:
        _show(found)
    if found.shortcuts or any(one.usable < one.scans for one in found.counts):
        raise typer.Exit(1)


@contextmanager
def reading(scans: int) -> Iterator[Callable[[int], None]]:
    """Show how far the reading of a cohort's scans has come."""
    with progress("checking the cohort: scans", scans) as advance:
        yield advance


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
