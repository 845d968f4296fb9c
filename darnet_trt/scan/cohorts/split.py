"""Divide a cohort into what trains and what measures, without folds."""

from __future__ import annotations

from darnet_trt.errors import UsageError
from darnet_trt.scan.cohorts.cohort import Cohort
from darnet_trt.scan.cohorts.folds import Sides
from darnet_trt.scan.cohorts.patients import check_share, patients_of_classes, set_aside


def split_by_patient(cohort: Cohort, held_out: float, seed: int) -> Sides:
    """Return the sides that the cohort names; else hold out a share of each class's patients.

    Args:
        cohort: Its scans.
        held_out: The share, 0 for none.
        seed: Of the random choice.

    Raises:
        UsageError: A class is absent, or has too few patients to be on both sides; or the cohort
            names the side of some patients alone, or two of one.
    """
    check_share(held_out, "--held-out")
    if any(entry.side for entry in cohort.entries):
        return _given(cohort)
    classes = patients_of_classes(cohort)
    for label, patients in classes.items():
        if held_out and len(patients) < 2:
            raise UsageError(
                f"the class {label} has one patient, who cannot both train and be held out",
                where=cohort.table,
                do="add patients, or train with --held-out 0",
            )
    return Sides.of(cohort.entries, set_aside(classes, held_out, seed))


def _given(cohort: Cohort) -> Sides:
    """Return the sides that the cohort names."""
    side: dict[str, str] = {}
    for entry in cohort.entries:
        if not entry.side:
            raise UsageError(
                f"the scan {cohort.name(entry)} is on no side, others are",
                where=cohort.table,
                do="name the side of each, or of none",
            )
        if side.setdefault(entry.patient, entry.side) != entry.side:
            raise UsageError(
                f"the patient {entry.patient} is on two sides, {side[entry.patient]} and "
                f"{entry.side}",
                where=cohort.table,
                do="put all scans of a patient on one",
            )
    held_out, test = (
        frozenset(patient for patient, of in side.items() if of == name)
        for name in ("held-out", "test")
    )
    return Sides.of(cohort.entries, held_out, test)
