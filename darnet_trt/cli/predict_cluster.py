"""`predict --ray`: run the shards of a run on a cluster, and join their results."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from darnet_trt.cli import printing
from darnet_trt.cli.merge import tally, warn_of_shards
from darnet_trt.cli.printing import say, warn
from darnet_trt.cli.progress import resumable
from darnet_trt.errors import UsageError, no_such_path


@dataclass(frozen=True)
class ClusterOptions:
    """Holds what was asked for.

    Attributes:
        address: Of the cluster's head.
        out: The folder for the joined results; the shards' lie in it.
        resume: Whether the folder's results are continued.
        identifiers: Whether patients' fields are written as they are.
        pseudonym_key: File of the pseudonyms' key; None: the user's own.
        parquet: Whether a Parquet table is written.
        cpus: CPUs that a shard takes.
        gpus: GPUs that it takes.
    """

    address: str
    out: Path
    resume: bool
    identifiers: bool
    pseudonym_key: Path | None
    parquet: bool
    cpus: int
    gpus: int


def predict_on_cluster(
    options: ClusterOptions,
    bundle: Path,
    scans: Sequence[Path],
    given: Mapping[str, str | int | bool | None],
) -> bool:
    """Classify scans on a cluster, and join the results; return whether studies failed.

    Args:
        options: What was asked for.
        bundle: The bundle's folder, which opens.
        scans: Files, folders, archives or a cohort's table.
        given: Options that each shard gets: option → value; True for a flag.

    Raises:
        UsageError: A path does not exist, the folder has results, no cluster answers, shards could
            not run, or there is no scan.
    """
    from darnet_trt.machine.files import sole_writer
    from darnet_trt.runtime.prediction.results.lines import JSONL
    from darnet_trt.runtime.prediction.results.pseudonyms import Pseudonyms
    from darnet_trt.runtime.prediction.results.tables import CSV, PARQUET, need_pyarrow
    from darnet_trt.runtime.prediction.shards.merge import merge
    from darnet_trt.runtime.prediction.shards.ray import (
        FOLDER,
        Work,
        connected,
        divided,
        is_filled,
        run_shards,
    )

    out = _absolute(options.out)
    paths = [_absolute(path) for path in scans]
    for path in paths:
        if not os.path.lexists(path) and not is_filled(path):
            raise no_such_path(path)
    _check_folder(out, resume=options.resume, lines=out / JSONL, shards=out / FOLDER)
    parquet = options.parquet or (options.resume and (out / PARQUET).exists())
    if parquet:
        need_pyarrow()
    key = None if options.identifiers else Pseudonyms(options.pseudonym_key, warn).key()
    words = ["predict", str(_absolute(bundle)), *map(str, paths)]
    for option, value in given.items():
        words += [option] if value is True else [option, str(value)] if value else []
    work = Work(tuple(words), out / FOLDER, tuple(filter(is_filled, paths)), key)
    again = "the same command" if options.resume else "the same command with --resume"
    with connected(options.address) as ray, resumable(again), sole_writer(out / FOLDER, shown=out):
        shards = divided(ray, work, cpus=options.cpus, gpus=options.gpus)
        say(f"{len(shards)} shard{'s' * (len(shards) > 1)}, in {out / FOLDER}")
        folders = [work.folder(shard) for shard in shards]
        bad = {"failed", "refused"} if given["--refused-is-failure"] else {"failed"}
        before = _having(bad, folders)
        run_shards(ray, work, shards, cpus=options.cpus, gpus=options.gpus, say=say, warn=warn)
        if not any((folder / JSONL).exists() for folder in folders):
            raise UsageError("no scan was found", where=paths[0], do="check the path")
        merged = merge(out, folders, parquet=parquet, again=options.resume)
        failed = not _having(bad, folders) <= before
    warn_of_shards(merged)
    line = f"results: {out / CSV}; {tally(merged)}"
    (warn if failed and printing.quiet else say)(line)
    return failed


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(path))  # noqa: PTH100 (keeps links, which all nodes may have)


def _having(statuses: set[str], folders: Sequence[Path]) -> set[tuple[str, str, float]]:
    """Return key and times of the results with some statuses; one made again has other times.

    A shard's exit code says nothing of what it did before its node died.
    """
    from darnet_trt.runtime.prediction.results.lines import JSONL, read_results

    held = [folder for folder in folders if (folder / JSONL).exists()]
    results = (result for folder in held for result in read_results(folder))
    return {
        (each.key, each.finished, each.stages_ms.total)
        for each in results
        if each.status in statuses
    }


def _check_folder(out: Path, *, resume: bool, lines: Path, shards: Path) -> None:
    """Check that the folder may be written into before the cluster is asked.

    Raises:
        UsageError: It has results, and they are not to be continued, or are not those of shards.
    """
    if not resume and (lines.exists() or shards.exists()):
        raise UsageError(
            "already holds results",
            where=out,
            do="add --resume to continue that run, or choose another folder",
        )
    if lines.exists() and not shards.exists():
        raise UsageError(
            "holds results of a run without --ray", where=out, do="choose another folder"
        )
