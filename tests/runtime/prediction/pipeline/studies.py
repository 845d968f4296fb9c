"""Copies of one scan as studies of their own, and functions that end the process they run in."""

import os
import signal
import time
from pathlib import Path
from typing import Any

import pydicom

from darnet_trt.runtime.delivery.objects import make as objects
from darnet_trt.runtime.prediction.pipeline import making
from darnet_trt.runtime.prediction.results.result import Result
from darnet_trt.scan.discovery.examine import Examined, examine
from darnet_trt.scan.discovery.gather import Gathered, gather
from darnet_trt.scan.discovery.walk import Listing


def write_study(scan: Path, folder: Path, number: int, *, slices: slice = slice(None)) -> Path:
    """Write some slices of a scan with UIDs that follow from the number."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in sorted(scan.iterdir())[slices]:
        header = pydicom.dcmread(file)
        header.StudyInstanceUID = f"2.25.{number}"
        header.SeriesInstanceUID = f"2.25.{number}.1"
        header.SOPInstanceUID = f"2.25.{number}.1.{header.InstanceNumber}"
        header.file_meta.MediaStorageSOPInstanceUID = header.SOPInstanceUID
        header.save_as(folder / file.name)
    return folder


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def examine_or_die(listing: Listing) -> Examined:
    """Die at a file named "poison", and once where a file named "once" lies beside."""
    for file in listing.files:
        if file.path.name == "poison":
            os.kill(os.getpid(), signal.SIGSEGV)
        if file.path.name == "once" and file.path.exists():
            file.path.unlink()
            die()
    return examine(listing)


def gather_or_die(examined: list[Examined], *more: Any) -> Gathered:
    """Die at a folder named "poison", and once at one that holds a file named "once"."""
    for one in examined:
        if one.listing_folder.name == "poison" and one.dicom:
            os.kill(os.getpid(), signal.SIGSEGV)
        if (once := one.listing_folder / "once").exists():
            once.unlink()
            die()
    return gather(examined, *more)


def make_when(file: Path, *arguments: Any) -> Any:
    """Make objects when a file exists."""
    end = time.monotonic() + 60
    while not file.exists():
        if time.monotonic() > end:
            raise TimeoutError
        time.sleep(0.02)
    return making.make(*arguments)


def make_or_die(result: Result, *arguments: Any) -> Any:
    """Die at a study named "poison"."""
    if result.scan.endswith("poison"):
        die()
    return making.make(result, *arguments)


def make_without_map(*arguments: Any) -> Any:
    """Make objects with a library that cannot make maps."""
    real = objects.make_objects

    def no_map(result: Result, evidence: Any, source: Any, kinds: Any, *more: Any) -> Any:
        if "pm" in kinds:
            raise ValueError("no maps\nhere")
        return real(result, evidence, source, kinds, *more)

    objects.make_objects = no_map  # type: ignore[assignment]
    try:
        return making.make(*arguments)
    finally:
        objects.make_objects = real
