"""Read the labels that a network, or its results, are compared with."""

from __future__ import annotations

from pathlib import Path

from darnet_trt.errors import UsageError
from darnet_trt.scan.cohorts import Cohort, class_named, read_cohort


def labelled_cohort(path: Path, classes: tuple[str, ...]) -> Cohort:
    """Read a cohort with the classes of a network; () takes every label as it stands.

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
