"""Keep a command's files from taking the place of something else."""

from __future__ import annotations

from pathlib import Path

from darnet_trt.bundle.manifest import FILE_NAME
from darnet_trt.errors import UsageError
from darnet_trt.machine.files import check_file_place
from darnet_trt.scan.cohorts import TABLE


def refuse_existing(file: Path) -> None:
    """Raise UsageError unless a new file can be written there."""
    check_file_place(file)
    if file.exists():
        raise UsageError("exists already", where=file, do="choose another file")


def refuse_bundle_or_cohort(folder: Path) -> None:
    """Raise UsageError if the folder to write into is a bundle or a cohort."""
    for name, what in ((FILE_NAME, "bundle"), (TABLE, "cohort")):
        if (folder / name).exists():
            raise UsageError(
                f"is a {what} (it holds {name})", where=folder, do="choose another folder"
            )
