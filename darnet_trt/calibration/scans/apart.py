"""Leave the test side alone: its scans neither calibrate nor judge."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from darnet_trt.calibration.scans.patients import ScanPool
from darnet_trt.errors import UsageError
from darnet_trt.evaluation.seen import TrainingScans, identity
from darnet_trt.scan.cohorts import Cohort

Split = Mapping[str, str]
"""The side of each patient of a run: "train", "held-out", "test"."""


def without_test_side(
    pool: ScanPool,
    path: Path,
    trained: TrainingScans | None,
    split: Split | None,
    log: Callable[[str], None],
) -> ScanPool:
    """Return the scans of the patients that are not kept for the test.

    Those are kept that the cohort puts on the side test, and that the run kept, if the scans are of
    its cohort: if one of its training patients is known to its network by the name that he has
    here. Other cohorts may name other patients alike.

    Args:
        pool: All scans.
        path: Where they are, for messages.
        trained: What trained the weights; None where nobody knows.
        split: Of the run; None where there is none.
        log: Takes a line on how many are left out.

    Raises:
        UsageError: All are on the test side.
    """
    test = {s.patient for s in pool.scans if s.entry is not None and s.entry.side == "test"}
    if split and _is_of(pool.cohort, trained, split):
        test |= {patient for patient, side in split.items() if side == "test"}
    kept = tuple(scan for scan in pool.scans if scan.patient not in test)
    if count := len(pool.scans) - len(kept):
        patients = len({scan.patient for scan in pool.scans} & test)
        said = f"of {len(pool.scans)} scans, {count} of {patients} patients are on the test side"
        if not kept:
            raise UsageError(said, where=path, do="give scans of other patients")
        log(f"calibration: {said}: they are left alone")
    return replace(pool, scans=kept)


def _is_of(cohort: Cohort | None, trained: TrainingScans | None, split: Split) -> bool:
    """Return whether a run's patients are those of a cohort; true where nobody knows."""
    return trained is None or any(
        trained.had_patient(identity(cohort, patient, patient, ()).patients)
        for patient, side in split.items()
        if side == "train"
    )
