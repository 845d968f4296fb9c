"""Divide a cohort into what trains and what measures, without folds."""

from __future__ import annotations

from dataclasses import replace

from darnet_trt.errors import UsageError
from darnet_trt.scan.cohorts.cohort import Cohort
from darnet_trt.scan.cohorts.folds import Sides
from darnet_trt.scan.cohorts.patients import check_share, patients_of_classes, set_aside


def split_by_patient(cohort: Cohort, held_out: float, seed: int) -> Sides:
    """Return the sides that the cohort names; else hold out a share of each class's patients.

    Where the cohort names a test side alone, the share is of the others.

    Args:
        cohort: Its scans.
        held_out: The share, 0 for none.
        seed: Of the random choice.

    Raises:
        UsageError: A class is absent, or has too few patients to be on both sides; or the cohort
            puts a patient on two sides, or holds some out and leaves others open.
    """
    check_share(held_out, "--held-out")
    side = _named(cohort)
    test, named = (frozenset(p for p, of in side.items() if of == s) for s in ("test", "held-out"))
    if named:
        return Sides.of(cohort.entries, named, test)
    others = tuple(entry for entry in cohort.entries if entry.patient not in test)
    if gone := {entry.label for entry in cohort.entries} - {entry.label for entry in others}:
        raise UsageError(
            f"all patients of the class {min(gone)} are on the side test",
            where=cohort.table,
            do="put some on the side train",
        )
    classes = patients_of_classes(replace(cohort, entries=others))
    for label, patients in classes.items():
        if held_out and len(patients) < 2:
            raise UsageError(
                f"the class {label} has one patient, who cannot both train and be held out",
                where=cohort.table,
                do="add patients, or train with --held-out 0",
            )
    return Sides.of(cohort.entries, set_aside(classes, held_out, seed), test)


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
    if "held-out" in side.values() and "" in side.values():
        open_one = next(patient for patient, of in side.items() if not of)
        raise UsageError(
            f"the patient {open_one} is on no side, though others are held out",
            where=cohort.table,
            do="name the side of each",
        )
    return side
