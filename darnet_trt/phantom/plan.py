"""What a synthetic cohort consists of."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Literal, get_args

import numpy as np

from darnet_trt.errors import UsageError
from darnet_trt.phantom.classes import Shares, plan_classes
from darnet_trt.phantom.synthesis import DEFAULT_MATRIX, DEFAULT_SLICES
from darnet_trt.scan.cohorts.ccccii import NO_CLASSES

CohortFormat = Literal["dicom", "nifti", "slices", "cc-ccii", "cc-ccii-cleaned"]
FORMATS: tuple[CohortFormat, ...] = get_args(CohortFormat)
SECOND_VISIT = 0.25  # share of patients with two scans, about CC-CCII's
MATRIX_RANGE = (32, 1024)
SLICES_RANGE = (30, 600)  # fewer would lie more than 10 mm apart
LESIONS: Final = "lesions"
"""The folder with the scans' lesions."""


def class_folder(name: str) -> str:
    """Return what CC-CCII calls the folder of a class; one that it lacks has its own name."""
    return {"covid-19": "NCP", "common-pneumonia": "CP", "normal": "Normal"}.get(name, name)


@dataclass(frozen=True)
class CohortPlan:
    """The choices that determine every byte of a cohort.

    Attributes:
        scans: How many; a smaller cohort of the same seed is the beginning of a larger one.
        seed: Draws the patients.
        format: Of the files, and of the folders they lie in.
        matrix: Rows and columns of a slice.
        slices: Fewest and most slices of a scan.
        kinds: The classes, the positive one first, and what their patients have.
        lesions: Whether to write where the lesions are, too.
    """

    scans: int = 120
    seed: int = 0
    format: CohortFormat = "dicom"
    matrix: int = DEFAULT_MATRIX
    slices: tuple[int, int] = DEFAULT_SLICES
    kinds: Shares = field(default_factory=plan_classes)
    lesions: bool = False

    def __post_init__(self) -> None:
        for name, low, high in (
            ("scans", 1, 100_000),
            ("seed", 0, 2**63),
            ("matrix", *MATRIX_RANGE),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise UsageError(f"must be {low} to {high}, not {value}", where=f"--{name}")
        first, last = self.slices
        if not SLICES_RANGE[0] <= first <= last <= SLICES_RANGE[1]:
            given = str(first) if first == last else f"{first}:{last}"
            raise UsageError(
                f"must be a number or an ascending range within {SLICES_RANGE[0]} to "
                f"{SLICES_RANGE[1]}, not {given}",
                where="--slices",
            )
        if self.format not in FORMATS:
            raise UsageError(
                f"unknown format {self.format!r}",
                where="--format",
                do=f"choose from {', '.join(FORMATS)}",
            )
        folders = [name.casefold() for name in (LESIONS, *NO_CLASSES)]
        for name in self.classes if self.ccccii else ():
            folder = class_folder(name).casefold()
            of_a_file = folder.startswith(".") or folder.endswith((".csv", ".json"))
            if of_a_file or folder in folders or {"/", "\\"} & set(folder):
                raise UsageError(
                    f"the class {name} cannot have a folder of the name {class_folder(name)}",
                    where="--classes",
                    do="choose another name, or another --format",
                )
            folders.append(folder)

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes, the positive one first."""
        return tuple(self.kinds)

    @property
    def ccccii(self) -> bool:
        """Whether the folders are CC-CCII's."""
        return self.format.startswith("cc-ccii")

    @property
    def identity(self) -> str:
        """Return text that differs between cohorts; the UIDs are made from it."""
        return (
            f"seed {self.seed} matrix {self.matrix} slices {self.slices[0]}:{self.slices[1]} "
            f"kinds {json.dumps(self.kinds)}"
        )


@dataclass(frozen=True)
class Member:
    """One scan of a cohort.

    Attributes:
        scan: Path relative to the cohort's folder.
        patient: Identifier.
        label: One of the plan's classes.
        kind: One of KINDS.
        number: The patient's number; visit: 0, or 1 for the second scan.
        index: Its place in the cohort, from 0 on.
    """

    scan: str
    patient: str
    label: str
    kind: str
    number: int
    visit: int
    index: int


def members(plan: CohortPlan) -> Iterator[Member]:
    """Yield the scans of a cohort; classes are equally frequent, in an order drawn by the seed."""
    written, number = 0, 0
    while True:
        block, place = divmod(number, len(plan.classes))
        # The classes come in random order, one patient each, then again: names reveal nothing.
        order = np.random.default_rng((plan.seed, 1, block)).permutation(len(plan.classes))
        label = plan.classes[order[place]]
        kinds = plan.kinds[label]
        shares = list(kinds.values())
        kind = np.random.default_rng((plan.seed, 3, number)).choice(list(kinds), p=shares)
        visits = 1 + (np.random.default_rng((plan.seed, 2, number)).random() < SECOND_VISIT)
        number += 1
        for visit in range(visits):
            patient, scan = _names(plan, label, number, visit, written)
            yield Member(scan, patient, label, str(kind), number, visit, written)
            written += 1
            if written == plan.scans:
                return


def _names(plan: CohortPlan, label: str, number: int, visit: int, index: int) -> tuple[str, str]:
    """Return a patient's identifier and the path of a scan."""
    if plan.ccccii:
        patient = str(number)
        return patient, f"{class_folder(label)}/{patient}/{1000 + index}"
    patient = f"P{number:04d}"
    return patient, f"{patient}/{visit + 1}{'.nii.gz' * (plan.format == 'nifti')}"
