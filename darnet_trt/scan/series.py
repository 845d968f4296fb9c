"""Studies, their series, and a verdict with its reason on each series."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from darnet_trt.errors import Finding
from darnet_trt.scan.dicom.geometry import Stack
from darnet_trt.scan.dicom.header import Header

Format = Literal["dicom", "nifti", "nrrd", "mha", "slices"]


@dataclass(frozen=True)
class Verdict:
    """The verdict on a series: may it be classified, and why.

    Attributes:
        usable: False means refused or, where it is not readable, failed.
        reason: One clause that a person at the scanner understands: "30 axial slices, 240 mm",
            "gantry tilted by 18.5°". The code of a usable series is "usable".
        warnings: What is unusual about a usable series.
        readable: False where its files are broken.
    """

    usable: bool
    reason: Finding
    warnings: tuple[Finding, ...] = ()
    readable: bool = True


@dataclass(frozen=True)
class Series:
    """One series of slices, or one volume file, as its headers describe it.

    Attributes:
        path: The volume file, or the folder that holds the slices.
        format: Which reader reads it.
        files: Its files; slices in the order of d (foot to head) where they could be sorted.
        description: SeriesDescription (0008,103E), or the file's name.
        slices: Files of a series, or slices of a volume file.
        verdict: From headers and geometry; `judge_pixels` adds what only the pixels show.
        uid: SeriesInstanceUID (0020,000E), empty for other formats.
        kernel: ConvolutionKernel (0018,1210), where there is one.
        matrix: Slices' rows and columns (h, w); 0 where they are not known.
        spacing_mm: Along d, h, w; None where the geometry gives none.
        number: SeriesNumber (0020,0011), where there is one.
        oriented: Whether the files say which way head, back and left lie; False: `files` and the
            axes are in the order that most writers use.
        calibrated: Whether its values can be Hounsfield units; False: pictures of 8 bits.
        headers: Of DICOM slices, in the order of `files`; empty for other formats.
        stack: Geometry of DICOM slices, where they could be sorted.
    """

    path: Path
    format: Format
    files: tuple[Path, ...]
    description: str
    slices: int
    verdict: Verdict
    uid: str = ""
    kernel: str = ""
    matrix: tuple[int, int] = (0, 0)
    spacing_mm: tuple[float, float, float] | None = None
    number: int | None = None
    oriented: bool = True
    calibrated: bool = True
    headers: tuple[Header, ...] = field(default=(), repr=False, compare=False)
    stack: Stack | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True)
class Study:
    """Series that belong together; a prediction gives one result a study.

    Attributes:
        path: The deepest folder that holds all its files, or its only file.
        uid: StudyInstanceUID (0020,000D), empty for other formats.
        patient_id: PatientID (0010,0020), or the CC-CCII patient folder, or empty.
        series: In a fixed order (by series number, then UID).
    """

    path: Path
    uid: str
    patient_id: str
    series: tuple[Series, ...]


@dataclass(frozen=True)
class Choice:
    """The series of a study to classify.

    Attributes:
        series: Which one.
        why: Why this one: "the only usable series of 1", "soft kernel B40f preferred over B70f", …
    """

    series: Series
    why: str
