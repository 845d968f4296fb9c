"""Stored pixel values of DICOM slices, and their way to Hounsfield units.

Native pixels are read from where the header says they lie. imagecodecs decodes compressed ones; it
releases the GIL, so that threads decode in parallel. pydicom's decoders do the rest.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from darnet_trt.errors import UnreadableScanError, cannot_read
from darnet_trt.machine.cpus import usable_cpus
from darnet_trt.scan.dicom.elements import EXPLICIT, IMPLICIT
from darnet_trt.scan.dicom.header import Header
from darnet_trt.scan.plausibility.hounsfield import refuse_not_numbers

Stored = npt.NDArray[Any]

AIR_HU: Final = -1024
"""The value of padding: air, as outside the reconstruction circle."""
TISSUE_HU: Final = (-950.0, 1500.0)
"""A padding value within these would erase anatomy, so it is ignored."""
MOST_THREADS: Final = 8
"""Decoding threads; beyond it reading from disk is the limit."""

_NATIVE = frozenset({IMPLICIT, EXPLICIT})
_JPEG_2000 = frozenset({"1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91"})
_JPEGS: Final = {  # imagecodecs' decoders of the others: lossless, JPEG-LS, baseline and extended
    "1.2.840.10008.1.2.4.57": "ljpeg_decode", "1.2.840.10008.1.2.4.70": "ljpeg_decode",
    "1.2.840.10008.1.2.4.80": "jpegls_decode", "1.2.840.10008.1.2.4.81": "jpegls_decode",
    "1.2.840.10008.1.2.4.50": "jpeg8_decode", "1.2.840.10008.1.2.4.51": "jpeg8_decode",
}  # fmt: skip
_RLE = "1.2.840.10008.1.2.5"

_pydicom_lock = threading.Lock()  # silencing warnings is not thread-safe


def rescale(header: Header) -> tuple[float, float]:
    """Return RescaleSlope (0028,1053) and RescaleIntercept (0028,1052).

    HU = slope · stored + intercept.

    MONOCHROME1 changes nothing here: it says how to display, after the rescale (PS3.3
    C.7.6.3.1.2, C.11.1).
    """
    return float(header.get("RescaleSlope")), float(header.get("RescaleIntercept"))


def decode_slice(header: Header, part: Callable[[Stored], Stored] = lambda whole: whole) -> Stored:
    """Decode the stored values of a slice, rows by columns, padding replaced by air.

    Args:
        header: Of the slice.
        part: Takes the pixels that are wanted from the decoded ones.

    Raises:
        UnreadableScanError: The pixels are truncated or corrupt, or have no decoder.
        RefusedScanError: Values that are not numbers.
    """
    try:
        stored = _decode(header)
    except OSError as error:
        raise cannot_read(header.path, error) from error
    shape = (header.get("Rows"), header.get("Columns"))
    if stored.shape != shape:
        raise UnreadableScanError(
            f"decodes to {'×'.join(map(str, stored.shape))} pixels, but its header says "
            f"{shape[0]}×{shape[1]}",
            where=header.path,
            do="copy it again",
        )
    if stored.dtype.kind == "f":  # FloatPixelData (7FE0,0008)
        refuse_not_numbers(stored, header.path)
    return _without_padding(_significant_bits(part(stored), header), header)


def is_native(headers: Sequence[Header]) -> bool:
    """Return whether all pixels are stored as they are."""
    return all(header.transfer_syntax in _NATIVE for header in headers)


def decode_slices(
    headers: Sequence[Header], indices: Sequence[int]
) -> Iterator[tuple[int, Stored]]:
    """Decode some slices of a series, in order, compressed ones on several threads."""
    if is_native(headers):
        for index in indices:  # a copy from the file cache: threads would only wait for each other
            yield index, decode_slice(headers[index])
        return
    threads = min(usable_cpus(), MOST_THREADS)
    with ThreadPoolExecutor(threads) as pool:
        # A few ahead of the consumer, so that memory does not grow with the series.
        ahead = 2 * threads
        pending = [pool.submit(decode_slice, headers[i]) for i in indices[:ahead]]
        try:
            for number, index in enumerate(indices):
                stored = pending.pop(0).result()
                if number + ahead < len(indices):
                    pending.append(pool.submit(decode_slice, headers[indices[number + ahead]]))
                yield index, stored
        finally:
            for future in pending:
                future.cancel()


def _decode(header: Header) -> Stored:
    dtype = {8: np.uint8, 16: np.uint16, 32: np.uint32}.get(header.get("BitsAllocated"))
    if header.pixels is None or dtype is None:
        return _decode_with_pydicom(header)
    syntax, (rows, columns) = header.transfer_syntax, (header.get("Rows"), header.get("Columns"))
    if syntax in _NATIVE:
        offset = header.pixels[0][0]
        stored = np.fromfile(header.path, dtype, rows * columns, offset=offset)
        if stored.size < rows * columns:
            raise UnreadableScanError(
                f"is truncated: {stored.size} of {rows * columns} pixels",
                where=header.path,
                do="copy it again",
            )
        return stored.reshape(rows, columns)
    decode = _decoder(syntax, np.dtype(dtype), (rows, columns))
    if decode is None:
        return _decode_with_pydicom(header)
    compressed = b"".join(header.read_pixels())
    if syntax in _JPEG_2000 and not _describes(compressed, header):
        return _decode_with_pydicom(header)
    try:
        return decode(compressed)
    except (RuntimeError, ValueError) as error:  # imagecodecs' errors
        if syntax != _RLE and compressed.rstrip(b"\0")[-2:] != b"\xff\xd9":
            # No end-of-image marker: a more lenient decoder would make up the rest.
            raise UnreadableScanError(
                "is truncated within its compressed pixels",
                where=header.path,
                do="copy it again",
            ) from error
        return _decode_with_pydicom(header, error)


def _decoder(
    syntax: str, dtype: np.dtype[Any], shape: tuple[int, int]
) -> Callable[[bytes], Stored] | None:
    import imagecodecs

    if syntax in _JPEG_2000:
        return lambda data: imagecodecs.jpeg2k_decode(data, numthreads=1)
    if syntax == _RLE:
        return lambda data: np.asarray(imagecodecs.dicomrle_decode(data, dtype)).reshape(shape)
    return getattr(imagecodecs, _JPEGS[syntax]) if syntax in _JPEGS else None


def _describes(codestream: bytes, header: Header) -> bool:
    """Return whether a JPEG 2000 codestream has the sign and precision that the header has.

    Ssiz of its first component is byte 42 (ISO/IEC 15444-1, A.5.1). pydicom handles the others.
    """
    if codestream[:4] != b"\xff\x4f\xff\x51":
        return False
    signed, precision = codestream[42] >> 7, (codestream[42] & 0x7F) + 1
    return (signed, precision) == (header.get("PixelRepresentation"), header.get("BitsStored"))


def _decode_with_pydicom(header: Header, before: Exception | None = None) -> Stored:
    """Decode with pydicom; `before` is the error of the decoder that failed first."""
    import pydicom

    try:
        with _pydicom_lock, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return np.asarray(pydicom.dcmread(header.path, force=True).pixel_array)
    except OSError:
        raise
    except Exception as error:  # each of pydicom's decoder plugins has errors of its own
        cause = before or error
        reason = str(cause).strip().partition("\n")[0] or type(cause).__name__
        raise UnreadableScanError(
            f"has pixels that cannot be decoded ({reason.rstrip('.:')})",
            where=header.path,
            do="copy it again, or convert it with dcmtk's dcmdjpeg or gdcmconv --raw",
        ) from error


def _significant_bits(stored: Stored, header: Header) -> Stored:
    """Clear the unused high bits, where old files keep overlays, and extend the sign."""
    allocated = stored.dtype.itemsize * 8
    if header.get("BitsAllocated") not in (8, 16, 32) or stored.dtype.kind not in "iu":
        return stored
    signed = header.get("PixelRepresentation", 0) == 1
    spare = allocated - header.get("BitsStored", allocated)
    if spare <= 0 or header.get("HighBit", allocated - spare - 1) != allocated - spare - 1:
        return stored.view(f"{'i' if signed else 'u'}{stored.dtype.itemsize}")
    if signed:
        shifted = stored.view(f"i{stored.dtype.itemsize}") << spare
        return np.asarray(shifted >> spare)
    whole = stored.view(f"u{stored.dtype.itemsize}")
    return np.asarray(whole & np.array((1 << (allocated - spare)) - 1, whole.dtype))


def _without_padding(stored: Stored, header: Header) -> Stored:
    """Replace PixelPaddingValue (0028,0120), up to PixelPaddingRangeLimit, by air."""
    padding = header.get("PixelPaddingValue")
    if not isinstance(padding, int) or stored.dtype.kind not in "iu":
        return stored
    limit = header.get("PixelPaddingRangeLimit")
    slope, intercept = rescale(header)
    info = np.iinfo(stored.dtype)
    ends = [_wrapped(v, stored.dtype) for v in (padding, limit) if isinstance(v, int)]
    low, high = min(ends), max(ends)
    if any(TISSUE_HU[0] < slope * end + intercept < TISSUE_HU[1] for end in (low, high)):
        return stored
    padded = stored == low if low == high else (stored >= low) & (stored <= high)
    air = min(max(round((AIR_HU - intercept) / slope), info.min), info.max)
    return np.where(padded, np.array(air, stored.dtype), stored)


def _wrapped(value: int, dtype: np.dtype[Any]) -> int:
    """Return a padding value in the pixels' signedness: 63536 is −2000 in 16 signed bits."""
    bits = dtype.itemsize * 8
    value &= (1 << bits) - 1
    return value - (1 << bits) if dtype.kind == "i" and value >> (bits - 1) else value
