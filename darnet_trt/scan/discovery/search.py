"""Find the studies under a path, in any mixture of formats."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from darnet_trt.errors import Finding, UnreadableScanError
from darnet_trt.machine.archives import archive_of
from darnet_trt.scan.discovery.counts import Counts
from darnet_trt.scan.discovery.found import KNOWN, Found, look_over
from darnet_trt.scan.discovery.gather import studies_of
from darnet_trt.scan.discovery.places import Place
from darnet_trt.scan.discovery.walk import listings
from darnet_trt.scan.series import Study


@dataclass(frozen=True)
class Search:
    """What lies under a path.

    Attributes:
        studies: The unusable ones, too, with their reason.
        counts: What became of each file.
    """

    studies: list[Study]
    counts: Counts


def find_studies(path: str | os.PathLike[str]) -> list[Study]:
    """Return the studies of `search`."""
    return search(path).studies


def find_study(path: Path) -> Study:
    """Return the only study under a path; files that cannot be read do not count as others.

    Raises:
        UsageError: There is no such path.
        UnreadableScanError: There is none, or there are several.
    """
    studies = find_studies(path)
    readable = [s for s in studies if any(series.verdict.readable for series in s.series)]
    if len(readable) > 1:
        raise UnreadableScanError(
            Finding("several-studies", f"holds {len(readable)} studies; one scan was expected"),
            where=path,
            do="name one of them in the table",
        )
    return (readable or studies)[0]


def search(path: str | os.PathLike[str] | Place) -> Search:
    """Find every study under a file, a folder or a zip archive.

    DICOM files form one study for each StudyInstanceUID (for each folder, where UIDs are emptied)
    and patient; every volume file and every folder of pictures is a study of its own. So is every
    file that should be a scan and cannot be read; all other files are counted by their kind.

    Args:
        path: May lie in a zip archive, as `study.zip/folder`. Or the place to search.

    Raises:
        UsageError: There is no such path.
        UnreadableScanError: The file is no scan, or no scan lies in the folder.
    """
    place = path if isinstance(path, Place) else Place(Path(path), Path(path))
    found = Found()
    for listing in listings(place):
        found.add(look_over(listing))
    if _is_lost(place.path, found):
        raise found.failed[0]
    studies, counts = studies_of(found, slices=place.slices)
    if not studies:
        raise no_scan(place.path, counts)
    return Search([study for study, _ in studies], counts)


def _is_lost(path: Path, found: Found) -> bool:
    """Return whether this is one file, and all that was found is that it cannot be read."""
    nothing_else = found == Found(failed=found.failed[:1])
    return bool(found.failed) and nothing_else and not os.path.isdir(path)  # noqa: PTH112


def no_scan(path: Path, counts: Counts) -> UnreadableScanError:
    """Return the error for a path under which no scan lies, and nothing that should be one.

    Args:
        path: What was searched.
        counts: What became of its files.
    """
    kinds = f" ({counts})" if counts.found else ""
    place = "folder" if archive_of(path / "-") is None else "archive"
    finding = Finding("no-scan", f"no scan in this {place}{kinds}")
    return UnreadableScanError(finding, where=path, do=KNOWN)
