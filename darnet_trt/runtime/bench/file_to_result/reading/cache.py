"""Drop a scan's files from the file cache."""

from __future__ import annotations

import os

from darnet_trt.machine.archives import archive_of
from darnet_trt.scan.series import Study


def drop_from_cache(study: Study) -> None:
    """Ask the kernel to forget the bytes of a study's files.

    It keeps bytes that are not on the disk yet, and folders. Some file systems do not take part.
    """
    if not hasattr(os, "posix_fadvise"):  # macOS, Windows
        return
    files = {file for series in study.series for file in series.files}
    for file in {file if file.is_file() else archive_of(file) or file for file in files}:
        with file.open("rb") as stream:
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
