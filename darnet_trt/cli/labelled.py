"""Read the labelled cohorts that commands take."""

from __future__ import annotations

from pathlib import Path

from darnet_trt.cli.printing import warn
from darnet_trt.errors import UsageError
from darnet_trt.scan.cohorts import Cohort, class_named, parse_classes, read_cohort


def given_cohort(path: Path, classes: str | None) -> Cohort:
    """Read a cohort with the classes of `--classes`.

    Raises:
        UsageError: The cohort cannot be read, or these are no classes.
    """
    return read_cohort(path, None if classes is None else parse_classes(classes))


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
                do="compare it with a network that was trained on the cohort's classes",
            )
    return read_cohort(path, classes) if classes else cohort
