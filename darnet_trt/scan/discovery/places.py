"""Where a search begins, and which folder its results are named by."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Place:
    """A file, a folder or a zip archive to search.

    Attributes:
        path: What is searched; absolute.
        root: The folder that was given, or that holds the file that was given; absolute. Names of
            scans are relative to it.
    """

    path: Path
    root: Path

    @classmethod
    def given(cls, path: Path) -> Place:
        """Return the place that a person gave."""
        absolute = Path(os.path.abspath(path))  # noqa: PTH100 (keeps links, resolves "..")
        return cls(absolute, absolute if absolute.is_dir() else absolute.parent)

    def name(self, scan: Path) -> str:
        """Return a scan's path relative to the root; of the root itself its last part."""
        relative = os.path.relpath(scan, self.root)
        return self.root.name if relative == os.curdir else relative
