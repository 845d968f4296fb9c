"""What a cohort is: its scans, each of a patient and of a class."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from darnet_trt.errors import counted
from darnet_trt.machine.files import as_text
from darnet_trt.scan.cohorts.classes import PAPER_CLASSES
from darnet_trt.scan.series import Series

TABLE: Final = "cohort.csv"
PLAN: Final = "cohort.json"  # in a synthetic cohort's folder: what it was made from
PHANTOM_MODEL: Final = "synthetic phantom"
"""ManufacturerModelName (0008,1090) of the phantoms' DICOM files."""

Side = Literal["", "train", "held-out", "test"]

_NO_PATIENTS = "not real patients"


@dataclass(frozen=True)
class Entry:
    """A scan of a cohort.

    Attributes:
        scan: Its file, folder or zip archive.
        patient: Whom it is of.
        label: Its class.
        slices: Names of the slices that belong to it, in their true order from one end of the body
            to the other, where the cohort says so. (): those that lie there, as they are numbered.
        side: Where the cohort puts its patient, "" where it leaves that open.
        fold: The fold that holds its patient out, from 0; None where the cohort has no folds.
    """

    scan: Path
    patient: str
    label: str
    slices: tuple[str, ...] = ()
    side: Side = ""
    fold: int | None = None


@dataclass(frozen=True)
class Cohort:
    """A labelled cohort.

    Attributes:
        table: The file or folder that it was read from.
        entries: In its order.
        seed: Of the phantoms when the cohort is synthetic, else None.
        classes: In the order of a network's logits; the first is the positive one.
        notes: What a person should know of it: what is missing or was left out.
    """

    table: Path
    entries: tuple[Entry, ...]
    seed: int | None
    classes: tuple[str, ...] = PAPER_CLASSES
    notes: tuple[str, ...] = ()

    @property
    def root(self) -> Path:
        """The folder that names of its scans are relative to."""
        return self.table if self.table.is_dir() else self.table.parent

    def name(self, entry: Entry) -> str:
        """Return a scan's path relative to the root; as it stands where it lies elsewhere."""
        inside = entry.scan.is_relative_to(self.root)
        return (entry.scan.relative_to(self.root) if inside else entry.scan).as_posix()

    def person(self, patient: str) -> str:
        """Return a patient's name, which for phantoms tells the cohort, too.

        Synthetic cohorts give the same names (P0001, …) whatever their seed.
        """
        return patient if self.seed is None else f"phantom {self.seed} {patient}"

    def describe(self, entries: tuple[Entry, ...]) -> str:
        """Describe in one sentence what a network trained on these entries has seen."""
        if self.seed is not None:
            return (
                f"{counted(len(entries), 'synthetic phantom')} (darnet-trt phantom, seed "
                f"{self.seed}); {_NO_PATIENTS}"
            )
        patients = len({e.patient for e in entries})
        folder = self.table.is_dir()
        content = self._listing() if folder else self.table.read_bytes()
        digest = hashlib.sha256(content).hexdigest()[:12]
        name, what = as_text(self.root.resolve().name), "listing" if folder else "table"
        return (
            f"{counted(len(entries), 'scan')} of {counted(patients, 'patient')} of the cohort "
            f"{name} ({what}'s SHA-256 {digest}…)"
        )

    def _listing(self) -> bytes:
        rows = [(self.name(e), e.patient, e.label, e.slices) for e in self.entries]
        return json.dumps(rows).encode()


def describes_phantoms(trained_on: str) -> bool:
    """Return whether a sentence of `Cohort.describe` is about phantoms alone."""
    return trained_on.endswith(_NO_PATIENTS)


def is_phantom(series: Series) -> bool:
    """Return whether darnet-trt made a series: by its header, or by its cohort's folder.

    Only DICOM headers can say so. Other formats are recognized where they lie in the folder of a
    synthetic cohort.
    """
    if series.headers:
        return bool(series.headers[0].get("ManufacturerModelName") == PHANTOM_MODEL)
    # cohort/P0001/1.nii.gz, cohort/P0001/1/; and cohort/NCP/25/1181/
    cohorts = series.path.resolve().parents[: 3 if series.format == "slices" else 2]
    return any(seed_of(plan_in(folder)) is not None for folder in cohorts)


def plan_in(folder: Path) -> Any:
    """Return what the synthetic cohort in a folder was made from; None for another cohort."""
    try:
        content = json.loads((folder / PLAN).read_text("utf-8"))
        return content if content["synthetic"] else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def seed_of(plan: Any) -> int | None:
    """Return the seed of a plan; None where there is none."""
    try:
        return int(plan["seed"])
    except (ValueError, KeyError, TypeError):
        return None


def classes_of(plan: Any) -> tuple[str, ...] | None:
    """Return the classes that a plan names; plans of older versions name none."""
    try:
        return tuple(map(str, plan["classes"]))
    except (KeyError, TypeError):
        return None
