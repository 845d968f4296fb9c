"""Functions that end the process they run in, at a file that holds b"poison"."""

import os
import pickle
import signal
from pathlib import Path
from typing import Any

from darnet_trt.errors import Finding, UnreadableScanError
from darnet_trt.runtime.prediction.pipeline import loading
from darnet_trt.runtime.serving.studies import fates
from darnet_trt.scan.discovery.examine import Examined, examine
from darnet_trt.scan.discovery.gather import Gathered, gather
from darnet_trt.scan.discovery.walk import Listing


def _die_at(files: list[Path]) -> None:
    for file in files:
        if b"poison" in file.read_bytes():
            os.kill(os.getpid(), signal.SIGSEGV)


def examine_or_die(listing: Listing) -> Examined:
    _die_at([file.path for file in listing.files])
    return examine(listing)


def gather_or_die(examined: list[Examined], *more: Any) -> Gathered:
    _die_at([file for one in examined if one.dicom for file in one.listing_folder.iterdir()])
    return gather(examined, *more)


def noted_or_die(
    found: Any, unread: Any, files: Any, apart: Any, folder: Path, read: bool
) -> dict[str, fates.Note]:
    if read:
        _die_at([folder / name for name in files])
    return fates.noted(found, unread, files, apart, folder, read)


def load_or_fail(pickled: bytes, *arguments: Any) -> loading.Read:
    """Fail for a reason that passes while the state folder holds a file named "broken disk"."""
    if (pickle.loads(pickled).path.parents[1] / "broken disk").exists():
        error = UnreadableScanError(Finding("disk-error", "cannot be read (Input/output error)"))
        return loading.Read(error=error)
    return loading.load(pickled, *arguments)
