"""Decide which folders belong together, as soon as the walk has passed them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from darnet_trt.scan.discovery.examine import Examined, Slices
from darnet_trt.scan.discovery.walk import Listing

LARGE: Final = 5000
"""Files: a larger unit is gathered study by study."""
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
    if sum(one.files for one in examined) <= LARGE:
        return [Unit(tuple(examined))] if examined else []
    whole = _whole_studies(examined)
    parts: dict[str, dict[int, dict[str, Slices]]] = defaultdict(lambda: defaultdict(dict))
    owners: dict[Path, str] = {}
    for index, one in enumerate(examined):
        for uid, own in one.dicom.items():
            name = _name(uid, one)
            part = name if name in whole else ""
            owners.setdefault(one.listing_folder, part)
            parts[part][index][uid] = own
    for index, one in enumerate(examined):
        _ = parts[owners.get(one.listing_folder, "")][index]
    return [
        Unit(tuple(_part(examined[i], own[i], owners, part) for i in sorted(own)))
        for part, own in parts.items()
    ]


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


def _part(
    examined: Examined, dicom: dict[str, Slices], owners: dict[Path, str], part: str
) -> Examined:
    rest = examined.rest if owners.get(examined.listing_folder, "") == part else b""
    files = sum(own.count for own in dicom.values())
    return replace(examined, dicom=dicom, rest=rest, files=files)
