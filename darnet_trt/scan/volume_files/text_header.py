"""Headers that are lines of text, `name: value`, as in MetaImage and NRRD files."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from darnet_trt.errors import Finding, UnreadableScanError, cannot_open
from darnet_trt.machine.archives import open_file

LARGEST_HEADER: Final = 1 << 18
"""Bytes; real headers have some hundred, those of diffusion images some 10,000."""
LONGEST_NUMBER: Final = 18
"""Digits: what fits into 64 bits."""
LARGEST_NUMBER: Final = 1e12
"""No position, length or count of bytes is larger."""


@dataclass(frozen=True)
class TextHeader:
    """The fields of a header.

    Attributes:
        path: The file.
        values: Each field's values, as text: more than one where it stands there repeatedly.
        end: The byte behind the header.
    """

    path: Path
    values: Mapping[str, Sequence[str]]
    end: int

    def get(self, *names: str) -> str | None:
        """Return the value of a field that may have several names, or None.

        Raises:
            UnreadableScanError: It stands there twice, with different values.
        """
        found = [(name, value) for name in names for value in self.values.get(name, ())]
        if len({value.lower() for _, value in found}) > 1:
            raise self.contradictory(*zip(*found, strict=True))
        return found[0][1] if found else None

    def whole_numbers(self, name: str) -> tuple[int, ...]:
        """Return a field's numbers, at least one, all positive.

        Raises:
            UnreadableScanError: There is no such field, or something else stands there.
        """
        words = (self.get(name) or "").split()
        if not words or not all(re.fullmatch(r"\+?[0-9]+", word) for word in words):
            raise self.broken(name)
        if max(map(len, words)) > LONGEST_NUMBER or min(map(int, words)) < 1:
            raise self.broken(name)
        return tuple(map(int, words))

    def numbers(self, name: str, text: str) -> tuple[float, ...]:
        """Return the numbers in a part of a field.

        Raises:
            UnreadableScanError: Something else stands there, or a number that is not finite.
        """
        try:
            found = tuple(map(float, text.split()))
        except ValueError:
            raise self.broken(name) from None
        if not all(abs(number) < LARGEST_NUMBER for number in found):  # nor NaN
            raise self.broken(name)
        return found

    def broken(self, name: str) -> UnreadableScanError:
        """Return the error for a field that cannot be read."""
        value = next(iter(self.values.get(name, ())), None)
        # repr keeps the message printable, whatever bytes stand there.
        return self.error(f"no {name}" if value is None else f"{name} {value[:40]!r}")

    def contradictory(self, names: Sequence[str], values: Sequence[str]) -> UnreadableScanError:
        """Return the error for entries that contradict each other."""
        pairs = zip(names, values, strict=True)
        listed = " and ".join(f"{name} {value[:40]!r}" for name, value in pairs)
        return self.error(f"{listed} contradict each other")

    def error(self, what: str) -> UnreadableScanError:
        """Return the error for a header that cannot be right."""
        return broken_header(self.path, what)


def text_lines(header: bytes) -> list[str]:
    """Return the lines of a header; only line feeds end one, with or without a carriage return."""
    return [line.rstrip("\r") for line in header.decode("utf-8", "surrogateescape").split("\n")]


def broken_header(path: Path, what: str) -> UnreadableScanError:
    """Return the error for a header that cannot be right, whatever its format."""
    return UnreadableScanError(
        Finding("broken-header", f"has a broken header ({what})"),
        where=path,
        do="copy it again, or write it again from the original scan",
    )


def text_voxels(path: Path) -> UnreadableScanError:
    """Return the error for voxels that are stored as text."""
    return UnreadableScanError(
        Finding("text-voxels", "stores its voxels as text"),
        where=path,
        do="write it again as a binary file",
    )


def several_files(path: Path) -> UnreadableScanError:
    """Return the error for voxels in a list of files."""
    return UnreadableScanError(
        Finding("several-voxel-files", "stores its voxels in several files"),
        where=path,
        do="write it again as one file",
    )


def first_bytes(path: Path) -> bytes:
    """Return as much of a file as a header may take.

    Raises:
        UnreadableScanError: It cannot be opened.
    """
    try:
        with open_file(path) as stream:
            return stream.read(LARGEST_HEADER)
    except OSError as error:
        raise cannot_open(path, error) from error
