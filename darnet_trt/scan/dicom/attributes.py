"""The DICOM attributes that reading a CT needs, and their plain Python values.

pydicom converts each distinct value once: within a series nearly all repeat.
"""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Final

from darnet_trt.errors import one_line

WANTED: Final[dict[int, str]] = {
    0x00080005: "SpecificCharacterSet",
    0x00080008: "ImageType",
    0x00080016: "SOPClassUID",
    0x00080018: "SOPInstanceUID",
    0x00080020: "StudyDate",
    0x00080022: "AcquisitionDate",
    0x0008002A: "AcquisitionDateTime",
    0x00080032: "AcquisitionTime",
    0x00080033: "ContentTime",
    0x00080050: "AccessionNumber",
    0x00080060: "Modality",
    0x0008103E: "SeriesDescription",
    0x00081090: "ManufacturerModelName",
    0x00083010: "IrradiationEventUID",
    0x00089007: "FrameType",
    0x00100020: "PatientID",
    0x00180010: "ContrastBolusAgent",
    0x00180050: "SliceThickness",
    0x00180060: "KVP",
    0x00181060: "TriggerTime",
    0x00181210: "ConvolutionKernel",
    0x0020000D: "StudyInstanceUID",
    0x0020000E: "SeriesInstanceUID",
    0x00200011: "SeriesNumber",
    0x00200012: "AcquisitionNumber",
    0x00200013: "InstanceNumber",
    0x00200032: "ImagePositionPatient",
    0x00200037: "ImageOrientationPatient",
    0x00200052: "FrameOfReferenceUID",
    0x00200100: "TemporalPositionIdentifier",
    0x00201002: "ImagesInAcquisition",
    0x00201041: "SliceLocation",
    0x00209056: "StackID",
    0x00209128: "TemporalPositionIndex",
    0x00209156: "FrameAcquisitionNumber",
    0x00209161: "ConcatenationUID",
    0x00209241: "NominalPercentageOfCardiacPhase",
    0x00280002: "SamplesPerPixel",
    0x00280004: "PhotometricInterpretation",
    0x00280008: "NumberOfFrames",
    0x00280010: "Rows",
    0x00280011: "Columns",
    0x00280030: "PixelSpacing",
    0x00280100: "BitsAllocated",
    0x00280101: "BitsStored",
    0x00280102: "HighBit",
    0x00280103: "PixelRepresentation",
    0x00280120: "PixelPaddingValue",
    0x00280121: "PixelPaddingRangeLimit",
    0x00281052: "RescaleIntercept",
    0x00281053: "RescaleSlope",
    0x00281054: "RescaleType",
    0x00282110: "LossyImageCompression",
}

LUT: Final = 0x00283000
"""ModalityLUTSequence; only whether there is one is wanted."""
SHARED, PER_FRAME = 0x52009229, 0x52009230
"""SharedFunctionalGroupsSequence and PerFrameFunctionalGroupsSequence (PS3.3 C.7.6.16)."""
FRAME_GROUPS: Final = frozenset(
    {
        SHARED,
        PER_FRAME,
        0x00209113,  # PlanePositionSequence
        0x00209116,  # PlaneOrientationSequence
        0x00289110,  # PixelMeasuresSequence
        0x00289145,  # PixelValueTransformationSequence
        0x00209111,  # FrameContentSequence
        0x00189329,  # CTImageFrameTypeSequence
        0x00189314,  # CTReconstructionSequence
        0x00209170,  # UnassignedSharedConvertedAttributesSequence, of legacy converted CT
        0x00209171,  # UnassignedPerFrameConvertedAttributesSequence
    }
)
"""Sequences whose items hold what a classic header holds itself."""
_FRAME_S_OWN: Final = {"FrameType": "ImageType", "FrameAcquisitionNumber": "AcquisitionNumber"}
"""A frame's keyword → that of a classic image."""

_LISTS: Final = frozenset({"ImageType", "FrameType", "ConvolutionKernel", "SpecificCharacterSet"})
_VECTORS: Final = {"ImagePositionPatient": 3, "ImageOrientationPatient": 6, "PixelSpacing": 2}
_LARGEST: Final = {  # a larger value is a mistake, and computing with it would overflow
    "ImagePositionPatient": 1e5,  # mm; a scanner's own coordinates end some metres from its centre
    "ImageOrientationPatient": 1.1,
    "PixelSpacing": 1e5,
    "SliceThickness": 1e5,
    "RescaleSlope": 1e5,
    "RescaleIntercept": 1e5,
}
_WHOLE: Final = frozenset(
    {
        "SeriesNumber", "AcquisitionNumber", "FrameAcquisitionNumber", "TemporalPositionIndex",
        "ImagesInAcquisition",
        "SamplesPerPixel", "NumberOfFrames", "Rows", "Columns", "BitsAllocated", "BitsStored",
        "HighBit", "PixelRepresentation", "PixelPaddingValue", "PixelPaddingRangeLimit",
    }
)  # fmt: skip
_NUMBERS: Final = frozenset({"SliceThickness", "RescaleIntercept", "RescaleSlope"})

_CHARACTER_SET, _PIXEL_REPRESENTATION = 0x00080005, 0x00280103
_SIGN_DEPENDENT = (0x00280120, 0x00280121)


def convert(
    raw: Mapping[int, tuple[str | None, bytes]], *, implicit: bool, big_endian: bool
) -> dict[str, Any]:
    """Convert a data set's raw elements, tag → (VR or None, bytes), to values by keyword."""
    charset = raw.get(_CHARACTER_SET, (None, b""))[1]
    sign = raw.get(_PIXEL_REPRESENTATION, (None, b""))[1]
    values = {}
    for tag, (vr, value) in raw.items():
        plain: Any = True
        if tag in _UNIQUE:
            plain = _UNIQUE[tag](value)
        elif tag != LUT:
            own_sign = sign if tag in _SIGN_DEPENDENT else b""
            plain = _convert_one(tag, vr, value, charset, implicit, big_endian, own_sign)
        if plain is not None:
            values[WANTED.get(tag, "ModalityLUTSequence")] = plain
    return values


def of_frame(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a frame's own values under the keywords of a classic image."""
    return {_FRAME_S_OWN.get(keyword, keyword): value for keyword, value in values.items()}


@functools.lru_cache(maxsize=1 << 10)
def _convert_one(
    tag: int,
    vr: str | None,
    value: bytes,
    charset: bytes,
    implicit: bool,
    big_endian: bool,
    sign: bytes,
) -> Any:
    """Return pydicom's value of an element; the cache pays because values repeat."""
    raw = {tag: (vr, value)}
    if sign:
        raw[_PIXEL_REPRESENTATION] = "US", sign
    dataset = raw_dataset(raw, charset, implicit=implicit, big_endian=big_endian)
    return plain_value(dataset, tag)


def raw_dataset(
    raw: Mapping[int, tuple[str | None, bytes]], charset: bytes, *, implicit: bool, big_endian: bool
) -> Any:
    """Return a pydicom data set of raw elements, which it converts where they are asked for.

    Args:
        raw: Tag → (VR or None, bytes).
        charset: Value of SpecificCharacterSet (0008,0005).
        implicit: Whether they are written without VRs.
        big_endian: Their byte order.
    """
    from pydicom.dataelem import RawDataElement
    from pydicom.dataset import Dataset
    from pydicom.tag import BaseTag

    dataset = Dataset()
    dataset.set_original_encoding(implicit, not big_endian, _encodings(charset))
    for tag, (vr, value) in raw.items():
        dataset[BaseTag(tag)] = RawDataElement(
            BaseTag(tag), vr, len(value), value, 0, vr is None, not big_endian
        )
    return dataset


def _text(value: bytes) -> str | None:
    text = value.strip(b"\0 ").decode("iso8859")
    return (text if text.isprintable() else one_line(text)) or None


def _vector(value: bytes) -> tuple[float, ...] | None:
    try:
        numbers = tuple(map(float, value.rstrip(b"\0 ").split(b"\\")))
    except ValueError:
        return None
    return numbers if _is_vector(numbers, "ImagePositionPatient") else None


_UNIQUE: Final[dict[int, Callable[[bytes], Any]]] = {
    0x00080018: _text, 0x00080022: _text, 0x0008002A: _text, 0x00080032: _text, 0x00080033: _text,
    0x00083010: _text, 0x00181060: _text, 0x00200013: _text, 0x00200032: _vector,
    0x00201041: _text,
}  # fmt: skip
"""Convert what differs from slice to slice; a cache would not pay."""


@functools.lru_cache
def _encodings(charset: bytes) -> Any:
    from pydicom.charset import convert_encodings

    names = charset.decode("iso8859", "replace").strip("\0 ").split("\\")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an unknown character set reads as ASCII
        try:
            return convert_encodings([name.strip() for name in names])
        except (LookupError, ValueError):  # a name that no codec has, or that cannot be one
            return None


def plain_value(dataset: Any, tag: int) -> Any:
    """Return an element's value without pydicom's types; None where it is empty or malformed."""
    from pydicom import config

    with warnings.catch_warnings(), config.disable_value_validation():
        warnings.simplefilter("ignore")  # a value that breaks its VR's rules reads as it stands
        try:
            return _shaped(WANTED[tag], _plain(dataset[tag].value))
        except Exception:  # pydicom fails in a dozen ways at values that break their VR's rules
            return None


def _shaped(keyword: str, value: Any) -> Any:
    """Return the value if it is of the kind that its attribute has, else None."""
    if keyword in _VECTORS:
        right = isinstance(value, tuple) and _is_vector(value, keyword)
        return tuple(map(float, value)) if right else None
    if keyword in _WHOLE:
        return value if isinstance(value, int) else None
    if keyword in _NUMBERS:
        return value if _is_number(value, keyword) else None
    if value is None:
        return None
    parts = tuple(str(part or "") for part in (value if isinstance(value, tuple) else (value,)))
    return parts if keyword in _LISTS else "\\".join(parts)


def _is_vector(value: tuple[Any, ...], keyword: str) -> bool:
    return len(value) == _VECTORS[keyword] and all(_is_number(v, keyword) for v in value)


def _is_number(value: Any, keyword: str) -> bool:
    if not (isinstance(value, int | float) and math.isfinite(value)):
        return False
    return abs(value) <= _LARGEST.get(keyword, math.inf)


def _plain(value: Any) -> Any:
    from pydicom.multival import MultiValue

    if isinstance(value, MultiValue | list | tuple):
        parts = tuple(_plain(part) for part in value)
        return parts if any(part is not None for part in parts) else None
    if isinstance(value, bool | bytes) or value is None:
        return value or None
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float | Decimal):
        return float(value)
    return one_line(str(value)) or None
