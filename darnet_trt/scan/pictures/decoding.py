"""Read one picture: PNG, JPEG or TIFF, told by its content.

Only Pillow's readers of these three are called, never `Image.open`, which tries all of its formats.
Size and kind are checked in the header, before anything is decoded.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from darnet_trt.errors import (
    Finding,
    RefusedScanError,
    ScanError,
    UnreadableScanError,
    cannot_open,
    cannot_read,
)
from darnet_trt.machine.archives import open_file
from darnet_trt.scan.plausibility.grid import MAX_MATRIX

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

Kind = Literal["png", "jpeg", "tiff"]
Grey = npt.NDArray[np.uint8] | npt.NDArray[np.uint16] | npt.NDArray[np.int16]

_FIRST_BYTES: Final[dict[bytes, Kind]] = {
    b"\x89PNG\r\n\x1a\n": "png",
    b"\xff\xd8\xff": "jpeg",
    b"II*\0": "tiff",
    b"MM\0*": "tiff",
    b"II+\0": "tiff",
    b"MM\0+": "tiff",
}
MAX_FILE_BYTES: Final = 1 << 27
"""Twice what a colour picture of the largest matrix takes without compression."""
MAX_JPEG_SCANS: Final = 20
"""Passes over a progressive JPEG; writers make ten, and each takes as long as a whole picture."""
_ORIENTATION: Final = 274
_PHOTOMETRIC: Final = 262
"""Tags of TIFF 6.0, section 8; Exif has the first one too."""
_END_LEVELS: Final = 8
"""How far from its ends JPEG moves the two values of a mask."""
_ENDS_SHARE: Final = 0.99
"""A picture with this share of its pixels at its two ends is a mask. Of a slice, fat and lung alone
lie between the ends and fill more."""
_END_SHARE: Final = 0.02
"""At either end of a mask: an empty slice with a few bright pixels of the table is none."""
_FEW_VALUES: Final = 8
"""A picture with so few is a map of labels; noise gives a slice a hundred."""


class PictureHeader(NamedTuple):
    """What a picture's header says.

    Attributes:
        size: Rows and columns (h, w).
        dtype: Of its grey values: uint8, or uint16 or int16, which may hold Hounsfield units.
    """

    size: tuple[int, int]
    dtype: str


def picture_kind(first_bytes: bytes) -> Kind | None:
    """Return what kind of picture a file's first 8 bytes begin, or None: no slice of a scan."""
    return next((k for start, k in _FIRST_BYTES.items() if first_bytes.startswith(start)), None)


def read_header(path: Path) -> PictureHeader:
    """Read a picture's header.

    Raises:
        UnreadableScanError: Cut, damaged, or not a picture of these kinds.
        RefusedScanError: Larger than a slice, turned, several in one file, or of other values.
    """
    with _opened(path) as image:
        return PictureHeader((image.height, image.width), _dtype(image, path))


def decode_grey(path: Path) -> Grey:
    """Return a picture's grey values (h, w).

    Raises:
        UnreadableScanError: As `read_header`, or its pixels are cut or damaged.
        RefusedScanError: As `read_header`; or colours, transparent pixels, or a mask.
    """
    with _opened(path) as image:
        dtype = _dtype(image, path)
        if dtype != "uint8":
            return _deep(image).astype(dtype)
        if image.mode in ("L", "1"):
            grey = np.asarray(image.convert("L"))
        else:
            grey = _grey_of_colours(np.asarray(image.convert("RGBA")), path)
    if _is_mask(grey):
        reason = Finding("mask", "is a mask, not a CT slice: it has only a few values")
        raise RefusedScanError(reason, where=path, do="give the slices alone")
    return grey


@contextmanager
def _opened(path: Path) -> Iterator[ImageFile]:
    """Open a picture and check its header; what is wrong with it, now or later, is a ScanError."""
    from PIL.JpegImagePlugin import JpegImageFile
    from PIL.PngImagePlugin import PngImageFile
    from PIL.TiffImagePlugin import TiffImageFile

    readers: dict[Kind, type[ImageFile]]
    readers = {"png": PngImageFile, "jpeg": JpegImageFile, "tiff": TiffImageFile}
    try:
        stream = open_file(path)
    except OSError as error:
        raise cannot_open(path, error) from error
    with stream, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Pillow, about tags that nothing here reads
        try:
            kind = picture_kind(stream.read(8))
            if kind is None:
                reason = Finding("not-a-picture", "is not a PNG, JPEG or TIFF picture")
                raise UnreadableScanError(reason, where=path, do="copy it again")
            _refuse_file(stream, kind, path)
            image = readers[kind](stream)
            _refuse(image, path)
            yield image
        except ScanError:
            raise
        except Exception as error:  # Pillow raises whatever a damaged file leads it to
            raise cannot_read(path, error) from error


def _refuse_file(stream: BinaryIO, kind: Kind, path: Path) -> None:
    """Refuse a file that is too long, or would take too long; leave the stream at its beginning."""
    size = stream.seek(0, 2)
    stream.seek(0)
    if size > MAX_FILE_BYTES:
        limit = MAX_FILE_BYTES >> 20
        reason = Finding("picture-too-large", f"has {size >> 20} MiB (at most {limit} MiB)")
        raise RefusedScanError(reason, where=path, do="give the original slices")
    if kind == "jpeg":
        scans = stream.read().count(b"\xff\xda")  # the marker SOS; packed pixels never hold it
        stream.seek(0)
        if scans > MAX_JPEG_SCANS:
            reason = Finding("jpeg-scans", f"is a JPEG of {scans} scans (at most {MAX_JPEG_SCANS})")
            raise RefusedScanError(reason, where=path, do="save it again as PNG")


def _refuse(image: ImageFile, path: Path) -> None:
    """Refuse what the header shows to be no slice."""
    h, w = image.height, image.width
    if max(h, w) > MAX_MATRIX:
        reason = Finding(
            "picture-too-large",
            f"has {h}×{w} pixels, more than a CT slice (at most {MAX_MATRIX}×{MAX_MATRIX})",
        )
        raise RefusedScanError(reason, where=path, do="give the original slices")
    if getattr(image, "is_animated", False):
        reason = Finding("several-pictures", "holds several pictures, not one slice")
        raise RefusedScanError(reason, where=path, do="save each slice as a file of its own")
    if image.format != "PNG" and image.getexif().get(_ORIENTATION, 1) != 1:  # PNG would decode
        reason = Finding("turned-picture", "says that it is stored turned (tag Orientation)")
        raise RefusedScanError(reason, where=path, do="turn its pixels and remove the tag")


def _dtype(image: ImageFile, path: Path) -> str:
    """Return the type of a picture's grey values by Pillow's modes for memory and for the file."""
    stored = str(image.tile[0].args)  # "I;16S", "RGB;16B", … and how they are packed
    inverted = getattr(image, "tag_v2", {}).get(_PHOTOMETRIC) == 0
    if ";16" not in stored and ";12" not in stored and image.mode[0] not in "IF":
        return "uint8"
    if image.mode.startswith("I;16") and not inverted:
        return "uint16"
    if image.mode == "I" and ";16" in stored and not inverted:
        return "int16"
    what = "white is 0" if inverted else f"Pillow mode {image.mode}"
    reason = Finding("grey-type", f"has grey values of a type that is not read ({what})")
    raise RefusedScanError(reason, where=path, do="save them as 8 bits, or as 16-bit HU in TIFF")


def _deep(image: ImageFile) -> npt.NDArray[Any]:
    """Return 16-bit values: Pillow 13 swaps the bytes of compressed big-endian TIFF wrongly."""
    if image.format != "TIFF":
        return np.asarray(image)
    import imagecodecs

    assert image.fp is not None
    image.fp.seek(0)
    values: npt.NDArray[Any] = imagecodecs.tiff_decode(image.fp.read())
    return values.reshape(image.height, image.width)


def _grey_of_colours(rgba: npt.NDArray[Any], path: Path) -> npt.NDArray[np.uint8]:
    red, green, blue, alpha = np.moveaxis(rgba, -1, 0)
    if not (np.array_equal(red, green) and np.array_equal(red, blue)):
        reason = Finding("colour-picture", "is a colour image (screenshot or overlay), not a slice")
        raise RefusedScanError(reason, where=path, do="give grey slices")
    if alpha.min() < 255:
        reason = Finding("transparent-picture", "has transparent pixels, which hide their values")
        raise RefusedScanError(reason, where=path, do="save it without transparency")
    return np.ascontiguousarray(red)


def _is_mask(grey: npt.NDArray[np.uint8]) -> bool:
    """Return whether a picture shows two values (as JPEG, nearly), or a few labels."""
    shares = np.bincount(grey.ravel(), minlength=256) / grey.size
    low, high = np.flatnonzero(shares)[[0, -1]].tolist()
    if high - low <= 4 * _END_LEVELS:  # an empty slice at the end of a scan
        return False
    if (shares > 0).sum() <= _FEW_VALUES:
        return bool(shares.max() <= 1 - _END_SHARE)
    ends = shares[: low + _END_LEVELS + 1].sum(), shares[high - _END_LEVELS :].sum()
    return bool(sum(ends) >= _ENDS_SHARE and min(ends) >= _END_SHARE)
