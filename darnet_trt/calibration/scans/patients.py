"""The scans that may calibrate or judge: whose they are, and in which order they are tried."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from darnet_trt.errors import UnreadableScanError
from darnet_trt.scan import Study, find_studies
from darnet_trt.scan.cohort import TABLE, Cohort, Entry, read_cohort

__all__ = ["Candidate", "Candidates", "find_candidates", "patients_of_each_class"]


@dataclass(frozen=True)
class Candidate:
    """One scan, not read yet.

    Attributes:
        path: To name it by.
        patient: Whose it is; one of its own where nothing tells.
        entry: Its row of the cohort's table; None where there is no table.
        study: Reads its headers. Raises ScanError or UsageError.
    """

    path: Path
    patient: str
    entry: Entry | None
    study: Callable[[], Study]

    @property
    def label(self) -> str:
        """Its class; empty where it is not known."""
        return self.entry.label if self.entry else ""


@dataclass(frozen=True)
class Candidates:
    """All of a path.

    Attributes:
        scans: In the table's order, or by path.
        cohort: The table they come from, if they do.
    """

    scans: tuple[Candidate, ...]
    cohort: Cohort | None


def find_candidates(path: Path) -> Candidates:
    """A cohort's scans where there is its table, else every study under a file or folder.

    Raises:
        UsageError: No such path, or a table that cannot be used.
        UnreadableScanError: Nothing there can be read.
    """
    if path.suffix.lower() == ".csv" or (path / TABLE).is_file():
        cohort = read_cohort(path)
        return Candidates(tuple(_of_entry(entry) for entry in cohort.entries), cohort)
    return Candidates(tuple(_of_study(study) for study in find_studies(path)), None)


def _of_entry(entry: Entry) -> Candidate:
    def study() -> Study:
        studies = find_studies(entry.scan)
        if len(studies) > 1:
            raise UnreadableScanError(
                f"{len(studies)} studies where one scan is expected", where=entry.scan
            )
        return studies[0]

    return Candidate(entry.scan, entry.patient, entry, study)


def _of_study(study: Study) -> Candidate:
    patient = study.patient_id or f"{study.path}\0{study.uid}"
    return Candidate(study.path, patient, None, lambda: study)


def patients_of_each_class(
    scans: Sequence[Candidate], seed: int
) -> tuple[tuple[tuple[Candidate, ...], ...], ...]:
    """For each class its patients in an order drawn by the seed, each with all their scans.

    A patient with scans of several classes counts as one of the first.
    """
    of_patient: dict[str, list[Candidate]] = defaultdict(list)
    for scan in scans:
        of_patient[scan.patient].append(scan)
    of_class: dict[str, list[tuple[Candidate, ...]]] = defaultdict(list)
    for _, theirs in sorted(of_patient.items()):
        of_class[theirs[0].label].append(tuple(theirs))
    drawn = []
    for index, (_, patients) in enumerate(sorted(of_class.items())):
        order = np.random.default_rng((seed, index)).permutation(len(patients))
        drawn.append(tuple(patients[i] for i in order))
    return tuple(drawn)
