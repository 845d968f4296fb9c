"""Divide patients into folds for cross-validation, and keep the division in a file."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import count as counting
from pathlib import Path
from typing import Final, Self

import numpy as np

from darnet_trt.errors import UsageError, counted
from darnet_trt.machine.files import as_text, whole_text
from darnet_trt.scan.cohorts.classes import class_named
from darnet_trt.scan.cohorts.cohort import Cohort, Entry, Side
from darnet_trt.scan.cohorts.data_tables import unreadable_table
from darnet_trt.scan.cohorts.patients import (
    check_share,
    labels_of_patients,
    patients_of_classes,
    set_aside,
)

FOLDS_COLUMNS: Final = ("patient", "label", "fold")
TEST: Final = "test"
MOST_FOLDS: Final = 999


@dataclass(frozen=True)
class Sides:
    """A cohort's scans, divided by patient.

    Attributes:
        train: Trains the weights.
        held_out: Measures them while they are trained, and sets their temperature.
        test: Is kept for the end.
    """

    train: tuple[Entry, ...]
    held_out: tuple[Entry, ...]
    test: tuple[Entry, ...] = ()

    @classmethod
    def of(
        cls, entries: Iterable[Entry], held_out: frozenset[str], test: frozenset[str] = frozenset()
    ) -> Self:
        """Return the sides on which these patients, and all others, put their scans."""
        apart = held_out | test
        every = tuple(entries)
        return cls(
            tuple(e for e in every if e.patient not in apart),
            tuple(e for e in every if e.patient in held_out),
            tuple(e for e in every if e.patient in test),
        )


@dataclass(frozen=True)
class Folds:
    """A cohort's patients, divided for cross-validation.

    Attributes:
        test: Kept apart from all folds.
        folds: The patients that each fold holds out; every other patient is in just one.
    """

    test: frozenset[str]
    folds: tuple[frozenset[str], ...]

    def sides(self, cohort: Cohort, fold: int) -> Sides:
        """Return the sides of one fold, from 0.

        Raises:
            UsageError: There is no such fold.
        """
        return Sides.of(cohort.entries, self._held_out(fold), self.test)

    def placed(self, cohort: Cohort, fold: int | None) -> Cohort:
        """Return a cohort whose scans name the folds' sides, in place of its own.

        Args:
            cohort: Whose folds these are.
            fold: The one that is held out, from 0. None: only the test side is named.

        Raises:
            UsageError: There is no such fold.
        """
        held_out = frozenset[str]() if fold is None else self._held_out(fold)
        others: Side = "" if fold is None else "train"
        fold_of = {patient: n for n, of in enumerate(self.folds) for patient in of}

        def side(patient: str) -> Side:
            return TEST if patient in self.test else "held-out" if patient in held_out else others

        return replace(
            cohort,
            entries=tuple(
                replace(entry, side=side(entry.patient), fold=fold_of.get(entry.patient))
                for entry in cohort.entries
            ),
        )

    def _held_out(self, fold: int) -> frozenset[str]:
        if not 0 <= fold < len(self.folds):
            raise UsageError(
                f"there is no fold {fold}",
                where="--fold",
                do=f"take one from 0 to {len(self.folds) - 1}",
            )
        return self.folds[fold]


def make_folds(
    cohort: Cohort, count: int = 5, test: float | frozenset[str] | None = None, seed: int = 0
) -> Folds:
    """Divide a cohort's patients into folds, each with the same share of each class.

    The folds follow from the patients, their classes and the seed, not from the order of scans.

    Args:
        cohort: Its patients.
        count: How many folds.
        test: The patients to keep apart, named as in the cohort or as by `Cohort.person`; or the
            share of each class's patients, 0 for none. None: those that the cohort puts on the test
            side.
        seed: Of the random choice.

    Raises:
        UsageError: A class has fewer patients than folds, or the patients to keep apart are not
            of this cohort.
    """
    if not 2 <= count <= MOST_FOLDS:
        raise UsageError(f"must be 2 to {MOST_FOLDS}, not {count}", where="--folds")
    classes = patients_of_classes(cohort)
    if test is None:
        apart = frozenset(entry.patient for entry in cohort.entries if entry.side == TEST)
    elif isinstance(test, frozenset):
        apart = _named_patients(cohort, test)
    else:
        check_share(test, "--test")
        apart = set_aside(classes, test, seed)
    folds: list[set[str]] = [set() for _ in range(count)]
    place = counting()  # goes on over the classes, so that the folds are of one size
    for index, (label, of_class) in enumerate(classes.items()):
        left = [patient for patient in of_class if patient not in apart]
        if apart.issuperset(of_class):
            raise UsageError(
                f"all patients of the class {label} are kept for the test",
                where=cohort.table,
                do="keep fewer for it",
            )
        if len(left) < count:
            raise UsageError(
                f"the class {label} has {counted(len(left), 'patient')} for {count} folds"
                + (", without those kept for the test" if apart else ""),
                where=cohort.table,
                do="every fold needs one of each class: add patients, or make fewer folds",
            )
        order = np.random.default_rng((seed, index, 1)).permutation(len(left))
        for i in order:
            folds[next(place) % count].add(left[i])
    return Folds(apart, tuple(map(frozenset, folds)))


def named_folds(cohort: Cohort) -> Folds | None:
    """Return the folds that the cohort's table names; None where it names none.

    Raises:
        UsageError: It names the fold of some patients alone, or two of one.
    """
    if all(entry.fold is None for entry in cohort.entries):
        return None
    fold_of: dict[str, str] = {}
    for entry in cohort.entries:
        fold = TEST if entry.side == "test" else "" if entry.fold is None else str(entry.fold)
        if not fold or fold_of.setdefault(entry.patient, fold) != fold:
            how = "two folds" if fold else "no fold, though others are"
            raise UsageError(
                f"the patient {entry.patient} is in {how}",
                where=cohort.table,
                do="put each patient with all scans into one fold, or on the test side",
            )
    return _folds(fold_of, cohort.table)


def write_folds(folds: Folds, cohort: Cohort, path: Path) -> None:
    """Write folds as CSV: patient, label, and fold (from 0, or "test").

    Raises:
        OutputError: The file cannot be written.
    """
    fold_of = dict.fromkeys(folds.test, TEST)
    for number, held_out in enumerate(folds.folds):
        fold_of |= dict.fromkeys(held_out, str(number))
    with whole_text(path) as text:
        rows = csv.writer(text)
        rows.writerow(FOLDS_COLUMNS)
        for label, patients in patients_of_classes(cohort).items():
            rows.writerows([cohort.person(p), label, fold_of[p]] for p in patients)


def read_folds(path: Path, cohort: Cohort) -> Folds:
    """Read what `write_folds` wrote for this cohort.

    Raises:
        UsageError: It is no such file, or of another cohort.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            if not set(FOLDS_COLUMNS) <= set(reader.fieldnames or ()):
                raise UsageError(
                    "is no file of folds",
                    where=path,
                    do="make one with darnet-trt cohort folds",
                )
            rows = [tuple((row[name] or "").strip() for name in FOLDS_COLUMNS) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise unreadable_table(
            path, error, "make it with darnet-trt cohort folds", folder="name a file in it"
        ) from error
    labels = labels_of_patients(cohort)
    known = {as_text(cohort.person(patient)): patient for patient in labels}
    fold_of: dict[str, str] = {}
    for person, label, written in rows:
        patient, fold = known.get(person), written.casefold()
        if patient is None or class_named(label, labels[patient]) is None:
            raise _of_another(path, f"has {person!r} as a patient with the label {label!r}")
        if not fold:
            raise UsageError(f"the patient {person} has no fold", where=path, do="fill it in")
        if fold_of.setdefault(patient, fold) != fold:
            raise UsageError(
                f"the patient {person} is in two folds", where=path, do="keep one of the lines"
            )
    if lacking := sorted(known.keys() - {person for person, *_ in rows}):
        raise _of_another(path, f"lacks the patient {lacking[0]}")
    return _folds(fold_of, path)


def _folds(fold_of: dict[str, str], where: Path) -> Folds:
    """Return the folds of patients; their numbers must be 0, 1, …, at least two."""
    of: dict[str, set[str]] = defaultdict(set)
    for patient, fold in fold_of.items():
        of[fold].add(patient)
    apart = of.pop(TEST, set())
    names = [str(number) for number in range(len(of))]
    if len(of) < 2 or set(names) != of.keys():
        raise UsageError(
            f"the folds are {', '.join(sorted(of)) or 'none'}",
            where=where,
            do="name at least two, and number them 0, 1, …",
        )
    return Folds(frozenset(apart), tuple(frozenset(of[name]) for name in names))


def _of_another(path: Path, how: str) -> UsageError:
    return UsageError(
        f"{how}, unlike this cohort",
        where=path,
        do="make this cohort's own with darnet-trt cohort folds",
    )


def _named_patients(cohort: Cohort, names: frozenset[str]) -> frozenset[str]:
    """Return the patients of these names, of which each may be the cohort's or a file of folds'."""
    patients = {entry.patient for entry in cohort.entries}
    known = {as_text(cohort.person(patient)): patient for patient in patients}
    known |= {patient: patient for patient in patients}
    if strangers := sorted(names - known.keys()):
        raise UsageError(
            f"the cohort has no patient {strangers[0]!r}",
            where="--test",
            do="name patients as the cohort does, one a line without a title, such as "
            f"{min(patients)}",
        )
    return frozenset(known[name] for name in names)
