"""Take each file once, under whatever names and links it is reached."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable
from pathlib import Path

from darnet_trt.errors import ScanError
from darnet_trt.machine.archives import archive_of, open_archive
from darnet_trt.scan.discovery.kinds import VOLUMES, may_be_dicom, promise, read_kind
from darnet_trt.scan.discovery.walk import ignored_by_name
from darnet_trt.scan.series import Study


def distinct_paths(paths: Iterable[Path]) -> list[Path]:
    """Return the paths, in their order, without those that the search of another one reaches.

    Those are the same place under another name, and what lies in a folder that is named too.
    """
    places: dict[Path, Path] = {}
    for path in paths:
        places.setdefault(Path(os.path.realpath(path)), path)
    folders = {place for place in places if _is_searched(place)}
    return [path for place, path in places.items() if not _is_reached(place, folders)]


def _is_searched(place: Path) -> bool:
    """Return whether this is a folder, a zip archive or a folder in one."""
    if os.path.isdir(place) or _kind(place) == "zip":  # noqa: PTH112 (never fails)
        return True
    try:
        archive = archive_of(place)
        inside = "" if archive is None else place.relative_to(archive).as_posix()
        return archive is not None and bool(open_archive(archive).below(inside))
    except (OSError, ScanError):
        return False


def _is_reached(place: Path, folders: set[Path]) -> bool:
    """Return whether the search of one of the folders reaches this place and makes it a study."""
    below = place
    while ignored_by_name(below.name) is None and below != below.parent:
        below = below.parent
        if below in folders:
            return place in folders or _is_taken(place)
    return False


def _is_taken(file: Path) -> bool:
    """Return whether the search of a folder makes this file a part of a study, or a failed one."""
    kind = _kind(file)
    taken = kind in (*VOLUMES, "dicom", "picture") or bool(promise(file))
    return taken or (kind != "" and may_be_dicom(file, kind))


def _kind(place: Path) -> str:
    """Return what a file is by its content; empty where it is none, or cannot be read."""
    try:
        if not os.path.isfile(place) and archive_of(place) is None:  # noqa: PTH113 (never fails)
            return ""
        return read_kind(place)
    except (OSError, ScanError):
        return ""


def unseen(studies: Iterable[Study], seen: set[str]) -> list[Study]:
    """Return the studies with a file that no earlier study had; links lead to a file in many ways.

    Args:
        studies: From `find_studies`.
        seen: Files of the earlier studies, links resolved; this call adds those of `studies`.
    """
    new = []
    for study in studies:
        files = _real_files(study)
        if not files <= seen:
            new.append(study)
            seen |= files
    return new


def _real_files(study: Study) -> set[str]:
    real_folder = functools.cache(os.path.realpath)
    return {
        os.path.realpath(file)
        if os.path.islink(file)  # noqa: PTH114 (a Path takes three times as long)
        else f"{real_folder(os.path.dirname(file))}/{os.path.basename(file)}"  # noqa: PTH119, PTH120
        for series in study.series
        for file in map(str, series.files)
    }
