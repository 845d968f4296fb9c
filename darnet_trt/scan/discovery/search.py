"""Find the studies under a path, in any mixture of formats."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from darnet_trt.errors import Finding, UnreadableScanError, cannot_open, no_such_path
from darnet_trt.machine.archives import archive_of
from darnet_trt.scan.dicom.directory import listed_files
from darnet_trt.scan.discovery.found import KNOWN, Found, Search
from darnet_trt.scan.discovery.kinds import DIRECTORY
from darnet_trt.scan.discovery.walk import neither_file_nor_folder, walk
from darnet_trt.scan.series import Study


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


def search(path: str | os.PathLike[str]) -> Search:
    """Find every study under a file, a folder or a zip archive.

    DICOM files form one study for each StudyInstanceUID (for each folder, where UIDs are emptied)
    and patient; every volume file and every folder of pictures is a study of its own. So is every
    file that should be a scan and cannot be read; all other files are counted by their kind.

    Args:
        path: May lie in a zip archive, as `study.zip/folder`.

    Raises:
        UsageError: There is no such path.
        UnreadableScanError: The file is no scan, or no scan lies in the folder.
    """
    path = Path(path)
    found = Found()
    try:
        try:
            mode = path.stat().st_mode
        except (FileNotFoundError, NotADirectoryError) as error:
            archive = archive_of(path)
            if archive is None or not found.look_into(archive, path):
                raise no_such_path(path) from error
            if found.others == [(path, DIRECTORY)]:
                found = Found()
                found.look_into(archive, path.parent)  # unpacking has kept what it lists
            return found.result(path, "archive")
    except OSError as error:  # in a folder that may not be looked into, or a loop of links
        raise cannot_open(path, error) from error
    if stat.S_ISDIR(mode):
        for file in walk(path, found.ignore, found.fail):
            found.look_at(file)
        return found.result(path, "folder")
    if not stat.S_ISREG(mode):
        raise neither_file_nor_folder(path)
    found = Found(path)
    found.look_at(path)
    if found.others == [(path, DIRECTORY)]:
        found = Found()
        files, missing = listed_files(path)
        for lost in missing:
            found.fail(lost)
        for file in files:
            found.look_at(file)
        return found.result(path, "folder")
    if not found.archives:
        if found.failed:
            raise found.failed[0]
        for _, kind in found.others:
            raise UnreadableScanError(
                Finding("unknown-format", f"is in no known format (its content: {kind})"),
                where=path,
                do=KNOWN,
            )
    return found.result(path, "archive")
