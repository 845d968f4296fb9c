"""Decode JPEG 2000 slices at a lower resolution, which its wavelets give at a fraction of the cost.

A slice of 512×512 pixels takes 29 ms, 9 ms at half and 1 ms at an eighth of the resolution.
"""

from __future__ import annotations

import io
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from darnet_trt.errors import cannot_read
from darnet_trt.scan.dicom.encoding.codestreams import Codestream
from darnet_trt.scan.dicom.geometry import Stack
from darnet_trt.scan.dicom.header import Header
from darnet_trt.scan.dicom.pixels import (
    decode_slice,
    padding,
    read_codestream,
    rescale,
    without_padding,
)
from darnet_trt.scan.loading.halving import FILL_HU, halve

_SLOW: Final = frozenset({"1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91"})
"""HTJ2K is decoded in 3 ms."""
_LOSSLESS: Final = frozenset(f"1.2.840.10008.1.2.4.{part}" for part in (90, 201, 202))
_MOST_BITS: Final = 16
"""Pillow keeps no more."""


def reducible(header: Header) -> bool:
    """Return whether it pays to decode a slice at a lower resolution to look at it."""
    return header.transfer_syntax in _SLOW and header.pixels is not None


def decode_reduced(header: Header, halvings: int) -> npt.NDArray[Any]:
    """Decode the stored values of a slice, each side halved some times.

    A codestream of fewer levels is decoded as low as it goes, and every n-th pixel taken.

    Raises:
        UnreadableScanError: The codestream is truncated or corrupt.
        RefusedScanError: It is of another kind than the header says.
    """
    codestream, said = read_codestream(header)
    assert said is not None
    levels = min(halvings, said.levels)
    while not all(_rounds_up(side, levels) for side in (said.rows, said.columns)):
        levels -= 1
    try:
        grey = _decode(codestream, said, levels)
    except _ERRORS as error:
        raise cannot_read(header.path, error) from error
    step = 1 << halvings - levels
    grey = grey[::step, ::step]
    if header.get("PixelRepresentation") == 1 and not said.signed:  # the highest bit is the sign
        return np.asarray(grey - ((grey >> said.bits - 1) << said.bits))
    return grey


def decode_half(header: Header, stack: Stack) -> npt.NDArray[Any]:
    """Decode a slice of a stack, turned and halved: what `halve` gives of its pixels.

    The codestream gives the same where it is lossless, `halves`, has the precision that the header
    says, and begins where `halve` begins; else the whole slice is decoded. Lossy wavelets leave the
    range of the pixels, where only the whole is cut off. Padding below `FILL_HU` is kept:
    preprocessing finds it in every format, declared or not.

    Raises:
        UnreadableScanError: The pixels are truncated or corrupt.
        RefusedScanError: A compressed slice is of another kind than its header says.
    """
    half = None
    if header.transfer_syntax in _LOSSLESS and _is_fill(header):
        half = _own_half(header, stack)
    return decode_both(header, stack)[1] if half is None else _in_range(half, header)


def decode_both(header: Header, stack: Stack) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Decode a slice of a stack once, turned: whole, padding replaced by air, and as `decode_half`.

    Raises:
        UnreadableScanError, RefusedScanError: As `decode_half`.
    """
    kept = _is_fill(header)
    stored = decode_slice(header, padded=kept)
    half = _in_range(halve(stack.turn(stored)), header)
    return stack.turn(without_padding(stored, header) if kept else stored), half


def _in_range(half: npt.NDArray[Any], header: Header) -> npt.NDArray[Any]:
    """Keep to the range of the pixels, as decoders do: wavelets leave it at edges."""
    signed, bits = header.get("PixelRepresentation") == 1, header.get("BitsStored")
    low = -(1 << bits - 1) if signed else 0
    allocated = f"{'i' if signed else 'u'}{header.get('BitsAllocated') // 8}"
    return half.clip(low, low + (1 << bits) - 1).astype(allocated)


def _rounds_up(side: int, levels: int) -> bool:
    """Return whether Pillow, which rounds sizes to the nearest, expects those of JPEG 2000."""
    return (side + (1 << levels >> 1)) >> levels == -(-side >> levels)


def _own_half(header: Header, stack: Stack) -> npt.NDArray[Any] | None:
    """Return a codestream's own half, None where it is not that of the turned slice."""
    signed, bits = header.get("PixelRepresentation") == 1, header.get("BitsStored")
    codestream, said = read_codestream(header)
    assert said is not None
    fits = (said.signed, said.bits) == (signed, bits) and bits <= _MOST_BITS
    turned = stack.transpose or stack.flip_h or stack.flip_w
    if not said.halves or said.levels == 0 or not fits or turned:
        return None
    try:
        return _decode(codestream, said, 1)
    except _ERRORS:  # whoever decodes the whole says what is wrong
        return None


def _is_fill(header: Header) -> bool:
    """Return whether a slice's padding, if it has any, lies below `FILL_HU`, or is air already."""
    slope, intercept = rescale(header)
    return all(slope * end + intercept < FILL_HU for end in padding(header) or ())


_ERRORS: Final = (OSError, SyntaxError, ValueError, IndexError)


def _decode(codestream: bytes, said: Codestream, halvings: int) -> npt.NDArray[np.int32]:
    """Decode a codestream of at most 16 bits.

    Raises:
        OSError, SyntaxError, ValueError, IndexError: It is damaged.
    """
    from PIL import Image

    try:
        with Image.open(io.BytesIO(codestream), formats=["JPEG2000"]) as image:
            if image.mode not in ("L", "I;16"):
                raise ValueError(f"mode {image.mode}")
            image.reduce = halvings  # type: ignore[assignment,method-assign] # Pillow's way to ask
            image.load()
            grey = np.asarray(image).astype(np.int32)
    except Image.DecompressionBombError as error:
        raise ValueError(str(error)) from error
    # Pillow shifts signed values up, and fills 8 or 16 bits.
    grey >>= (8 if image.mode == "L" else 16) - said.bits
    return grey - (1 << said.bits - 1) if said.signed else grey
