"""A real archive, started by the test."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from benchmarks.cpu.service.orthanc import PLUGIN, PROGRAM, Orthanc, free_port

__all__ = ["Orthanc", "free_port", "needs_orthanc", "running"]
needs_orthanc = pytest.mark.skipif(
    PROGRAM is None or not PLUGIN.exists(), reason="no Orthanc: install orthanc orthanc-dicomweb"
)


@contextmanager
def running(folder: Path, **settings: Any) -> Iterator[Orthanc]:
    archive = Orthanc(folder)
    archive.start(**settings)
    try:
        yield archive
    finally:
        archive.stop()
