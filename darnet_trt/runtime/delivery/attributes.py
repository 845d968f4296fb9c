"""The attributes that objects take over from a study, and how invalid ones are mended.

Each value is made valid by its VR (PS3.5 section 6.2). A description or a name is cut. An
identifier that would have to be cut is left empty: a part of one may be somebody else's. Where that
is the PatientID, nothing is made.
"""

from __future__ import annotations

import re
import unicodedata
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from darnet_trt.scan.dicom.attributes import raw_dataset
from darnet_trt.scan.dicom.header import Header, read_elements

if TYPE_CHECKING:
    from pydicom.dataset import Dataset
    from pydicom.valuerep import DSfloat

_CHARACTER_SET: Final = 0x00080005
_UNREAD: Final = "\ufffd"
"""Stands for bytes that are no text in the character set."""

_UID: Final = re.compile(r"(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))+")
_TIME: Final = re.compile(r"([01][0-9]|2[0-3])([0-5][0-9](([0-5][0-9]|60)(\.[0-9]{1,6})?)?)?")
_OFFSET: Final = re.compile(r"[+-](0[0-9]|1[0-4])[0-5][0-9]")
_AGE: Final = re.compile(r"[0-9]{3}[DWMY]")
_OLD_DATE: Final = re.compile(r"([0-9]{4})\.([0-9]{2})\.([0-9]{2})")


@dataclass(frozen=True)
class TakenOver:
    """Holds what objects take over from a file.

    Attributes:
        header: A data set, Explicit VR Little Endian, UTF-8.
        mended: Keywords of the attributes that were missing or invalid.
        placed: Whether its slices have one frame of reference.
    """

    header: bytes
    mended: tuple[str, ...]
    placed: bool


def is_uid(value: Any) -> bool:
    """Return whether a value is a UID (PS3.5 section 9.1)."""
    return isinstance(value, str) and len(value) <= 64 and _UID.fullmatch(value) is not None


def taken_over(headers: Sequence[Header]) -> TakenOver | str:
    """Read a file again for what objects take over, or return why there can be none.

    Args:
        headers: Of a series; the first file that names the patient is read.
    """
    from pydicom.dataset import Dataset

    named = [one for one in headers if one.get("PatientID")] or headers
    if len({one.get("PatientID") for one in named}) > 1:
        return "its slices name several patients (PatientID)"
    header = named[0]
    studies = {one.get("StudyInstanceUID") for one in headers}
    if len(studies) > 1 or not all(map(is_uid, studies)):
        return "its slices have no valid StudyInstanceUID in common"
    try:
        texts, declared = _texts(header)
    except Exception as error:  # the file has changed, or pydicom fails in one of a dozen ways
        return f"{header.name} cannot be read again ({error})"
    patient = texts.get("PatientID", "")
    if _long_identifier(patient) != patient:
        return "PatientID is no text of at most 64 characters in its character set"
    made, mended = Dataset(), list[str]()
    made.SpecificCharacterSet = "ISO_IR 192"
    for keyword, valid in (_TYPE_2 | _TYPE_3).items():
        raw = texts.get(keyword, "")
        value = valid(raw)
        if value != raw or (keyword in _TYPE_2 and keyword not in texts):
            mended.append(keyword)
        if value or keyword in _TYPE_2:
            setattr(made, keyword, value)
    if not declared and not all(text.isascii() for text in texts.values()):
        mended.append("SpecificCharacterSet")
    if "DeidentificationMethod" not in made and "PatientIdentityRemoved" in made:
        del made.PatientIdentityRemoved  # it asks for a method (PS3.3 C.7.1.1)
    made.StudyInstanceUID = header.get("StudyInstanceUID")
    frames = {one.get("FrameOfReferenceUID") for one in headers}
    if len(frames) == 1 and all(map(is_uid, frames)):
        made.FrameOfReferenceUID = header.get("FrameOfReferenceUID")
    _add_geometry(made, header)
    return TakenOver(_written(made), tuple(mended), "FrameOfReferenceUID" in made)


def _texts(header: Header) -> tuple[dict[str, str], bool]:
    """Return the values of a file by keyword, and whether its character set is one of DICOM's."""
    from pydicom import charset, config
    from pydicom.datadict import tag_for_keyword

    tags = {tag_for_keyword(keyword): keyword for keyword in _TYPE_2 | _TYPE_3}
    elements = read_elements(header.path, [*filter(None, tags), _CHARACTER_SET])
    _, named = elements.found.pop(_CHARACTER_SET, (None, b""))
    texts = {}
    with warnings.catch_warnings(), config.disable_value_validation():
        warnings.simplefilter("ignore")  # what is invalid is mended here
        read = raw_dataset(
            elements.found, named, implicit=elements.implicit, big_endian=elements.big_endian
        )
        for tag, keyword in tags.items():
            if tag in read:
                texts[keyword] = _text(read, tag)
    names = named.decode("latin-1").strip("\0 ").split("\\")
    known = all(name.strip() in charset.python_encoding for name in names)
    return texts, known and any(names)


def _text(read: Dataset, tag: Any) -> str:
    from pydicom.multival import MultiValue

    try:
        value = read[tag].value
    except Exception:  # of a value that breaks its VR's rules
        return _UNREAD
    values = value if isinstance(value, MultiValue | list | tuple) else [value]
    return "\\".join("" if one is None else str(one).strip() for one in values)


def _shown(text: str) -> str:
    """Return a text without what no DICOM text may hold: control characters, surrogates."""
    return "".join(c for c in text if unicodedata.category(c) not in ("Cc", "Cs")).strip()


def _cut(text: str) -> str:
    return _shown(text).replace("\\", " ")[:64].strip()


def _identifier(longest: int) -> Callable[[str], str]:
    def valid(text: str) -> str:
        whole = len(text) <= longest and "\\" not in text and _UNREAD not in text
        return text if whole and _shown(text) == text else ""

    return valid


_short_identifier, _long_identifier = _identifier(16), _identifier(64)


def _name(text: str) -> str:
    """Return a name of three groups of five components (PS3.5 section 6.2.1)."""
    groups = _shown(text).replace("\\", " ").split("=")[:3]
    parts = ["^".join(group.split("^")[:5])[:64].strip() for group in groups]
    return "=".join(parts) if any(part.strip("^") for part in parts) else ""


def _date(text: str) -> str:
    """Return a date as YYYYMMDD; old files write YYYY.MM.DD (PS3.5 section 6.2, DA)."""
    text = _OLD_DATE.sub(r"\1\2\3", text)
    if len(text) != 8 or not text.isdecimal() or not text.isascii():
        return ""
    try:
        datetime.strptime(text, "%Y%m%d")
    except ValueError:
        return ""
    return text


def _time(text: str) -> str:
    """Return a time as HHMMSS.FFFFFF, or less of it; old files write HH:MM:SS."""
    seconds, point, fraction = text.replace(":", "").partition(".")
    return _matching(_TIME)(seconds + point + fraction[:6])


def _matching(pattern: re.Pattern[str]) -> Callable[[str], str]:
    return lambda text: text if pattern.fullmatch(text) else ""


def _sex(text: str) -> str:
    return text.upper() if text.upper() in ("M", "F", "O") else ""


def _methods(text: str) -> str:
    return "\\".join(_cut(one) for one in text.split("\\"))


_TYPE_2: Final[dict[str, Callable[[str], str]]] = {
    "StudyDate": _date,
    "StudyTime": _time,
    "AccessionNumber": _short_identifier,
    "ReferringPhysicianName": _name,
    "PatientName": _name,
    "PatientID": _long_identifier,
    "PatientBirthDate": _date,
    "PatientSex": _sex,
    "StudyID": _short_identifier,
}
"""Lists what every object has; where it is not known, it is empty (PS3.3 C.7.1.1, C.7.2.1)."""
_TYPE_3: Final[dict[str, Callable[[str], str]]] = {
    "TimezoneOffsetFromUTC": _matching(_OFFSET),
    "StudyDescription": _cut,
    "IssuerOfPatientID": _long_identifier,
    "PatientAge": _matching(_AGE),
    "PatientIdentityRemoved": _matching(re.compile("YES|NO")),
    "DeidentificationMethod": _methods,
    "PositionReferenceIndicator": _cut,
}
"""Lists what an object has only where the study has it."""


def _add_geometry(made: Dataset, header: Header) -> None:
    """Add what all slices of the series share."""
    made.Rows, made.Columns = header.get("Rows"), header.get("Columns")
    for keyword in ("PixelSpacing", "ImageOrientationPatient"):
        if value := header.get(keyword):
            setattr(made, keyword, [decimal(one) for one in value])
    if (thickness := header.get("SliceThickness")) and thickness > 0:
        made.SliceThickness = decimal(thickness)


def decimal(value: float) -> DSfloat:
    """Return a number as the 16 characters of a decimal string (PS3.5 section 6.2, DS)."""
    from pydicom.valuerep import DSfloat

    return DSfloat(value, auto_format=True)


def _written(made: Dataset) -> bytes:
    from pydicom.filebase import DicomBytesIO
    from pydicom.filewriter import write_dataset

    stream = DicomBytesIO()
    stream.is_little_endian, stream.is_implicit_VR = True, False
    write_dataset(stream, made)
    return stream.getvalue()
