"""Split a cohort by patient into training and held-out scans."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from darnet_trt.errors import UsageError
from darnet_trt.scan.cohorts import PAPER_CLASSES, Entry


def split_by_patient(
    entries: tuple[Entry, ...],
    held_out: float,
    seed: int,
    classes: Sequence[str] = PAPER_CLASSES,
) -> tuple[tuple[Entry, ...], tuple[Entry, ...]]:
    """Hold out the same share of each class's patients; no patient is on both sides.

    Args:
        entries: All scans.
        held_out: Share of the patients, 0 for none.
        seed: Of the random choice.
        classes: Those of the cohort.

    Returns:
        Training and held-out entries, each in the order given.

    Raises:
        UsageError: A class is absent, or has too few patients to be on both sides.
    """
    if not 0 <= held_out < 1:
        raise UsageError(f"must be at least 0 and below 1, not {held_out}", where="--held-out")
    # A patient with several labels counts for the first one.
    first: dict[str, str] = {}
    for entry in entries:
        first.setdefault(entry.patient, entry.label)
    aside: set[str] = set()
    for index, label in enumerate(classes):
        patients = sorted(p for p, of in first.items() if of == label)
        if not patients:
            raise UsageError(f"no patient has the label {label}", do="every class must occur")
        count = max(1, round(held_out * len(patients))) if held_out else 0
        if count >= len(patients):
            raise UsageError(
                f"{len(patients)} patient(s) with the label {label} are too few "
                f"to hold out {count}",
                do="add patients, or train with --held-out 0",
            )
        order = np.random.default_rng((seed, index)).permutation(len(patients))
        aside.update(patients[i] for i in order[:count])
    train = tuple(e for e in entries if e.patient not in aside)
    return train, tuple(e for e in entries if e.patient in aside)
