"""Damage good scans; a seed always gives the same damage."""

from __future__ import annotations

import gzip
import random
import re
import struct
import zlib
from collections.abc import Callable
from typing import Final

from tests.scan.fuzz.samples import Files

Edit = Callable[[bytes, random.Random], bytes]
"""A content and the source of chance → another content."""

_WORDS: Final = [
    b"0", b"-1", b"1", b"65535", b"65536", b"-32768", b"2147483647", b"2147483648", b"4294967295",
    b"18446744073709551616", b"1" * 400, b"1e308", b"-1e-320", b"nan", b"inf", b"-inf", b"", b"\0",
    b"LIST", b"../../../etc/passwd", b"/dev/zero", b"/dev/stdin", b"x" * 5000, b"\xff\xfe", b"%s%n",
]  # fmt: skip
"""What takes the place of a number or a word in a text header."""
_NUMBERS: Final = [
    struct.pack(form, value)
    for form, values in {
        "<b": (0, 1, -1, 127, -128),
        "<h": (0, 1, -1, 2**15 - 1, -(2**15), 256),
        "<i": (0, 1, -1, 2**31 - 1, -(2**31), 2**16, 2**24),
        "<q": (0, -1, 2**63 - 1, -(2**63), 2**32, 2**40),
        "<f": (0.0, -1.0, 1e30, 1e-30, float("nan"), float("inf")),
        "<d": (0.0, -1.0, 1e300, 1e-300, float("nan"), float("-inf")),
    }.items()
    for value in values
]
"""What takes the place of a number in a binary header."""
_NAMES: Final = [
    "a", "①.dcm", "a²", "x" * 250, "a b\n.nii", "-rf", "a.DCM", "A.NII.GZ", "..nrrd", "mask.png",
    "DICOMDIR", "1.2.3.4", "\udcff.dcm", "%s.mha", "a.dcm.gz", "a.zip", "a.tar", "a.txt",
]  # fmt: skip
_SUFFIXES: Final = [
    "", ".dcm", ".dcm.gz", ".nii", ".nii.gz", ".hdr", ".img", ".nrrd", ".nhdr", ".mha", ".mhd",
    ".png", ".jpg", ".tif", ".zip", ".gz", ".raw",
]  # fmt: skip


def _flip_bits(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8, 64))):
        at = _place(data, rng)
        changed[at] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _cut(data: bytes, rng: random.Random) -> bytes:
    return data[: _place(data, rng)]


def _grow(data: bytes, rng: random.Random) -> bytes:
    return data + rng.choice((b"\0", b"\xff", data[:999], rng.randbytes(99))) * rng.choice((1, 50))


def _remove(data: bytes, rng: random.Random) -> bytes:
    at = _place(data, rng)
    return data[:at] + data[at + rng.choice((1, 2, 7, 100, 4000)) :]


def _repeat(data: bytes, rng: random.Random) -> bytes:
    at, length = _place(data, rng), rng.choice((1, 2, 8, 60, 2000))
    return data[:at] + data[at : at + length] * rng.choice((2, 3, 200)) + data[at + length :]


def _noise(data: bytes, rng: random.Random) -> bytes:
    at, length = _place(data, rng), rng.choice((2, 16, 300))
    return data[:at] + rng.randbytes(length) + data[at + length :]


def _number(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        value = rng.choice(_NUMBERS)
        value = value[::-1] if rng.random() < 0.3 else value
        at = _place(data, rng) & ~(len(value) - 1 if rng.random() < 0.7 else 0)
        changed[at : at + len(value)] = value
    return bytes(changed)


def _word(data: bytes, rng: random.Random) -> bytes:
    found = list(re.finditer(rb"-?[0-9][0-9.eE+-]*|[A-Za-z_]{3,}", data[:3000]))
    if not found:
        return _number(data, rng)
    word = rng.choice(found)
    return data[: word.start()] + rng.choice(_WORDS) + data[word.end() :]


def _line(data: bytes, rng: random.Random) -> bytes:
    """Repeat, drop, move or stretch a line of a text header."""
    head, rest = data[:3000].splitlines(keepends=True), data[3000:]
    at = rng.randrange(len(head))
    match rng.randrange(4):
        case 0:
            head.insert(rng.randrange(len(head)), head[at])
        case 1:
            del head[at]
        case 2:
            head[at] = head[at][:-1] + b" 9" * rng.choice((3, 600, 20_000)) + b"\n"
        case _:
            head[at] = rng.choice((b"dimension: 4\n", b"encoding: gzip\n", b"NDims = 16\n", b"\n"))
    return b"".join(head) + rest


def _place(data: bytes, rng: random.Random) -> int:
    """Return an offset, in the header more often than not."""
    near = rng.choice((16, 160, 400, 1500, len(data)))
    return rng.randrange(max(1, min(near, len(data))))


_EDITS: Final[list[Edit]] = [
    _flip_bits, _flip_bits, _cut, _grow, _remove, _repeat, _noise, _number, _number, _word, _word,
    _line,
]  # fmt: skip


def _inside(data: bytes, edit: Edit, rng: random.Random) -> bytes:
    """Edit what was packed, so that checksums and lengths of the packing still fit."""
    if data[:2] == b"\x1f\x8b":
        return gzip.compress(edit(gzip.decompress(data) or b"\0", rng), 1, mtime=0)
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return _with_checksums(edit(data, rng))
    return edit(data, rng)


def _with_checksums(png: bytes) -> bytes:
    """Correct the checksums of a PNG's chunks, as far as these can be followed."""
    fixed, at = bytearray(png), 8
    while at + 12 <= len(fixed):
        (length,) = struct.unpack_from(">I", fixed, at)
        if at + 12 + length > len(fixed):
            break
        checksum = zlib.crc32(fixed[at + 4 : at + 8 + length])
        struct.pack_into(">I", fixed, at + 8 + length, checksum)
        at += 12 + length
    return bytes(fixed)


def mutated(samples: dict[str, Files], seed: int) -> tuple[str, Files]:
    """Return a damaged scan and what was done, in a few words."""
    rng = random.Random(seed)
    kind = rng.choice(sorted(samples))
    files = dict(samples[kind])
    names = sorted(files)
    chosen = names if rng.random() < 0.4 else rng.sample(names, rng.choice((1, min(3, len(names)))))
    what = rng.choice(("edit", "edit", "edit", "edit", "splice", "swap", "rename", "lose"))
    own = rng.getrandbits(32)  # all chosen files get the same damage, as a faulty writer does it
    if what == "edit":
        edits = rng.choices(_EDITS, k=rng.choice((1, 1, 2, 5)))
        what = " ".join(edit.__name__.strip("_") for edit in edits)
        for name in chosen:
            same = random.Random(own)
            for edit in edits:
                files[name] = _inside(files[name], edit, same) or b"\0"
    elif what == "splice":
        other = rng.choice(sorted(samples))
        donor = rng.choice(sorted(samples[other].items()))[1]
        for name in chosen:
            same = random.Random(own)
            at, of = _place(files[name], same), _place(donor, same)
            length = same.choice((8, 200, 3000, len(donor)))
            end = files[name][at + length :] if same.random() < 0.5 else b""
            files[name] = files[name][:at] + donor[of : of + length] + end
    elif what == "swap":
        other = rng.choice(sorted(samples))
        for name in chosen:
            files[name] = rng.choice(sorted(samples[other].items()))[1]
    elif what == "rename":
        for name in chosen:
            content = files.pop(name)
            files[rng.choice(_NAMES) if rng.random() < 0.5 else name + rng.choice(_SUFFIXES)] = (
                content
            )
    else:
        for name in chosen[: len(names) - 1]:
            del files[name]
    return f"{kind}: {what}, {len(chosen)} of {len(names)} files", files
