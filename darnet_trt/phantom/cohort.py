"""A folder of synthetic scans with the table of their labels."""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict
from pathlib import Path

import numpy as np
import numpy.typing as npt

from darnet_trt import __version__
from darnet_trt.errors import OutputError, UsageError
from darnet_trt.machine.cache import DAMAGE, read_array
from darnet_trt.machine.cpus import usable_cpus
from darnet_trt.machine.files import LOCK, sole_writer
from darnet_trt.machine.processes import worker_pool
from darnet_trt.phantom.files.ccccii import Facts, write_cleaned_tables, write_raw_tables
from darnet_trt.phantom.files.defects import Defect, draw_defect
from darnet_trt.phantom.files.dicom import write_dicom
from darnet_trt.phantom.files.images import write_nifti, write_slices
from darnet_trt.phantom.plan import LESIONS, CohortPlan, Member, members
from darnet_trt.phantom.synthesis import synthesize_scan
from darnet_trt.scan.cohorts import COLUMNS, PLAN, TABLE

MIN_SCANS_A_PROCESS = 8  # starting a process costs as much as a few small scans
_FACTS = ".facts"  # in the working folder: what the tables say of each scan that is written


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
        The table of the labels: `cohort.csv`, or `phantoms.csv` in the folders of CC-CCII.

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
    return out / _table(plan)


def _table(plan: CohortPlan) -> str:
    """Return the table's name; CC-CCII has none, and its folders are the labels."""
    return "phantoms.csv" if plan.ccccii else TABLE


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
    facts = [(m, Facts.read(_facts(partial, m))) for m in members(plan)]
    with (partial / _table(plan)).open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow([*COLUMNS, "kind", "severity"])
        table.writerows(
            (m.scan, m.patient, m.label, m.kind, round(of.severity, 4)) for m, of in facts
        )
    if plan.format == "cc-ccii":
        write_raw_tables(partial, plan.seed, facts)
    elif plan.format == "cc-ccii-cleaned":
        write_cleaned_tables(partial, plan.seed, facts)
    shutil.rmtree(partial / _FACTS)


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
    made_from = {"synthetic": True, "version": __version__, "classes": plan.classes, **asdict(plan)}
    content = json.dumps(made_from, indent=2)
    recorded = partial / PLAN
    same = recorded.is_file() and recorded.read_text("utf-8") == content
    unfinished = (_temporary(partial / member.scan) for member in members(plan))
    for left in unfinished if same else list(partial.iterdir()):
        if left.name != LOCK and left.exists():
            shutil.rmtree(left) if left.is_dir() else left.unlink()
    (partial / _FACTS).mkdir(exist_ok=True)
    recorded.write_text(content, "utf-8")


def _facts(folder: Path, member: Member) -> Path:
    return folder / _FACTS / f"{member.number}-{member.visit}.json"


def _temporary(target: Path) -> Path:
    """Return where a scan is written first. The suffix stays at the end: nibabel goes by it."""
    return target.with_name(f".{target.name}")


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
        member.kind,
        (plan.seed, member.number),
        visit=member.visit,
        matrix=plan.matrix,
        slices=plan.slices,
    )
    target = folder / member.scan
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary(target)
    count = len(scan.volume.hu)
    defect = Defect(tuple(range(count)), order=tuple(range(count)))
    if plan.format == "cc-ccii-cleaned":
        defect = draw_defect(plan.seed, member.index, count)
    if plan.format == "nifti":
        write_nifti(scan, temporary)
    else:
        temporary.mkdir()
        if plan.format == "dicom":
            write_dicom(scan, temporary, member.patient, member.visit, plan.identity)
        else:
            write_slices(scan, temporary, defect)
    if plan.lesions:
        regions = folder / LESIONS / f"{member.scan}.npz"
        regions.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(regions, regions=scan.regions)
    Facts.of(scan, defect).write(_facts(folder, member))
    temporary.rename(target)


def read_regions(cohort: Path, scan: Path) -> npt.NDArray[np.uint8]:
    """Read where the lungs (1) and lesions (2) of a phantom are.

    Args:
        cohort: Folder of a cohort written with `lesions`.
        scan: One of its scans.

    Returns:
        uint8, shape (d, h, w), on the grid of the volume that `read_volume` gives, oriented S P L.

    Raises:
        UsageError: The cohort was written without them, or they are damaged.
    """
    path = cohort / LESIONS / f"{scan.relative_to(cohort)}.npz"
    try:
        return read_array(path, "regions")
    except FileNotFoundError as error:
        raise UsageError(
            "does not say where the lesions are", where=cohort, do="write it with phantom --lesions"
        ) from error
    except DAMAGE as error:
        raise UsageError("cannot be read", where=path, do="write the cohort again") from error
