"""The tables of CC-CCII, as it is downloaded and in its cleaned form (HKBU)."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from darnet_trt.phantom.files.defects import Defect, slice_name
from darnet_trt.phantom.plan import Member
from darnet_trt.phantom.scanner.render import LESION
from darnet_trt.phantom.synthesis import Scan

SPLITS = {"ct_train.json": 0.6, "ct_val.json": 0.2, "ct_test.json": 0.2}
_METADATA = (
    *("patient_id", "Age", "Sex(Male1/Female2)", "Critical_illness", "Liver_function"),
    *("Lung_function", "Progression (Days)"),
)
_CRITICAL = 0.3  # share of the lungs


@dataclass(frozen=True)
class Facts:
    """What the tables say of one scan.

    Attributes:
        severity: The share of the lungs that is diseased.
        female: Of the patient.
        files: How many slice files it has.
        lesions: Those that show a lesion.
        row: Of CT_cleaned_v2.csv: is_seg, is_repeat, repeat_ids, re_order.
        kept: The files to use, from the topmost slice on.
    """

    severity: float
    female: bool
    files: int
    lesions: Sequence[int]
    row: Sequence[int | str]
    kept: Sequence[int]

    @classmethod
    def of(cls, scan: Scan, defect: Defect) -> Facts:
        """Return what is to be said of a scan."""
        shown = (scan.regions[::-1] == LESION).any((1, 2))[list(defect.slices)]
        return cls(
            scan.severity,
            scan.anatomy.breast > 0,
            len(defect.slices),
            np.flatnonzero(shown).tolist(),
            defect.row,
            defect.kept,
        )

    def write(self, path: Path) -> None:
        """Write them for `read`."""
        path.write_text(json.dumps(asdict(self)), "utf-8")

    @classmethod
    def read(cls, path: Path) -> Facts:
        """Read what `write` wrote."""
        return cls(**json.loads(path.read_text("utf-8")))


def write_raw_tables(out: Path, seed: int, scans: Iterable[tuple[Member, Facts]]) -> None:
    """Write the tables of the download: the archives, the slices with lesions, the patients."""
    archives, lesions, patients = [], [], {}
    for member, facts in scans:
        folder, patient, scan = member.scan.split("/")
        archive = f"{folder}-{1 + member.index // 100}.zip"
        archives.append((archive, folder, patient, scan, facts.files))
        # As in the real set: the slices of normal scans are not listed.
        if folder != "Normal":
            lesions += [(f"{member.scan}/{slice_name(i)}",) for i in facts.lesions]
        if folder == "NCP":
            rng = np.random.default_rng((seed, 6, member.number))
            patients[patient] = (
                *(patient, int(rng.integers(20, 90)), 1 + facts.female),
                *(int(facts.severity > _CRITICAL), *rng.integers(1, 6, 2).tolist()),
                round(float(rng.uniform(1, 14)), 1),
            )
    _write(
        out / "unzip_filenames.csv",
        ("zip_file", "label", "patient_id", "scan_id", "n_slice"),
        archives,
    )
    _write(out / "lesions_slices.csv", ("imgpath",), lesions)
    _write(out / "metadata.csv", _METADATA, patients.values())


def write_cleaned_tables(out: Path, seed: int, scans: Iterable[tuple[Member, Facts]]) -> None:
    """Write the cleaned form's table of defects, and its split by patient."""
    rows, kept = [], []
    for member, facts in scans:
        folder, patient, scan = member.scan.split("/")
        rows.append((folder, patient, scan, *facts.row))
        if facts.kept:
            kept.append((folder, patient, scan, [slice_name(i) for i in facts.kept]))
    columns = ("cls", "pid", "scan_id", "is_seg", "is_repeat", "repeat_ids", "re_order")
    _write(out / "CT_cleaned_v2.csv", columns, rows)
    splits: dict[str, dict[str, Any]] = {name: {} for name in SPLITS}
    for folder in sorted({folder for folder, _, _, _ in kept}):
        patients = sorted({patient for of, patient, _, _ in kept if of == folder}, key=int)
        order = np.random.default_rng((seed, 7)).permutation(len(patients))
        ends = np.rint(np.cumsum(list(SPLITS.values())) * len(patients))
        for place, index in enumerate(order):
            name = list(splits)[int(np.searchsorted(ends, place, "right"))]
            splits[name].setdefault(folder, {})[patients[index]] = {
                scan: files
                for of, patient, scan, files in kept
                if (of, patient) == (folder, patients[index])
            }
    for name, split in splits.items():
        (out / name).write_text(json.dumps(split, indent=4), "utf-8")


def _write(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(columns)
        table.writerows(rows)
