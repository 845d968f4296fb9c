"""Make studies of what was found in some folders, and say of each what it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from darnet_trt.scan.discovery.counts import Counts


@dataclass(frozen=True)
class Person:
    """Whom a study is of, as its headers say; empty where they do not.

    Attributes:
        patient_id: PatientID (0010,0020).
        accession_number: AccessionNumber (0008,0050).
        study_date: StudyDate (0008,0020), YYYYMMDD.
    """

    patient_id: str = ""
    accession_number: str = ""
    study_date: str = ""


@dataclass(frozen=True)
class FoundStudy:
    """A study that was found, small enough to keep many of them.

    Attributes:
        path: The deepest folder that holds its files, or its only file; absolute.
        uid: StudyInstanceUID (0020,000D); empty for other formats than DICOM.
        key: What it is, wherever it lies: "study:UID" (with the patient where one UID has
            several), "content:HASH" for other formats, "path:HASH" for what cannot be read.
        content: Hash of what was found of it, 32 hexadecimal digits: SOP instances and what each
            one holds of the scan, or the files' bytes. It changes when slices come.
        files: Its files.
        slices: How many slices its largest series has.
        problem: Whether no series can be classified by the headers alone.
        person: Whom it is of.
        pickled: The `Study`.
    """

    path: Path
    uid: str
    key: str
    content: str
    files: tuple[Path, ...] = field(repr=False)
    slices: int
    problem: bool
    person: Person
    pickled: bytes = field(repr=False)


@dataclass(frozen=True)
class Gathered:
    """What some folders hold.

    Attributes:
        studies: The unusable ones, too; what cannot be read is a study of its own.
        counts: What became of each file.
    """

    studies: tuple[FoundStudy, ...]
    counts: Counts
