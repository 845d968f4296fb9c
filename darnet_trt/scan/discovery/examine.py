"""Look at the files of a listing, and pack what was found for the process that gathers it."""

from __future__ import annotations

import pickle
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from darnet_trt.scan.dicom.header import Header
from darnet_trt.scan.discovery.found import Found, look_over
from darnet_trt.scan.discovery.studies import Beside, beside_slices
from darnet_trt.scan.discovery.walk import Listing


class Stored(NamedTuple):
    """Where bytes lie that wait in a file."""

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
    """What a listing's files are.

    `Units` looks at no bytes: these may wait elsewhere until they are gathered.

    Attributes:
        listing_folder: `Listing.folder`.
        root: `Listing.root`.
        dicom: StudyInstanceUID, empty where it is emptied → the slices.
        volumes: Of each volume file.
        rest: Pictures, other files, and what cannot be read; empty where there is nothing of it.
        beside: Folder → what lies beside its slices, by `rest`.
        files: How many files.
        apart: Whether another unit has the volumes and the rest.
        slices: `Listing.slices`.
    """

    listing_folder: Path
    root: Path
    dicom: dict[str, Slices]
    volumes: tuple[bytes | Stored, ...] = field(default=(), repr=False)
    rest: bytes | Stored = field(default=b"", repr=False)
    beside: Mapping[Path, Beside] = field(default_factory=dict)
    files: int = 0
    apart: bool = False
    slices: tuple[str, ...] = field(default=(), repr=False)

    def with_bytes(self, change: Callable[[bytes | Stored], bytes | Stored]) -> Examined:
        """Return the same with other bytes, or with the place where they are kept."""
        dicom = {uid: replace(own, pickled=change(own.pickled)) for uid, own in self.dicom.items()}
        volumes = tuple(map(change, self.volumes))
        rest = change(self.rest) if self.rest else self.rest
        return replace(self, dicom=dicom, volumes=volumes, rest=rest)


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
    volumes = tuple(_pickled(Found(volumes=[study])) for study in found.volumes)
    pictures = {folder: len(files) for folder, files in found.pictures.items()}
    beside = dict(beside_slices(found.failed, pictures))
    found.voxels = {file for study in found.volumes for file in study.series[0].files[1:]}
    found.headers, found.volumes = [], []
    rest = b"" if found == Found() else _pickled(found)
    return Examined(
        listing.folder,
        listing.root,
        dicom,
        volumes,
        rest,
        beside,
        len(listing.files),
        slices=listing.slices,
    )


def _packed(headers: list[Header]) -> Slices:
    places = {header.get("ImagePositionPatient") for header in headers}
    place = next(iter(places)) if len(places) == 1 else None
    return Slices(_pickled(headers), len(headers), len(places), place)


def _pickled(value: Any) -> bytes:
    return pickle.dumps(value, pickle.HIGHEST_PROTOCOL)


def unpacked(examined: Examined) -> Found:
    """Return what `examine` found."""
    found: Found = _loaded(examined.rest) if examined.rest else Found()
    found.headers = [h for slices in examined.dicom.values() for h in _loaded(slices.pickled)]
    found.volumes = [study for one in examined.volumes for study in _loaded(one).volumes]
    return found


def _loaded(pickled: bytes | Stored) -> Any:
    assert isinstance(pickled, bytes)
    return pickle.loads(pickled)
