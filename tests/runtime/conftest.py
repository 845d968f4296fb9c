"""Fixtures for the runtime."""

from pathlib import Path

import pytest
from tiny_bundle import write_bundle


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A fresh bundle, to be used or spoiled."""
    return write_bundle(tmp_path / "bundle")
