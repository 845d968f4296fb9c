"""`darnet-trt cohort`: check a labelled cohort, and divide it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from darnet_trt.cli import train_options as options
from darnet_trt.cli.cohort_check import check
from darnet_trt.cli.help import Command, Group
from darnet_trt.cli.printing import print_line, print_table, warn
from darnet_trt.errors import UsageError, counted

if TYPE_CHECKING:
    from darnet_trt.scan.cohorts import Cohort, Folds

cohort = typer.Typer(
    cls=Group, help="Check a labelled cohort before it is trained on; divide it into folds."
)

cohort.command("check", cls=Command)(check)

FOLDS = 5
_NAMES = "a file with a patient a line"

_Cohort = Annotated[
    Path,
    typer.Argument(metavar="COHORT", help="The labelled cohort, in any form that train reads."),
]


@cohort.command(cls=Command)
def folds(
    where: _Cohort,
    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", metavar="FILE", help="CSV to write: patient, label, fold (or test)."
        ),
    ],
    count: Annotated[
        int | None, typer.Option("--folds", help=f"How many folds. [default: {FOLDS}]")
    ] = None,
    test: Annotated[
        str | None,
        typer.Option(
            metavar="SHARE|FILE",
            help="The patients to keep apart from all folds, to test at the end: a share of each "
            "class's, such as 0.2, or a file that names them, one a line. [default: those that "
            "the cohort puts on the test side, else none]",
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Seed of the random choice. [default: 0]")
    ] = None,
    classes: options.Classes = None,
) -> None:
    """Divide a cohort's patients into folds, and write them into a file.

    Each patient is in one fold, with all scans, and each fold has the same share of each class. The
    same cohort and seed give the same folds. Where the cohort's table has a column fold, its folds
    are written as they stand.
    """
    from darnet_trt.cli.labelled import given_cohort, print_notes
    from darnet_trt.cli.output_folder import refuse_existing
    from darnet_trt.scan.cohorts import make_folds, named_folds, write_folds

    read = given_cohort(where, classes)
    print_notes(read)
    refuse_existing(out)
    divided = named_folds(read)
    if divided is None:
        divided = make_folds(read, FOLDS if count is None else count, _apart(test), seed or 0)
    elif (count, test, seed) != (None, None, None):
        raise UsageError(
            "the table names its folds itself",
            where=read.table,
            do="leave --folds, --test and --seed out, or remove the column fold",
        )
    write_folds(divided, read, out)
    _show(read, divided)
    print_line(f"the folds are in {out}")


def _apart(test: str | None) -> float | frozenset[str] | None:
    """Return the share or the patients to keep apart; None where none are named.

    Raises:
        UsageError: It is neither a share nor a file that names patients.
    """
    if test is None:
        return None
    try:
        return float(test)
    except ValueError:
        pass
    try:
        lines = Path(test).read_text("utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "no text"
        raise UsageError(
            f"{test!r} is neither a share nor a file that can be read ({reason})",
            where="--test",
            do=f"give a number below 1, or {_NAMES}",
        ) from error
    names = frozenset(filter(None, map(str.strip, lines)))
    if not names:
        raise UsageError(f"{test} names no patient", where="--test", do=f"give {_NAMES}")
    return names


def _show(cohort: Cohort, divided: Folds) -> None:
    """Print how many patients of each class each fold holds out, and whom the table puts in two."""
    from darnet_trt.scan.cohorts.patients import labels_of_patients, patients_of_classes

    several = sorted(p for p, labels in labels_of_patients(cohort).items() if len(labels) > 1)
    if several:
        named = ", ".join(several[:3]) + ", …" * (len(several) > 3)
        warn(
            f"{counted(len(several), 'patient has', 'patients have')} scans of several classes "
            f"({named}): each counts for the class of the first scan, and is in one fold"
        )
    classes = patients_of_classes(cohort)
    parts = [(str(number), fold) for number, fold in enumerate(divided.folds)]
    rows = (
        [name, *(str(len(part.intersection(of))) for of in classes.values()), str(len(part))]
        for name, part in (*parts, ("test", divided.test))
    )
    print_table(("fold", *classes, "patients"), rows)
