"""Decide which folders belong together, as soon as the walk has passed them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from darnet_trt.scan.discovery.examine import Examined, Slices
from darnet_trt.scan.discovery.studies import Beside
from darnet_trt.scan.discovery.walk import Listing

LARGE: Final = 5000
"""Files: a larger unit is gathered study by study."""
FEW: Final = 8
"""Volume files: of more, each is gathered by itself, as all its bytes are read for its key."""
PATIENCE: Final = 16
"""Folders in a row without DICOM after which a unit waits no longer. Judgement."""
LONGEST: Final = 50_000
"""Slices that each have a UID of their own, after which a unit waits no longer. Judgement."""
_SCATTERED: Final = 2
"""Most slices of a study in a folder by which studies are scattered: one folder a slice, or
folders named by the first digits of a hash (Orthanc's storage)."""


@dataclass(frozen=True)
class Unit:
    """What `gather` takes at once.

    Attributes:
        examined: Of the folders, in order.
    """

    examined: tuple[Examined, ...]


class Units:
    """Put folders together that may hold the same study; nothing is read.

    A unit goes on while the next folder with DICOM shares a StudyInstanceUID with it, or both hold
    scattered slices only: an anonymizer's that writes a UID for each file, one folder for each
    slice, or Orthanc's storage. Folders without DICOM between them come along.
    """

    def __init__(self) -> None:
        self._pieces: list[Examined] = []  # of one folder
        self._open: list[Examined] = []
        self._uids: set[str] = set()
        self._shared = False
        self._scattered = False
        self._without = 0

    def add(self, listing: Listing, examined: Examined | None) -> list[Unit]:
        """Add the next listing of the walk, and return the units that are complete.

        Args:
            listing: From `listings`.
            examined: Of that listing; None where it is known and was not examined.
        """
        if examined is not None:
            self._pieces.append(examined)
        if not listing.last:
            return []
        pieces, self._pieces = self._pieces, []
        slices = [own for piece in pieces for own in piece.dicom.values()]
        if not slices:
            self._open += pieces
            self._without += 1
            return [] if self._uids and self._without <= PATIENCE else self.end()
        uids = {uid for piece in pieces for uid in piece.dicom}
        shared = not self._uids.isdisjoint(uids - {""})
        scattered = _are_scattered(slices)
        if shared:
            self._shared = goes_on = True
        else:
            bounded = self._shared or len(self._uids) < LONGEST
            goes_on = self._scattered and scattered and bounded
        complete = [] if goes_on else self.end()
        self._open += pieces
        self._uids |= uids
        self._scattered, self._without = scattered, 0
        return complete

    def end(self) -> list[Unit]:
        """Return the last units: no more folders come."""
        examined = self._open + self._pieces
        self._pieces, self._open, self._uids = [], [], set()
        self._shared = self._scattered = False
        self._without = 0
        return split(examined)


def _are_scattered(slices: Sequence[Slices]) -> bool:
    placed = any(own.place is not None or own.places > 1 for own in slices)
    return placed and max(own.places for own in slices) <= _SCATTERED


def split(examined: Sequence[Examined]) -> list[Unit]:
    """Return what belongs together as one unit, or a large one study by study.

    Studies of one slice stay together, as they may be one study. What else lies in a folder comes
    with the folder's first study.
    """
    volumes = sum(len(one.volumes) for one in examined)
    if sum(one.files for one in examined) <= LARGE and volumes <= FEW:
        return [Unit(tuple(examined))] if examined else []
    parts = _by_study(examined)
    owners: dict[Path, str] = {}
    for part, own in parts.items():
        for index in own:
            owners.setdefault(examined[index].listing_folder, part)
    beside: dict[Path, dict[Path, Beside]] = defaultdict(dict)
    for index, one in enumerate(examined):
        folder = one.listing_folder
        if one.rest:
            parts[owners.get(folder, "")].setdefault(index, {})
        for place, lies in one.beside.items():
            beside[folder][place] = beside[folder].get(place, Beside()) + lies
    units = []
    for part, own in parts.items():
        told: set[Path] = set()
        every = []
        for index in sorted(own):
            one, slices = examined[index], own[index]
            folder, files = one.listing_folder, sum(each.count for each in slices.values())
            more: dict[str, Any] = {}
            if owners.get(folder, "") != part:  # another unit has what else lies there
                more = {"rest": b"", "beside": {} if folder in told else beside[folder]}
            told.add(folder)
            apart = bool(more)
            every.append(replace(one, dicom=slices, volumes=(), files=files, apart=apart, **more))
        units.append(Unit(tuple(every)))
    return units + [
        Unit((Examined(one.listing_folder, one.root, {}, (volume,), files=1),))
        for one in examined
        for volume in one.volumes
    ]


def _by_study(examined: Sequence[Examined]) -> dict[str, dict[int, dict[str, Slices]]]:
    """Return the slices of each study by the index of what was examined.

    Those with slices at one position only are together under an empty name.
    """
    whole = _whole_studies(examined)
    parts: dict[str, dict[int, dict[str, Slices]]] = defaultdict(lambda: defaultdict(dict))
    for index, one in enumerate(examined):
        for uid, own in one.dicom.items():
            name = _name(uid, one)
            parts[name if name in whole else ""][index][uid] = own
    return parts


def _name(uid: str, examined: Examined) -> str:
    return uid or str(examined.listing_folder)


def _whole_studies(examined: Sequence[Examined]) -> set[str]:
    """Return the studies with slices at several positions."""
    places: dict[str, tuple[float, ...] | None] = {}
    whole = set()
    for one in examined:
        for uid, own in one.dicom.items():
            name = _name(uid, one)
            if own.places > 1 or places.setdefault(name, own.place) != own.place:
                whole.add(name)
    return whole
