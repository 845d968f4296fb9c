"""Each scan once, however often and in however many ways it was named."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from darnet_trt.scan.discovery import is_stray
from darnet_trt.scan.series import Study

__all__ = ["distinct_paths", "unseen"]


def distinct_paths(paths: Iterable[Path]) -> list[Path]:
    """The paths, in their order, without those that a search of another one meets as well.

    That is the same place under another name, and what lies in a folder that is named, too.
    """
    places: dict[Path, Path] = {}
    for path in paths:
        places.setdefault(Path(os.path.realpath(path)), path)
    folders = {place for place in places if os.path.isdir(place)}  # noqa: PTH112 (never fails)
    return [path for place, path in places.items() if not _is_met(place, folders)]


def _is_met(place: Path, folders: set[Path]) -> bool:
    """Whether a search of one of the folders comes to this place, and looks at it."""
    looked_at = os.path.isfile(place) and not is_stray(place)  # noqa: PTH113 (never fails)
    if not (looked_at or place in folders):
        return False
    below = place
    while not below.name.startswith(".") and below != below.parent:
        below = below.parent
        if below in folders:
            return True
    return False


def unseen(studies: Iterable[Study], seen: set[str]) -> list[Study]:
    """The studies with a file that none before had: links lead to one file in many ways.

    Args:
        studies: From `find_studies`.
        seen: Files of the studies before, links resolved; those of these studies are added.
    """
    new = []
    for study in studies:
        files = _real_files(study)
        if not files <= seen:
            new.append(study)
            seen |= files
    return new


def _real_files(study: Study) -> set[str]:
    folders: dict[str, str] = {}
    found = set()
    for series in study.series:
        for file in map(str, series.files):
            folder, name = os.path.split(file)
            if os.path.islink(file):  # noqa: PTH114 (a Path takes three times as long)
                found.add(os.path.realpath(file))
                continue
            if folder not in folders:
                folders[folder] = os.path.realpath(folder)
            found.add(f"{folders[folder]}/{name}")
    return found
