"""Keep a command's files out of a folder that holds something else."""

from __future__ import annotations

from pathlib import Path

from darnet_trt.bundle.manifest import FILE_NAME
from darnet_trt.errors import UsageError
from darnet_trt.scan.cohorts import TABLE


def refuse_bundle_or_cohort(folder: Path) -> None:
    """Raise UsageError if the folder to write into is a bundle or a cohort."""
    for name, what in ((FILE_NAME, "bundle"), (TABLE, "cohort")):
        if (folder / name).exists():
            raise UsageError(
                f"is a {what} (it holds {name})", where=folder, do="choose another folder"
            )
