"""The files by which a training's folder is known, and what to say of one without a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from darnet_trt.errors import CheckpointError

CHECKPOINT: Final = "checkpoint.pt"
STATE: Final = "state.pt"
BEFORE: Final = "state-before.pt"
PLAN: Final = "plan.json"
FOLDS: Final = "folds.csv"
"""Of an ablation, as is the one above."""
RUNS: Final = "runs"
"""The folder of an ablation's trainings."""


def has_state(run: Path) -> bool:
    """Return whether a training in a folder was interrupted."""
    return any((run / name).exists() for name in (STATE, BEFORE))


def no_checkpoint(path: Path, *, bundle_too: bool = False) -> CheckpointError:
    """Return the error for a path that is no finished run: what it is, and what to name.

    Args:
        path: It has no checkpoint.
        bundle_too: Whether the command takes a bundle as well.
    """
    if not path.exists():
        return CheckpointError("no such file or folder", where=path)
    if has_state(path):
        return CheckpointError(
            "the training is not finished",
            where=path,
            do="run the command that began it again, with the same options",
        )
    if (path / PLAN).exists():
        path = path / RUNS
    runs = sorted(found.parent for found in path.glob(f"*/{CHECKPOINT}"))
    if runs:
        return CheckpointError(
            "holds several runs and is none itself",
            where=path,
            do=f"name one of them, such as {runs[0]}",
        )
    if path.name == RUNS:
        return CheckpointError(
            "no training of this ablation is finished",
            where=path.parent,
            do="run the same ablation command again",
        )
    if bundle_too:
        return CheckpointError(
            "is neither a run nor a bundle",
            where=path,
            do="name the folder that train or build wrote",
        )
    return CheckpointError(
        "there is no checkpoint here", where=path, do="name the folder that train wrote"
    )
