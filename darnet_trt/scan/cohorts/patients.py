"""The patients of each class, and the choice of some of them.

A patient is on one side with all scans. A patient with scans of several classes counts for the one
of the first scan, by path.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from darnet_trt.errors import UsageError
from darnet_trt.scan.cohorts.cohort import Cohort


def labels_of_patients(cohort: Cohort) -> dict[str, set[str]]:
    """Return the classes of each patient's scans; of most patients just one."""
    labels: dict[str, set[str]] = defaultdict(set)
    for entry in cohort.entries:
        labels[entry.patient].add(entry.label)
    return labels


def patients_of_classes(cohort: Cohort) -> dict[str, list[str]]:
    """Return the patients of each class, sorted.

    Raises:
        UsageError: A class has none.
    """
    first: dict[str, str] = {}
    for entry in sorted(cohort.entries, key=lambda entry: entry.scan):
        first.setdefault(entry.patient, entry.label)
    of: dict[str, list[str]] = {label: [] for label in cohort.classes}
    for patient, label in sorted(first.items()):
        of[label].append(patient)
    for label, patients in of.items():
        if patients:
            continue
        theirs = sorted(entry.patient for entry in cohort.entries if entry.label == label)
        if theirs:
            raise UsageError(
                f"every patient with scans of the class {label} counts for the class of an earlier "
                f"scan, such as {theirs[0]}",
                where=cohort.table,
                do="add patients who have scans of this class alone",
            )
        raise no_patient(cohort, label)
    return of


def no_patient(cohort: Cohort, label: str) -> UsageError:
    """Return the error for a class that no scan of a cohort has."""
    return UsageError(
        f"no patient has the label {label}",
        where=cohort.table,
        do="add some, or list with --classes only the classes that occur",
    )


def set_aside(classes: dict[str, list[str]], share: float, seed: int) -> frozenset[str]:
    """Return a share of each class's patients, at least one and never all."""
    aside: set[str] = set()
    for index, patients in enumerate(classes.values()):
        count = min(max(1, round(share * len(patients))), len(patients) - 1) if share else 0
        order = np.random.default_rng((seed, index)).permutation(len(patients))
        aside.update(patients[i] for i in order[:count])
    return frozenset(aside)


def check_share(share: float, where: str) -> None:
    """Raise UsageError where a share of patients is none."""
    if not 0 <= share < 1:
        raise UsageError(f"must be at least 0 and below 1, not {share}", where=where)
