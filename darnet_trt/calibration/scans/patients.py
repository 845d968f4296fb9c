"""Find the scans that may calibrate or judge, and draw the order in which patients are tried."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from darnet_trt.scan import Study, find_studies
from darnet_trt.scan.cohorts import Cohort, Entry, is_cohort, read_cohort, study_of


@dataclass(frozen=True)
class UnreadScan:
    """A scan whose pixels have not been read yet.

    Attributes:
        path: The file or folder that messages name.
        patient: Identifies the patient; unique to this scan where the patient is not known.
        entry: Its row of the cohort's table; None without a table.
        study: Read its headers. Raises ScanError or UsageError.
    """

    path: Path
    patient: str
    entry: Entry | None
    study: Callable[[], Study]

    @property
    def label(self) -> str:
        """Its class; empty if not known."""
        return self.entry.label if self.entry else ""


@dataclass(frozen=True)
class ScanPool:
    """All scans of a cohort, file or folder.

    Attributes:
        scans: In the table's order, or by path.
        cohort: The table they come from; None without one.
    """

    scans: tuple[UnreadScan, ...]
    cohort: Cohort | None


def find_scans(path: Path, classes: tuple[str, ...]) -> ScanPool:
    """Return a cohort's scans if there is one, else every study under a file or folder.

    Args:
        path: Where they are.
        classes: Names of the logits.

    Raises:
        UsageError: No such path, or a cohort that cannot be used.
        UnreadableScanError: Nothing there can be read.
    """
    if is_cohort(path, classes):
        cohort = read_cohort(path, classes)
        return ScanPool(tuple(_of_entry(entry) for entry in cohort.entries), cohort)
    return ScanPool(tuple(_of_study(study) for study in find_studies(path)), None)


def _of_entry(entry: Entry) -> UnreadScan:
    return UnreadScan(entry.scan, entry.patient, entry, lambda: study_of(entry))


def _of_study(study: Study) -> UnreadScan:
    patient = study.patient_id or f"{study.path}\0{study.uid}"
    return UnreadScan(study.path, patient, None, lambda: study)


def patients_of_each_class(
    scans: Sequence[UnreadScan], seed: int
) -> tuple[tuple[tuple[UnreadScan, ...], ...], ...]:
    """Return the patients of each class, in an order drawn by the seed, each with all their scans.

    A patient with scans of several classes is listed under the first scan's class.
    """
    of_patient: dict[str, list[UnreadScan]] = defaultdict(list)
    for scan in scans:
        of_patient[scan.patient].append(scan)
    of_class: dict[str, list[tuple[UnreadScan, ...]]] = defaultdict(list)
    for _, theirs in sorted(of_patient.items()):
        of_class[theirs[0].label].append(tuple(theirs))
    drawn = []
    for index, (_, patients) in enumerate(sorted(of_class.items())):
        order = np.random.default_rng((seed, index)).permutation(len(patients))
        drawn.append(tuple(patients[i] for i in order))
    return tuple(drawn)
