"""Say of every file of a study what became of it: used, left out or refused, and why.

A file was used where the result's structured report names it as evidence: it belongs to the series
that was classified.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from darnet_trt.errors import ScanError
from darnet_trt.runtime.serving.views import Fate, InstanceView
from darnet_trt.scan.dicom.header import read_headers
from darnet_trt.scan.series import Series, Study

if TYPE_CHECKING:
    from darnet_trt.runtime.prediction.results.result import Result

CONFLICT: Final = "another file with the same SOPInstanceUID and other content came before it"
"""Why a file is refused that has the SOPInstanceUID (0008,0018) of another one."""
ELSEWHERE: Final = "a file with the same SOPInstanceUID came in another study before it"
"""The same where that one is of another study."""
LOST: Final = "no study could be made of it"
_NO_SLICES: Final = frozenset({"not-ct", "radiograph", "secondary-capture", "no-modality"})
"""Codes of verdicts on files that are no CT slices."""
_UID: Final = re.compile(r"[0-9.]{1,64}")


@dataclass(frozen=True)
class Note:
    """What is known of a file before anything is classified.

    Attributes:
        sop_uid: SOPInstanceUID (0008,0018); empty where it has none that can be read.
        key: Of the study's part that it belongs to; empty where it belongs to none.
        series: The first file of each series that it is in; none: it was left out of its series.
        fate: What becomes of it unless it is used; None: that depends on the result.
        why: The reason of that.
    """

    sop_uid: str
    key: str
    series: tuple[str, ...] = ()
    fate: Fate | None = None
    why: str = ""


def noted(
    found: Sequence[tuple[str, bytes, Sequence[str]]],
    unread: Sequence[bytes],
    files: Sequence[str],
    apart: Mapping[str, str],
    folder: Path,
    read: bool,
) -> dict[str, Note]:
    """Return what is known of each file of a folder; runs in a process of the pool.

    Args:
        found: Of each study its key, its pickled `Study` and the names of all its files.
        unread: The pickled `Study` of each file that cannot be read, or of the whole folder.
        files: The names of all files.
        apart: Name → why a file was not looked at.
        folder: Where they lie.
        read: Whether to read files of which these do not say enough.
    """
    notes: dict[str, Note] = {}
    for key, pickled, own in found:
        notes |= _of_study(key, pickle.loads(pickled), own, folder, read)
    for pickled in unread:
        (series,) = pickle.loads(pickled).series
        names = files if folder in series.files else [file.name for file in series.files]
        for name in names:
            if name not in notes and name not in apart:
                notes[name] = _refused(folder / name, series.verdict.reason, read)
    for name in files:
        if name not in notes:
            notes[name] = _refused(folder / name, apart.get(name, LOST), read)
    return notes


def _refused(path: Path, why: str, read: bool, key: str = "") -> Note:
    return Note(sop_uid_of(path) if read else "", key, fate="refused", why=why)


def _of_study(
    key: str, study: Study, files: Sequence[str], folder: Path, read: bool
) -> dict[str, Note]:
    series_of: dict[str, list[Series]] = {}
    uids: dict[str, str] = {}
    for series in study.series:
        for header in series.headers:
            uids.setdefault(header.path.name, header.get("SOPInstanceUID", ""))
        for file in series.files:
            series_of.setdefault(file.name, []).append(series)
    notes = {}
    for name in files:
        own = series_of.get(name, [])
        if not own:
            notes[name] = _left_out(key, study, folder / name, read)
            continue
        named = tuple(dict.fromkeys(series.files[0].name for series in own))
        usable = any(series.verdict.usable for series in own)
        fate, why = (None, "") if usable else _of_verdict(own[0])
        notes[name] = Note(uids.get(name, ""), key, named, fate, why)
    return notes


def _of_verdict(series: Series) -> tuple[Fate, str]:
    reason = series.verdict.reason
    no_slice = reason.code in _NO_SLICES or not series.verdict.readable
    return "refused" if no_slice else "left out", reason


def _left_out(key: str, study: Study, path: Path, read: bool) -> Note:
    """Return what is known of a file that was left out of its series: a copy, or a damaged one."""
    if not read:
        return _refused(path, LOST, read, key)
    try:
        header = read_headers(path)[0]
    except ScanError as error:
        return _refused(path, error.what, read, key)
    uid = header.get("SOPInstanceUID", "")
    if header.defect:
        return Note(uid, key, fate="refused", why=header.defect)
    of_it = [s for s in study.series if s.uid == header.get("SeriesInstanceUID", "")]
    remarks = dict.fromkeys(str(remark) for series in of_it for remark in series.verdict.warnings)
    why = "; ".join(["left out of its series", *remarks])
    return Note(uid, key, fate="left out", why=why)


def sop_uid_of(path: Path) -> str:
    """Return the SOPInstanceUID (0008,0018) of a file, as far as it can be read; else empty."""
    from pydicom import dcmread

    if path.suffix != ".dcm":
        return ""
    try:
        header = dcmread(path, stop_before_pixels=True, specific_tags=["SOPInstanceUID"])
        uid = str(header.get("SOPInstanceUID") or header.file_meta.MediaStorageSOPInstanceUID)
    except Exception:  # the file is broken in whatever way
        return ""
    return uid if _UID.fullmatch(uid) else ""


def settled(
    notes: Mapping[str, Note],
    files: Iterable[str],
    results: Sequence[tuple[str, Result, str]],
) -> dict[str, InstanceView]:
    """Return what became of each file.

    Args:
        notes: From `noted`.
        files: All names.
        results: Of each the key that `notes` has, the result, and the first file of the series
            that was chosen; empty where none was. A file of no study counts to the first one.
    """
    by_key = {key: (result, first) for key, result, first in results}
    first_result = results[0][1]
    views = {}
    for name in files:
        note = notes[name]
        result, chosen = by_key.get(note.key, (first_result, ""))
        fate, why = _fate(note, result, chosen)
        views[name] = InstanceView(sop_uid=note.sop_uid, fate=fate, why=why, result=result.key)
    return views


def _fate(note: Note, result: Result, chosen: str) -> tuple[Fate, str]:
    if result.status != "ok":
        return "refused", note.why or result.reason
    if chosen in note.series:
        return "used", ""
    if note.fate is not None:
        return note.fate, note.why
    series = result.series
    number = "" if series is None or series.number is None else f" {series.number}"
    why = "another one" if series is None else series.why
    return "left out", f"series{number} of the study was classified instead: {why}"
