"""Look at the files of a listing, and pack what was found for the process that gathers it."""

from __future__ import annotations

import pickle
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from darnet_trt.scan.dicom.header import Header
from darnet_trt.scan.discovery.found import Found, look_over
from darnet_trt.scan.discovery.studies import Beside, beside_slices
from darnet_trt.scan.discovery.walk import Listing


class Stored(NamedTuple):
    """Where bytes lie in a file that keeps what waits; see `Examined`."""

    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Slices:
    """The DICOM files of one StudyInstanceUID in a listing.

    Attributes:
        pickled: Their headers.
        count: How many headers.
        places: How many different positions (ImagePositionPatient) they have; none is one.
        place: The position, where it is only one.
    """

    pickled: bytes | Stored = field(repr=False)
    count: int
    places: int
    place: tuple[float, ...] | None


@dataclass(frozen=True)
class Examined:
    """What a listing's files are. `Units` looks at no bytes, so that these may wait elsewhere.

    Attributes:
        listing_folder: `Listing.folder`.
        root: `Listing.root`.
        dicom: StudyInstanceUID, empty where it is emptied → the slices.
        rest: Volumes, pictures, other files, and what cannot be read; empty where there is nothing
            of it, or where another unit has it.
        beside: What `rest` says about the folders' slices; empty where that is nothing.
        files: How many files.
    """

    listing_folder: Path
    root: Path
    dicom: dict[str, Slices]
    rest: bytes | Stored = field(repr=False)
    beside: bytes | Stored = field(repr=False)
    files: int


def examine(listing: Listing) -> Examined:
    """Look at every file of a listing: read headers, and tell what the others are.

    Whatever is wrong with a file becomes a failure of that file, and of a folder that has gone
    one failure. A DICOMDIR that was named itself is followed, and so are archives.
    """
    found = look_over(listing)
    members: dict[str, list[Header]] = defaultdict(list)
    for header in found.headers:
        members[header.get("StudyInstanceUID", "")].append(header)
    dicom = {uid: _packed(headers) for uid, headers in members.items()}
    counted = {folder: len(files) for folder, files in found.pictures.items()}
    beside = beside_slices(found.failed, counted)
    found.headers = []
    return Examined(
        listing.folder,
        listing.root,
        dicom,
        b"" if found == Found() else _pickled(found),
        _pickled(dict(beside)) if beside else b"",
        len(listing.files),
    )


def _packed(headers: list[Header]) -> Slices:
    places = {header.get("ImagePositionPatient") for header in headers}
    place = next(iter(places)) if len(places) == 1 else None
    return Slices(_pickled(headers), len(headers), len(places), place)


def _pickled(value: Any) -> bytes:
    return pickle.dumps(value, pickle.HIGHEST_PROTOCOL)


def unpacked(examined: Examined) -> tuple[Found, dict[Path, Beside]]:
    """Return what `examine` found, and what lies beside its slices and belongs to another unit."""
    found: Found = _loaded(examined.rest) if examined.rest else Found()
    found.headers = [h for slices in examined.dicom.values() for h in _loaded(slices.pickled)]
    beside = {} if examined.rest or not examined.beside else _loaded(examined.beside)
    return found, beside


def _loaded(pickled: bytes | Stored) -> Any:
    assert isinstance(pickled, bytes)
    return pickle.loads(pickled)
