"""The attributes that objects take over from a study, and how invalid ones are mended.

Every value is made valid by its VR (PS3.5 section 6.2). Texts are cut, an identifier that would
have to be cut is left empty: a part of one may be somebody else's.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

from darnet_trt.errors import Finding
from darnet_trt.machine.archives import open_file
from darnet_trt.scan.dicom.header import Header

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

TYPE_2: Final = (
    "StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName", "PatientName",
    "PatientID", "PatientBirthDate", "PatientSex", "StudyID",
)  # fmt: skip
"""What an object has even where it is not known: then it is empty (PS3.3 C.7.1.1, C.7.2.1)."""
TYPE_3: Final = (
    "TimezoneOffsetFromUTC", "StudyDescription", "IssuerOfPatientID", "PatientAge",
    "PositionReferenceIndicator",
)  # fmt: skip
"""What an object has only where the study has it."""

_UID: Final = re.compile(r"(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))+")
_LONGEST: Final = {"LO": 64, "SH": 16, "PN": 64, "CS": 16}


@dataclass(frozen=True)
class TakenOver:
    """What a header gives.

    Attributes:
        header: A data set, Explicit VR Little Endian.
        mended: Keywords of what was missing or invalid.
    """

    header: bytes
    mended: tuple[str, ...]


def is_uid(text: str) -> bool:
    """Return whether a text is a UID (PS3.5 section 9.1)."""
    return len(text) <= 64 and _UID.fullmatch(text) is not None


def taken_over(header: Header) -> TakenOver | Finding:
    """Read a file again for what objects take over, or return why there can be none.

    Args:
        header: The file's; of an enhanced file, that of a frame.
    """
    from pydicom.dataset import Dataset

    if not is_uid(str(header.get("StudyInstanceUID", ""))):
        return Finding("study-uid", f"{header.name} has no valid StudyInstanceUID")
    try:
        read = _read(header)
    except Exception as error:  # pydicom fails in a dozen ways
        return Finding("header", f"the header of {header.name} cannot be read ({error})")
    made, mended = Dataset(), list[str]()
    made.SpecificCharacterSet = "ISO_IR 192"
    for keyword in (*TYPE_2, *TYPE_3):
        raw = _text(read, keyword)
        value = _valid(keyword, raw)
        if keyword == "PatientID" and value != raw.strip():
            return Finding("patient-id", "PatientID is longer than 64 characters, or no text")
        if value != raw.strip() or (keyword in TYPE_2 and keyword not in read):
            mended.append(keyword)
        if value or keyword in TYPE_2:
            setattr(made, keyword, value)
    made.StudyInstanceUID = header.get("StudyInstanceUID")
    if is_uid(str(header.get("FrameOfReferenceUID", ""))):
        made.FrameOfReferenceUID = header.get("FrameOfReferenceUID")
    _add_geometry(made, header)
    from pydicom.filebase import DicomBytesIO
    from pydicom.filewriter import write_dataset

    stream = DicomBytesIO()
    stream.is_little_endian, stream.is_implicit_VR = True, False
    write_dataset(stream, made)
    return TakenOver(stream.getvalue(), tuple(mended))


def _read(header: Header) -> Dataset:
    from pydicom import dcmread

    with warnings.catch_warnings(), open_file(header.path) as stream:
        warnings.simplefilter("ignore")
        return dcmread(
            stream,
            stop_before_pixels=True,
            force=True,
            specific_tags=["SpecificCharacterSet", *TYPE_2, *TYPE_3],
        )


def _text(read: Dataset, keyword: str) -> str:
    """Return a value as text, without control characters."""
    from pydicom import config

    with warnings.catch_warnings(), config.disable_value_validation():
        warnings.simplefilter("ignore")
        try:
            value = read.get(keyword)
        except Exception:
            return ""
    text = "" if value is None else str(value)
    return "".join(c for c in text if c.isprintable())


def _valid(keyword: str, text: str) -> str:
    from pydicom.datadict import dictionary_VR

    text = text.strip()
    vr = dictionary_VR(keyword)
    if vr == "PN":
        return _name(text)
    if keyword == "PatientSex":
        return text if text in ("M", "F", "O") else ""
    if keyword == "TimezoneOffsetFromUTC":
        return text if re.fullmatch(r"[+-](0[0-9]|1[0-4])[0-5][0-9]", text) else ""
    if vr == "DA":
        return _date(text)
    if vr == "TM":
        return _time(text)
    if vr == "AS":
        return text if re.fullmatch(r"[0-9]{3}[DWMY]", text) else ""
    if "\\" in text:
        return ""
    if keyword == "StudyDescription":
        return text[: _LONGEST[vr]].strip()
    return text if len(text) <= _LONGEST[vr] else ""


def _name(text: str) -> str:
    groups = text.replace("\\", " ").split("=")[:3]
    return "=".join("^".join(g.split("^")[:5])[: _LONGEST["PN"]].strip() for g in groups)


def _date(text: str) -> str:
    text = re.sub(r"([0-9]{4})[.-]([0-9]{2})[.-]([0-9]{2})", r"\1\2\3", text)
    return text if _parses(text, "%Y%m%d") and len(text) == 8 else ""


def _time(text: str) -> str:
    text = text.replace(":", "")
    whole = re.fullmatch(r"([01][0-9]|2[0-3])([0-5][0-9]([0-5][0-9](\.[0-9]{1,6})?)?)?", text)
    return text if whole else ""


def _parses(text: str, form: str) -> bool:
    try:
        datetime.strptime(text, form)
    except ValueError:
        return False
    return text.isdigit()


def _add_geometry(made: Dataset, header: Header) -> None:
    """Add what all slices of the series share."""
    from pydicom.valuerep import format_number_as_ds

    for keyword in ("Rows", "Columns"):
        if header.get(keyword):
            setattr(made, keyword, header.get(keyword))
    for keyword in ("PixelSpacing", "ImageOrientationPatient"):
        if header.get(keyword):
            setattr(made, keyword, [format_number_as_ds(v) for v in header.get(keyword)])
    if header.get("SliceThickness"):
        made.SliceThickness = format_number_as_ds(header.get("SliceThickness"))
