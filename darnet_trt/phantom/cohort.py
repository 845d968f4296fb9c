"""A folder of synthetic scans with the table of their labels."""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from darnet_trt import __version__
from darnet_trt.errors import OutputError, UsageError
from darnet_trt.machine.cpus import usable_cpus
from darnet_trt.machine.files import LOCK, sole_writer
from darnet_trt.machine.processes import worker_pool
from darnet_trt.phantom.files.dicom import write_dicom
from darnet_trt.phantom.files.images import write_nifti, write_slices
from darnet_trt.phantom.synthesis import DEFAULT_MATRIX, DEFAULT_SLICES, synthesize_scan
from darnet_trt.scan.cohorts import COLUMNS, PAPER_CLASSES, PLAN, TABLE

CohortFormat = Literal["dicom", "nifti", "slices"]
FORMATS: tuple[CohortFormat, ...] = get_args(CohortFormat)
SECOND_VISIT = 0.25  # share of patients with two scans, about CC-CCII's
MATRIX_RANGE = (32, 1024)
SLICES_RANGE = (30, 600)  # fewer would lie more than 10 mm apart
MIN_SCANS_A_PROCESS = 8  # starting a process costs as much as a few small scans


@dataclass(frozen=True)
class CohortPlan:
    """The choices that determine every byte of a cohort.

    Attributes:
        scans: How many; a smaller cohort of the same seed is the beginning of a larger one.
        seed: Draws the patients.
        format: Of the files.
        matrix: Rows and columns of a slice.
        slices: Fewest and most slices of a scan.
    """

    scans: int = 120
    seed: int = 0
    format: CohortFormat = "dicom"
    matrix: int = DEFAULT_MATRIX
    slices: tuple[int, int] = DEFAULT_SLICES

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

    @property
    def identity(self) -> str:
        """Return text that differs between cohorts; the UIDs are made from it."""
        return f"seed {self.seed} matrix {self.matrix} slices {self.slices[0]}:{self.slices[1]}"


@dataclass(frozen=True)
class Member:
    """One scan of a cohort.

    Attributes:
        scan: Path relative to the cohort's folder.
        patient: Identifier.
        label: One of PAPER_CLASSES.
        number: The patient's number; visit: 0, or 1 for the second scan.
    """

    scan: str
    patient: str
    label: str
    number: int
    visit: int


def members(plan: CohortPlan) -> Iterator[Member]:
    """Yield the scans of a cohort; classes are equally frequent, in an order drawn by the seed."""
    written, number = 0, 0
    suffix = ".nii.gz" if plan.format == "nifti" else ""
    while True:
        block, place = divmod(number, len(PAPER_CLASSES))
        # Each three patients have the three labels in random order: names reveal nothing.
        order = np.random.default_rng((plan.seed, 1, block)).permutation(len(PAPER_CLASSES))
        label = PAPER_CLASSES[order[place]]
        visits = 1 + (np.random.default_rng((plan.seed, 2, number)).random() < SECOND_VISIT)
        number += 1
        patient = f"P{number:04d}"
        for visit in range(visits):
            yield Member(f"{patient}/{visit + 1}{suffix}", patient, label, number, visit)
            written += 1
            if written == plan.scans:
                return


def write_cohort(
    plan: CohortPlan,
    out: Path,
    *,
    processes: int | None = None,
    done: Callable[[int], None] = lambda count: None,
) -> Path:
    """Write a cohort; `out` appears whole, and another call continues an interrupted one.

    Args:
        plan: What to write.
        out: A folder that does not exist yet, or is empty; neither the current one nor a mount
            point, which cannot be replaced by a whole one.
        processes: How many at once; by default as many as there are CPUs for this process.
        done: Called with the number of scans finished since the last call.

    Returns:
        The path of `cohort.csv`.

    Raises:
        UsageError: `out` holds something already, or another process is writing it.
        OutputError: Something cannot be written.
    """
    out = Path(os.path.realpath(out))
    _refuse_occupied(out)
    partial = out.parent / f".{out.name}.partial"
    try:
        with sole_writer(partial, shown=out):
            _refuse_occupied(out)  # another process may have written it meanwhile
            _write_partial(plan, partial, processes, done)
            partial.rename(out)
    except (OSError, BrokenProcessPool) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise OutputError(
            f"the cohort cannot be written ({reason})",
            where=out,
            do="check free space and permissions, then run the same command again to continue",
        ) from error
    return out / TABLE


def _write_partial(
    plan: CohortPlan, partial: Path, processes: int | None, done: Callable[[int], None]
) -> None:
    _open_partial(plan, partial)
    todo = []
    for member in members(plan):
        if (partial / member.scan).exists():
            done(1)
        else:
            todo.append(member)
    for count in _write_all(plan, partial, todo, processes):
        done(count)
    with (partial / TABLE).open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(COLUMNS)
        table.writerows((m.scan, m.patient, m.label) for m in members(plan))


def _refuse_occupied(out: Path) -> None:
    try:
        if not out.exists():
            return
        if not out.is_dir():
            raise UsageError("is a file, expected a folder", where=out, do="name another folder")
        occupied = any(out.iterdir())
        fixed = out.is_mount() or out.samefile(Path())
    except OSError as error:
        raise UsageError(f"cannot be read ({error.strerror})", where=out) from error
    if occupied:
        raise UsageError("exists already and is not empty", where=out, do="name another folder")
    if fixed:
        raise UsageError(
            "is the current folder or a mount point, which cannot be replaced",
            where=out,
            do="name a new folder in it",
        )


def _open_partial(plan: CohortPlan, partial: Path) -> None:
    """Keep the finished scans of this plan in the working folder; remove everything else."""
    content = json.dumps({"synthetic": True, "version": __version__, **asdict(plan)}, indent=2)
    recorded = partial / PLAN
    same = recorded.is_file() and recorded.read_text("utf-8") == content
    for left in list(partial.glob("P*/.*" if same else "*")):
        if left.name != LOCK:
            shutil.rmtree(left) if left.is_dir() else left.unlink()
    recorded.write_text(content, "utf-8")


def _write_all(
    plan: CohortPlan, folder: Path, todo: list[Member], processes: int | None
) -> Iterator[int]:
    if processes is None:
        processes = min(usable_cpus(), len(todo) // MIN_SCANS_A_PROCESS)
    if processes <= 1:
        for member in todo:
            _write_scan(plan, folder, member)
            yield 1
        return
    with worker_pool(processes) as pool:
        futures = [pool.submit(_write_scan, plan, folder, member) for member in todo]
        try:
            for future in as_completed(futures):
                future.result()
                yield 1
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _write_scan(plan: CohortPlan, folder: Path, member: Member) -> None:
    """Write one scan under a temporary name, then rename it."""
    scan = synthesize_scan(
        member.label,
        (plan.seed, member.number),
        visit=member.visit,
        matrix=plan.matrix,
        slices=plan.slices,
    )
    target = folder / member.scan
    target.parent.mkdir(exist_ok=True)
    # The suffix stays at the end: nibabel goes by it. The next call removes what an error leaves.
    temporary = target.with_name(f".{target.name}")
    if plan.format == "nifti":
        write_nifti(scan, temporary)
    else:
        temporary.mkdir()
        if plan.format == "dicom":
            write_dicom(scan, temporary, member.patient, member.visit, plan.identity)
        else:
            write_slices(scan, temporary)
    temporary.rename(target)
