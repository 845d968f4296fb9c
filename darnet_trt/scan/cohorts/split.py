"""Divide a cohort into what trains and what measures, without folds."""

from __future__ import annotations

from dataclasses import replace

from darnet_trt.errors import UsageError
from darnet_trt.scan.cohorts.cohort import Cohort
from darnet_trt.scan.cohorts.folds import Sides
from darnet_trt.scan.cohorts.patients import check_share, no_patient, patients_of_classes, set_aside


def split_by_patient(cohort: Cohort, held_out: float, seed: int) -> Sides:
    """Return the sides that the cohort names; else hold out a share of each class's patients.

    Where the cohort names a test side alone, the share is of the others. Where it names the side
    train, but no patient to hold out, none is.

    Args:
        cohort: Its scans.
        held_out: The share, 0 for none.
        seed: Of the random choice.

    Raises:
        UsageError: A class has no patient to train on, or too few to be on both sides; or the
            cohort puts a patient on two sides, or names some patients' side and not the others'.
    """
    check_share(held_out, "--held-out")
    side = _named(cohort)
    test, named = (frozenset(p for p, of in side.items() if of == s) for s in ("test", "held-out"))
    sides = Sides.of(cohort.entries, named, test)
    refuse_untrained(cohort, sides)
    if not held_out or not {"train", "held-out"}.isdisjoint(side.values()):
        return sides
    classes = patients_of_classes(replace(cohort, entries=sides.train))
    for label, patients in classes.items():
        if len(patients) < 2:
            raise UsageError(
                f"the class {label} has one patient, who cannot both train and be held out",
                where=cohort.table,
                do="add patients, or train with --held-out 0",
            )
    return Sides.of(cohort.entries, set_aside(classes, held_out, seed), test)


def refuse_untrained(cohort: Cohort, sides: Sides) -> None:
    """Raise UsageError where no scan of a class is on the side train."""
    for label in cohort.classes:
        if any(entry.label == label for entry in sides.train):
            continue
        apart = [
            name
            for name, entries in (("held-out", sides.held_out), ("test", sides.test))
            if any(entry.label == label or not sides.train for entry in entries)
        ]
        if not apart:
            raise no_patient(cohort, label)
        scans = f"scans of the class {label}" if sides.train else "scans"
        raise UsageError(
            f"none is left to train on: all {scans} are on the side {' or '.join(apart)}",
            where=cohort.table,
            do="put some on the side train",
        )


def _named(cohort: Cohort) -> dict[str, str]:
    """Return the side of each patient that the cohort names; "" where it leaves that open."""
    side: dict[str, str] = {}
    for entry in cohort.entries:
        if side.setdefault(entry.patient, entry.side) != entry.side:
            both = " and ".join(sorted({side[entry.patient] or "none", entry.side or "none"}))
            raise UsageError(
                f"the patient {entry.patient} is on two sides ({both})",
                where=cohort.table,
                do="put all scans of a patient on one",
            )
    named = {"train", "held-out"}.intersection(side.values())
    if named and "" in side.values():
        open_one = next(patient for patient, of in side.items() if not of)
        raise UsageError(
            f"the patient {open_one} is on no side, though others are on the side {min(named)}",
            where=cohort.table,
            do="name the side of each, or only of those for the test",
        )
    return side
