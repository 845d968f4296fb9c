"""The DICOM objects of results, as files below `dicom` in the output folder.

Each result has a folder of its own, whose name follows from the objects' bytes: others of the same
study are never written over the files that a line still names.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from darnet_trt.machine.files import cannot_write, keep_names, whole_file
from darnet_trt.runtime.prediction.results.names import result_name, short_hash
from darnet_trt.runtime.prediction.results.result import DicomObject, Made, Result
from darnet_trt.scan.discovery import OBJECTS_SUFFIX

FOLDER: Final = "dicom"

_OURS: Final = re.compile(
    rf"{FOLDER}/[^/]+_[0-9a-f]{{8}}{re.escape(OBJECTS_SUFFIX)}/"
    r"([a-z]+\.dcm|\.[a-z]+\.dcm\.[0-9]+|)"
)
"""What we write, also as `whole_file` names it until it is whole; or a result's empty folder."""


def named(result: Result) -> tuple[DicomObject, ...]:
    """Return how the objects of `Result.made` are named: "dicom/…_1cf44c9d.objects/sr.dcm"."""
    content = short_hash(b"".join(made.content for made in result.made))
    name = f"{result_name(result)}_{content}{OBJECTS_SUFFIX}"
    return tuple(
        DicomObject(
            kind=made.kind,
            sop_class=made.sop_class,
            sop_uid=made.sop_uid,
            series_uid=made.series_uid,
            file=f"{FOLDER}/{name}/{made.kind}.dcm",
        )
        for made in result.made
    )


def write_objects(
    folder: Path, objects: Sequence[DicomObject], contents: Sequence[Made], *, durable: bool
) -> None:
    """Write objects; only their owner may read them: they name the patient.

    Args:
        folder: Of the results.
        objects: From `named`.
        contents: `Result.made`, of which `named` took the names.
        durable: Whether to have them on the disk when this returns.

    Raises:
        OutputError: They cannot be written.
    """
    for each, made in zip(objects, contents, strict=True):
        _make_folder((folder / each.file).parent, durable=durable)
        with whole_file(folder / each.file, private=True, durable=durable) as file:
            file.write(made.content)


def _make_folder(of_result: Path, *, durable: bool) -> None:
    try:
        for folder in (of_result.parent, of_result):
            if not folder.is_dir():
                folder.mkdir(mode=0o700)
                if durable:
                    keep_names(folder.parent)
    except OSError as error:
        raise cannot_write(of_result, error) from error


def written(folder: Path) -> Iterator[str]:
    """Yield the name of every object below a folder of results, whole or not, relative to it.

    A result's folder without any is named with a slash at its end.

    Raises:
        OSError: A folder cannot be listed.
    """
    for of_result in _listed(folder / FOLDER):
        for name in _listed(folder / FOLDER / of_result) or [""]:
            if _OURS.fullmatch(found := f"{FOLDER}/{of_result}/{name}"):
                yield found


def _listed(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))  # noqa: PTH208 (names are enough)
    except (FileNotFoundError, NotADirectoryError):
        return []


def remove_objects(folder: Path, names: Iterable[str]) -> None:
    """Remove objects, and folders that hold nothing more; a person may have done so before.

    Args:
        folder: Of the results.
        names: From `written` or `DicomObject.file`; others are left alone.
    """
    for name in filter(_OURS.fullmatch, names):
        with suppress(OSError):
            (folder / name).unlink()
        for empty in (folder / name.rpartition("/")[0], folder / FOLDER):
            with suppress(OSError):
                empty.rmdir()
