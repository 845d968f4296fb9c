"""Read the DICOM files of a zip archive that came in, one after the other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from darnet_trt.errors import Finding, RefusedScanError, UnreadableScanError, one_line
from darnet_trt.machine.archives import Archive, open_member, read_archive
from darnet_trt.runtime.serving.intake.volumes import SNIFFED
from darnet_trt.scan.discovery.kinds import kind_of

_LONGEST_NAME = 200


@dataclass(frozen=True)
class Members:
    """The files of an archive.

    Attributes:
        archive: It, open.
        path: Where it lies.
        size: Bytes of all of them, unpacked, as it says itself.
        limit: Most bytes of them.
        ignored: Kind → how many are no DICOM files; grows while `dicom_files` is read.
        refused: Of each that cannot be read, its name and why; grows likewise.
    """

    archive: Archive
    path: Path
    size: int
    limit: int
    ignored: Counter[str]
    refused: list[tuple[str, str]]

    def dicom_files(self) -> Iterator[tuple[str, bytes]]:
        """Yield name and content of each DICOM file, in the order of their names.

        Raises:
            RefusedScanError: Together they are larger than the limit: each may be packed once more.
        """
        unpacked = 0
        for name in sorted(self.archive.files):
            shown = one_line(name)[-_LONGEST_NAME:]
            try:
                with open_member(self.archive, self.path / name, name) as stream:
                    start = stream.read(SNIFFED)
                    kind = kind_of(start)
                    if kind != "dicom":
                        self.ignored[kind] += 1
                        continue
                    content = start + stream.read()
            except UnreadableScanError as error:
                self.refused.append((shown, str(error.what)))
            except OSError as error:
                self.refused.append((shown, f"cannot be read ({error.strerror})"))
            else:
                unpacked += len(content)
                if unpacked > self.limit:
                    raise _too_much(f"more than {self.limit:,} bytes, unpacked")
                yield shown, content


@contextmanager
def open_members(path: Path, files: int, size: int) -> Iterator[Members]:
    """Open a zip archive that came in.

    Args:
        path: Where it lies.
        files: Most files in it.
        size: Most bytes of them, unpacked. What it says of itself is checked while it is unpacked.

    Raises:
        UnreadableScanError: It is broken, or beyond the limits. It names no path of ours.
        RefusedScanError: It is beyond `files` or `size`.
    """
    try:
        archive = read_archive(path)
    except UnreadableScanError as error:
        again = "send it again" if error.code == "archive-broken" else "send its slices unpacked"
        raise UnreadableScanError(error.what, do=again) from error
    with archive.zip:
        unpacked = sum(entry.file_size for entry in archive.files.values())
        if len(archive.files) > files or unpacked > size:
            held = f"{len(archive.files):,} files of {unpacked:,} bytes"
            raise _too_much(f"{held} (at most {files:,} files of {size:,} bytes)")
        ignored = +archive.ignored
        if archive.encrypted:
            ignored["encrypted"] = archive.encrypted
        yield Members(archive, path, unpacked, size, ignored, [])


def _too_much(what: str) -> RefusedScanError:
    return RefusedScanError(Finding("archive-limit", f"holds {what}"), do="send it in parts")
