"""Say what a study is, wherever it lies, and what was found of it.

A key stays the same when files are moved, copied or renamed and when slices come; the content
changes with every slice that comes, and with one that was cut and is whole now.
"""

from __future__ import annotations

import hashlib
import math
import os
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from darnet_trt.errors import ScanError
from darnet_trt.machine.archives import archive_of, open_file
from darnet_trt.scan.dicom.header import Header
from darnet_trt.scan.series import Study

_DIGITS: Final = 32
_PATIENT_DIGITS: Final = 16
_PLACE: Final = struct.Struct(">3d").pack
_BLOCK: Final = 1 << 20


@dataclass(frozen=True)
class Person:
    """Whom a study is of, as its headers say; empty where they do not.

    Attributes:
        patient_id: PatientID (0010,0020).
        accession_number: AccessionNumber (0008,0050).
        study_date: StudyDate (0008,0020), YYYYMMDD.
    """

    patient_id: str = ""
    accession_number: str = ""
    study_date: str = ""


@dataclass(frozen=True)
class Identity:
    """What a study is.

    Attributes:
        key: As of `FoundStudy`.
        content: As of `FoundStudy`.
        person: Whom it is of.
    """

    key: str
    content: str
    person: Person = Person()


def of_dicom(study: Study, headers: Sequence[Header], *, alone: bool) -> Identity:
    """Return what a study of DICOM files is.

    Where it has no StudyInstanceUID (0020,000D), or each file its own, it is known by the
    SOPInstanceUID (0008,0018) of its first slice: the lowest SeriesNumber, InstanceNumber and
    position. What comes later is most often a later slice.

    Args:
        study: The study.
        headers: Of all its files.
        alone: Whether no other patient has the same StudyInstanceUID.
    """
    useless = {id(h) for own in study.series if own.stack is None for h in own.headers}
    counted = [h for h in headers if h.defect or id(h) not in useless] or headers
    uids = {header.values.get("StudyInstanceUID") for header in counted}
    if len(uids) == 1 and None not in uids:
        patient = "" if alone else f"/{_hash([study.patient_id])[:_PATIENT_DIGITS]}"
        key = f"study:{uids.pop()}{patient}"
    else:
        first = min(counted, key=_order)
        one = len({h.get("SOPInstanceUID") for h in counted}) == 1 < len(counted)
        uid = "" if one else first.get("SOPInstanceUID", "")
        key = f"slices:{_hash([uid or _all(first)])}"
    accession, date = (_lowest(counted, name) for name in ("AccessionNumber", "StudyDate"))
    return Identity(key, _hash([_slices(counted)]), Person(study.patient_id, accession, date))


def key_of(study: Study) -> str:
    """Return the key of a study that was found by itself, as of `FoundStudy`."""
    headers = [header for series in study.series for header in series.headers]
    if headers:
        return of_dicom(study, headers, alone=True).key
    return of_files(study, study.path.parent).key


def _lowest(headers: Iterable[Header], keyword: str) -> str:
    """Return an attribute's value; of several the first in order, empty where there is none."""
    return min({str(header.values.get(keyword) or "") for header in headers} - {""}, default="")


def _order(header: Header) -> tuple[Any, ...]:
    position = header.get("ImagePositionPatient") or (math.inf,) * 3
    number = header.get("SeriesNumber")
    return (
        math.inf if number is None else number,
        _number(header.get("InstanceNumber")),
        header.frame or 0,
        position[::-1],
        header.get("SOPInstanceUID", ""),
    )


def _number(text: str | None) -> float:
    try:
        number = float(text or "")
    except ValueError:
        return math.inf
    return number if math.isfinite(number) else math.inf


def _slices(headers: Iterable[Header]) -> bytes:
    """Return a line of each slice; a copy of one adds nothing, unless it alone is whole."""
    defects: dict[bytes, str] = {}
    for header in headers:
        values = header.values
        uid = values.get("SOPInstanceUID") or _all(header)
        what = os.fsencode(f"{uid}\n{header.frame}\n{values.get('InstanceNumber')}\n")
        if position := values.get("ImagePositionPatient"):
            what += _PLACE(*position)  # its text would take longer than all else
        defect = header.defect.code if header.defect else ""
        defects[what] = min(defect, defects.get(what, defect))
    return b"\n".join(what + defects[what].encode() for what in sorted(defects))


def _all(header: Header) -> str:
    return repr(sorted(header.values.items()))


def of_files(study: Study, root: Path, number: int = 0) -> Identity:
    """Return what a study of another format is, or what cannot be read.

    Args:
        study: The study.
        root: Of the place that it lies in.
        number: Of what is wrong with this path: a DICOMDIR can list several wrong files.
    """
    if any(series.verdict.readable for series in study.series):
        try:
            return _of_bytes([file for series in study.series for file in series.files])
        except (OSError, ScanError, EOFError):
            pass
    place = [os.path.relpath(study.path, root), *([str(number)] if number else [])]
    code = study.series[0].verdict.reason.code
    return Identity(f"path:{_hash(place)}", _hash([code, *_state(study.path)]))


def _of_bytes(files: Sequence[Path]) -> Identity:
    """Return the key, of the bytes in the order of the names, and the content, of both.

    Raises:
        OSError, EOFError: A file cannot be read.
        ScanError: It lies in a broken archive.
    """
    digests = []
    for file in files:
        with open_file(file) as stream:
            digest = hashlib.sha256()
            while block := stream.read(_BLOCK):
                digest.update(block)
        digests.append(digest.hexdigest())
    names = [file.name for file in files] if len(files) > 1 else []
    return Identity(f"content:{_hash(digests)}", _hash([*digests, *names]))


def _state(path: Path) -> list[str]:
    """Return size and time of a file or folder, or of the archive that it lies in."""
    try:
        status = os.stat(path if os.path.lexists(path) else archive_of(path) or path)  # noqa: PTH116
    except OSError:
        return []
    return [str(status.st_size), str(status.st_mtime_ns)]


def _hash(parts: Iterable[str | bytes]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(os.fsencode(part))
        digest.update(b"\n")
    return digest.hexdigest()[:_DIGITS]
