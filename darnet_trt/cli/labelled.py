"""Read the labelled cohorts that commands take."""

from __future__ import annotations

from pathlib import Path

from darnet_trt.cli.printing import warn
from darnet_trt.errors import UsageError
from darnet_trt.scan.cohorts import (
    Cohort,
    Folds,
    class_named,
    named_folds,
    parse_classes,
    read_cohort,
    read_folds,
)


def given_cohort(path: Path, classes: str | None) -> Cohort:
    """Read a cohort with the classes of `--classes`.

    Raises:
        UsageError: The cohort cannot be read, or these are no classes.
    """
    return read_cohort(path, None if classes is None else parse_classes(classes))


def folds_of(cohort: Cohort, file: Path | None) -> Folds:
    """Return the folds of a file that `cohort folds` wrote; without one, those of the cohort.

    Raises:
        UsageError: The file is none of this cohort's, or the cohort names no folds.
    """
    divided = named_folds(cohort) if file is None else read_folds(file, cohort)
    if divided is None:
        raise UsageError(
            "the cohort names no folds",
            where="--fold",
            do="divide it with darnet-trt cohort folds, and give the file with --folds",
        )
    return divided


def print_notes(cohort: Cohort) -> None:
    """Print what is missing from a cohort, or was left out."""
    for note in cohort.notes:
        warn(note)


def labelled_cohort(path: Path, classes: tuple[str, ...]) -> Cohort:
    """Read a cohort that a network, or its results, are compared with.

    Args:
        path: The cohort.
        classes: The network's; () takes every label as it stands.

    Raises:
        UsageError: The cohort cannot be read, or has a class that the network does not know.
    """
    cohort = read_cohort(path, ())
    for name in cohort.classes if classes else ():
        if class_named(name, classes) is None:
            raise UsageError(
                f"has the class {name!r}, and the network knows {', '.join(classes)}",
                where=path,
                do="give a network that was trained on this class, or leave its scans out",
            )
    return read_cohort(path, classes) if classes else cohort
