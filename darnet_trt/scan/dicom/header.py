"""The header of a DICOM file: the few attributes that reading a CT needs, and the pixels' place.

`elements.walk` finds both in plain files. pydicom reads every other file.
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from darnet_trt.errors import UnreadableScanError, cannot_open, cannot_read
from darnet_trt.scan.dicom.attributes import WANTED, convert, plain_value
from darnet_trt.scan.dicom.elements import (
    EXPLICIT,
    IMPLICIT,
    TooShortError,
    UnusualError,
    is_dicom,
    locate_pixels,
    walk,
)

FIRST_READ: Final = 1 << 16
"""Bytes read at first: holds nearly every classic CT header, and costs one system call."""
LARGEST_HEADER: Final = 1 << 24
"""Bytes; pydicom reads longer headers, which it does not need in one piece."""

_BITS: Final = {  # their product; where one is absent and has no default, the product is 0
    "Rows": 0, "Columns": 0, "BitsAllocated": 0, "SamplesPerPixel": 1, "NumberOfFrames": 1,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Header:
    """The header of one DICOM file.

    Attributes:
        path: The file.
        transfer_syntax: TransferSyntaxUID (0002,0010).
        values: Attribute keyword → str, int or float; a tuple of floats for positions, cosines
            and spacings, and of str for ImageType and ConvolutionKernel.
            Absent where the file has no such attribute, or an empty or malformed one.
        pixels: Byte (offset, length) of the pixel data: one for native pixels, one a fragment for
            encapsulated ones. None: let pydicom find them.
        defect: What is broken in a file whose header is readable; else empty.
    """

    path: Path
    transfer_syntax: str
    values: Mapping[str, Any]
    pixels: tuple[tuple[int, int], ...] | None
    defect: str = ""

    def get(self, keyword: str, default: Any = None) -> Any:
        """Return the value of an attribute, or the default."""
        return self.values.get(keyword, default)

    def read_pixels(self) -> list[bytes]:
        """Return the bytes of each part of `pixels`."""
        with self.path.open("rb") as stream:
            return [
                stream.read(length) for offset, length in self.pixels or () if stream.seek(offset)
            ]


def read_header(path: Path) -> Header:
    """Read one file's header.

    Raises:
        UnreadableScanError: Not a DICOM file, or broken before its pixels.
    """
    try:
        fd = os.open(path, os.O_RDONLY)
    except OSError as error:
        raise cannot_open(path, error) from error
    try:
        size = os.fstat(fd).st_size
        return _read(path, fd, size)
    except UnusualError:
        return _read_with_pydicom(path)
    except OSError as error:
        raise cannot_read(path, error) from error
    finally:
        os.close(fd)


def _read(path: Path, fd: int, size: int) -> Header:
    length = FIRST_READ
    while True:
        data = os.pread(fd, min(length, size), 0)
        if not is_dicom(data):
            raise UnreadableScanError("is not a DICOM file", where=path)
        try:
            syntax, implicit, raw, pixel_head = walk(data, size)
            break
        except TooShortError:
            if len(data) >= size or length >= LARGEST_HEADER:
                raise UnusualError from None
            length *= 4
    values = convert(raw, implicit)
    pixels, defect = locate_pixels(fd, data, size, pixel_head)
    if pixels is not None and not defect and syntax in (IMPLICIT, EXPLICIT):
        bits = math.prod(values.get(keyword, default) for keyword, default in _BITS.items())
        if pixels[0][1] < int(bits) // 8:
            defect = f"truncated: {pixels[0][1]} of {int(bits) // 8} bytes of pixels"
    return Header(path, syntax, values, pixels, defect)


def _read_with_pydicom(path: Path) -> Header:
    """Read a header with pydicom, which knows every encoding."""
    import pydicom
    from pydicom.errors import InvalidDicomError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with path.open("rb") as stream:
                preamble = stream.read(132)
                stream.seek(0)
                dataset = pydicom.dcmread(
                    stream, stop_before_pixels=True, force=preamble[128:] != b"DICM"
                )
                at_end = not stream.read(1)  # else it stopped before the pixels
            values = {
                keyword: plain
                for tag, keyword in WANTED.items()
                if tag in dataset and (plain := plain_value(dataset, tag)) is not None
            }
    except InvalidDicomError as error:
        raise UnreadableScanError("is not a DICOM file", where=path) from error
    except OSError as error:
        raise cannot_read(path, error) from error
    except Exception as error:  # pydicom fails in a dozen ways at arbitrary bytes
        raise UnreadableScanError(
            "is a broken DICOM file: its header cannot be read",
            where=path,
            do="copy it again from its source",
        ) from error
    if not values:
        raise UnreadableScanError(
            "is a broken DICOM file: it holds no attribute of an image",
            where=path,
            do="copy it again from its source",
        )
    syntax = str(dataset.file_meta.get("TransferSyntaxUID", "") or IMPLICIT)
    deflated = syntax == "1.2.840.10008.1.2.1.99"  # read whole before it is parsed
    defect = "no pixel data" if at_end and not deflated else ""
    return Header(path, syntax, values, None, defect)
