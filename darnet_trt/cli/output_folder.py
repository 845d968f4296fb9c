"""Keep a command's files from taking the place of something else."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

from darnet_trt.bundle.manifest import FILE_NAME
from darnet_trt.errors import UsageError
from darnet_trt.machine.files import check_file_place
from darnet_trt.scan.cohorts import TABLE
from darnet_trt.training.fitting.folder import CHECKPOINT, PLAN, STATE

Kind = Literal["run", "ablation", "evaluation", "explanation"]

PREDICTIONS: Final = "predictions.csv"
_KINDS: Final[dict[str, Kind]] = {
    PLAN: "ablation",
    CHECKPOINT: "run",
    STATE: "run",
    PREDICTIONS: "evaluation",  # ablations and their runs have one, too
    "maps.png": "explanation",
}
"""The kind of a folder, by a file in it; of several files the first one here decides."""


def refuse_existing(file: Path) -> None:
    """Raise UsageError unless a new file can be written there."""
    check_file_place(file)
    if file.exists():
        raise UsageError("exists already", where=file, do="choose another file")


def refuse_bundle_or_cohort(folder: Path) -> None:
    """Raise UsageError if the folder to write into is a bundle or a cohort."""
    for name, what in ((FILE_NAME, "bundle"), (TABLE, "cohort")):
        if (folder / name).exists():
            raise _holds(folder, what, name)


def refuse_all_but(kind: Kind, folder: Path) -> None:
    """Raise UsageError if the folder to write into is a bundle, a cohort, or of another kind."""
    refuse_bundle_or_cohort(folder)
    name = next((name for name in _KINDS if (folder / name).exists()), None)
    if name is not None and _KINDS[name] != kind:
        raise _holds(folder, _KINDS[name], name)


def _holds(folder: Path, what: str, name: str) -> UsageError:
    article = "an" if what[0] in "ae" else "a"
    return UsageError(
        f"is {article} {what} (it holds {name})", where=folder, do="choose another folder"
    )
