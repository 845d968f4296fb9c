"""Leave out the test side: its scans neither calibrate nor judge."""

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
    """Return the scans of the patients that are not on the test side of the cohort or of the run.

    The run's side counts only where the scans are of the cohort that it was trained on, since
    another cohort may give other patients the same names: one of the run's training patients must
    be known to the network by the name that the cohort gives them.

    Args:
        pool: All scans.
        path: Where they are, for messages.
        trained: What trained the weights; None where nobody knows.
        split: The side of each patient of the run; None where there is no run.
        log: Called with a line that says how many are left out.

    Raises:
        UsageError: All are on the test side.
    """
    test = {s.patient for s in pool.scans if s.entry is not None and s.entry.side == "test"}
    if split and _is_of(pool.cohort, trained, split):
        test |= {patient for patient, side in split.items() if side == "test"}
    kept = tuple(scan for scan in pool.scans if scan.patient not in test)
    if count := len(pool.scans) - len(kept):
        patients = len({scan.patient for scan in pool.scans} & test)
        said = f"{count} of {len(pool.scans)} scans, of {patients} patients, are on the test side"
        if not kept:
            raise UsageError(said, where=path, do="give scans of other patients")
        log(f"calibration: {said}, and are left out")
    return replace(pool, scans=kept)


def _is_of(cohort: Cohort | None, trained: TrainingScans | None, split: Split) -> bool:
    """Return whether a run was trained on a cohort; true where nobody knows."""
    return trained is None or any(
        trained.had_patient(identity(cohort, patient, patient, ()).patients)
        for patient, side in split.items()
        if side == "train"
    )
