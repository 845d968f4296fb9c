"""Decode the stored pixel values of DICOM slices.

Native pixels are read from where the header says they lie; `codestreams` decodes compressed ones.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

import numpy as np
import numpy.typing as npt

from darnet_trt.errors import Finding, RefusedScanError, UnreadableScanError, cannot_read
from darnet_trt.machine.cpus import usable_cpus
from darnet_trt.scan.dicom.encoding.codestreams import RLE, Codestream, decode, describe, is_cut
from darnet_trt.scan.dicom.encoding.inflating import TooLargeError, inflated
from darnet_trt.scan.dicom.encoding.meta import NATIVE
from darnet_trt.scan.dicom.header import Header

Stored = npt.NDArray[Any]
T = TypeVar("T")

AIR_HU: Final = -1024
"""The value of padding: air, as outside the reconstruction circle."""
TISSUE_HU: Final = (-950.0, 1500.0)
"""A padding value within these would erase anatomy, so it is ignored."""
MOST_THREADS: Final = 8
"""Decoding threads; beyond it reading from disk is the limit."""
LONGEST: Final = 2
"""A compressed frame is at most so many times as long as its pixels; noise grows by a tenth."""


def rescale(header: Header) -> tuple[float, float]:
    """Return RescaleSlope (0028,1053) and RescaleIntercept (0028,1052).

    HU = slope · stored + intercept.

    MONOCHROME1 changes nothing here: it says how to display, after the rescale (PS3.3
    C.7.6.3.1.2, C.11.1).
    """
    return float(header.get("RescaleSlope")), float(header.get("RescaleIntercept"))


def is_native(headers: Sequence[Header]) -> bool:
    """Return whether all pixels are stored as they are."""
    return all(header.transfer_syntax in NATIVE for header in headers)


def decode_slice(
    header: Header,
    part: Callable[[Stored], Stored] = lambda whole: whole,
    *,
    padded: bool = False,
) -> Stored:
    """Decode the stored values of a slice, rows by columns, padding replaced by air.

    Args:
        header: Of the slice.
        part: Takes the pixels that are wanted from the decoded ones.
        padded: Whether padding is kept.

    Raises:
        UnreadableScanError: The pixels are truncated or corrupt.
        RefusedScanError: A compressed slice is of another kind than its header says.
    """
    native = header.transfer_syntax in NATIVE
    try:
        stored = _native(header, part) if native else part(_compressed(header))
    except (OSError, EOFError) as error:
        raise cannot_read(header.path, error) from error
    return stored if padded else without_padding(stored, header)


def decode_slices(
    headers: Sequence[Header],
    indices: Sequence[int],
    decode: Callable[[Header], T],
) -> Iterator[tuple[int, T]]:
    """Decode some slices of a series, in order, compressed ones on several threads."""
    if is_native(headers):
        try:
            for index in indices:  # copies from the file cache: threads would only wait
                yield index, decode(headers[index])
        finally:
            inflated.cache_clear()
        return
    threads = min(usable_cpus(), MOST_THREADS)
    with ThreadPoolExecutor(threads) as pool:
        # A few ahead of the consumer, so that memory does not grow with the series.
        ahead = 2 * threads
        pending = [pool.submit(decode, headers[i]) for i in indices[:ahead]]
        try:
            for number, index in enumerate(indices):
                stored = pending.pop(0).result()
                if number + ahead < len(indices):
                    pending.append(pool.submit(decode, headers[indices[number + ahead]]))
                yield index, stored
        finally:
            for future in pending:
                future.cancel()


def _native(header: Header, part: Callable[[Stored], Stored]) -> Stored:
    shape, itemsize = _layout(header)
    try:
        data = b"".join(header.read_pixels())
    except (zlib.error, TooLargeError) as error:
        raise _undecodable(header, error) from error
    count = shape[0] * shape[1]
    if len(data) < count * itemsize:
        raise _unreadable(
            header, Finding("truncated", f"is truncated: {len(data) // itemsize} of {count} pixels")
        )
    if header.swapped > 1:
        data += bytes(-len(data) % header.swapped)
        data = np.frombuffer(data, f"u{header.swapped}").byteswap().tobytes()
    stored = np.frombuffer(data, f"u{itemsize}", count).reshape(shape)
    return _significant_bits(part(stored), header, header.get("BitsStored"))


def _layout(header: Header) -> tuple[tuple[int, int], int]:
    """Return rows and columns, and bytes of a pixel."""
    return (header.get("Rows"), header.get("Columns")), header.get("BitsAllocated") // 8


def read_codestream(header: Header) -> tuple[bytes, Codestream | None]:
    """Return a slice's compressed bytes, and what they say of themselves; RLE says nothing.

    Raises:
        UnreadableScanError: They are truncated or corrupt.
        RefusedScanError: They are of another kind than the header says.
    """
    shape, itemsize = _layout(header)
    length = sum(length for _, length in header.pixels)
    if length > LONGEST * shape[0] * shape[1] * itemsize + (1 << 16):
        raise _refused(
            header,
            Finding(
                "pixel-length",
                f"has {length} bytes of compressed pixels for {shape[0]}×{shape[1]} "
                "(Rows × Columns)",
            ),
        )
    data = b"".join(header.read_pixels())
    # Decoders make up what is missing, or fail in their own words.
    if is_cut(header.transfer_syntax, data):
        raise _unreadable(header, Finding("truncated", "is truncated within its compressed pixels"))
    if header.transfer_syntax == RLE:
        return data, None
    said = describe(header.transfer_syntax, data)
    if said is None:
        raise _undecodable(header, f"no image of its TransferSyntaxUID {header.transfer_syntax}")
    _compare(said, header)
    if said.flaw:
        raise _undecodable(header, said.flaw)
    return data, said


def _compressed(header: Header) -> Stored:
    shape, itemsize = _layout(header)
    data, said = read_codestream(header)
    try:
        stored = decode(header.transfer_syntax, data, shape, itemsize)
    except (RuntimeError, ValueError, MemoryError) as error:  # imagecodecs' errors
        raise _undecodable(header, error) from error
    if stored.shape != shape:
        raise _undecodable(header, f"it gives {'×'.join(map(str, stored.shape))} pixels")
    return _as_header_says(header, said, stored)


def finished(header: Header, said: Codestream, decoded: Stored) -> Stored:
    """Return what `decode_slice` gives for a compressed slice that is decoded already."""
    return without_padding(_as_header_says(header, said, decoded), header)


def _as_header_says(header: Header, said: Codestream | None, decoded: Stored) -> Stored:
    itemsize = _layout(header)[1]
    whole = decoded.astype(f"{decoded.dtype.kind}{itemsize}", copy=False)
    return _significant_bits(whole, header, significant(header, said))


def significant(header: Header, said: Codestream | None) -> int:
    """Return how many bits of a decoded value count."""
    bits: int = header.get("BitsStored")
    if said is not None and (said.signed or header.get("PixelRepresentation")):
        # JPEG has no sign, and some writers leave it out of JPEG 2000: it is the highest bit.
        return min(bits, said.bits) if said.signed else said.bits
    return bits


def _compare(said: Codestream, header: Header) -> None:
    """Refuse a codestream that is not what its header says.

    Raises:
        RefusedScanError: It has another size, or its values do not fit.
    """
    (rows, columns), itemsize = _layout(header)
    if (said.rows, said.columns, said.samples) != (rows, columns, 1):
        colours = f" in {said.samples} colours" if said.samples != 1 else ""
        raise _refused(
            header,
            Finding(
                "pixel-size",
                f"has a compressed image of {said.rows}×{said.columns} pixels{colours}, "
                f"but its header says {rows}×{columns} (Rows × Columns)",
            ),
        )
    allocated, stored = itemsize * 8, header.get("BitsStored")
    signless = header.get("PixelRepresentation") == 1 and not said.signed
    if said.bits > allocated or (signless and said.bits < stored):
        sign = "" if said.signed else " without a sign"
        raise _refused(
            header,
            Finding(
                "pixel-format",
                f"has a compressed image of {said.bits} bits{sign}, but its header says BitsStored "
                f"{stored} of BitsAllocated {allocated}",
            ),
        )


def _refused(header: Header, finding: Finding) -> RefusedScanError:
    return RefusedScanError(_of(header, finding), where=header.path)


def _unreadable(header: Header, finding: Finding, do: str = "copy it again") -> UnreadableScanError:
    return UnreadableScanError(_of(header, finding), where=header.path, do=do)


def _undecodable(header: Header, reason: object) -> UnreadableScanError:
    line = str(reason).strip().partition("\n")[0].rstrip(".:") or type(reason).__name__
    return _unreadable(
        header,
        Finding("undecodable", f"has pixels that cannot be decoded ({line})"),
        "copy it again, or convert it with dcmtk's dcmdjpeg or gdcmconv --raw",
    )


def _of(header: Header, finding: Finding) -> Finding:
    """Return a finding with the number of the frame; the file is named before it."""
    if header.frame is None:
        return finding
    return Finding(finding.code, f"frame {header.frame} {finding}")


def _significant_bits(stored: Stored, header: Header, bits: int) -> Stored:
    """Clear the unused high bits, where old files keep overlays, and extend the sign."""
    itemsize = stored.dtype.itemsize
    spare = itemsize * 8 - bits
    if header.get("PixelRepresentation") == 1:
        signed = stored.view(f"i{itemsize}")
        return np.asarray(signed << spare >> spare) if spare else signed
    whole = stored.view(f"u{itemsize}")
    return np.asarray(whole & np.array((1 << bits) - 1, whole.dtype)) if spare else whole


def without_padding(stored: Stored, header: Header) -> Stored:
    """Replace padding by air."""
    found = padding(header)
    if found is None:
        return stored
    low, high = found
    slope, intercept = rescale(header)
    info = np.iinfo(stored.dtype)
    padded = stored == low if low == high else (stored >= low) & (stored <= high)
    air = min(max(round((AIR_HU - intercept) / slope), info.min), info.max)
    return np.where(padded, np.array(air, stored.dtype), stored)


def padding(header: Header) -> tuple[int, int] | None:
    """Return the lowest and highest stored value of padding, None where there is none.

    PixelPaddingValue (0028,0120), up to PixelPaddingRangeLimit (0028,0121). Unsigned values of more
    than BitsStored (0028,0101) are none: no pixel holds them.
    """
    value, limit = header.get("PixelPaddingValue"), header.get("PixelPaddingRangeLimit")
    if not isinstance(value, int):
        return None
    kind = "i" if header.get("PixelRepresentation") == 1 else "u"
    dtype = np.dtype(f"{kind}{header.get('BitsAllocated') // 8}")
    ends = [_wrapped(v, dtype) for v in (value, limit) if isinstance(v, int)]
    if kind == "u" and min(ends) >> header.get("BitsStored"):
        return None
    slope, intercept = rescale(header)
    if any(TISSUE_HU[0] < slope * end + intercept < TISSUE_HU[1] for end in ends):
        return None
    return min(ends), max(ends)


def _wrapped(value: int, dtype: np.dtype[Any]) -> int:
    """Return a padding value in the pixels' signedness: 63536 is −2000 in 16 signed bits."""
    bits = dtype.itemsize * 8
    value &= (1 << bits) - 1
    return value - (1 << bits) if dtype.kind == "i" and value >> (bits - 1) else value
