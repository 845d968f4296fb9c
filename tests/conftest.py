"""Fixtures for every room."""

import os
from pathlib import Path

import pytest
from tiny_bundle import write_bundle

_DATA = Path(os.environ.get("DARNET_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The real CT series; tests that use it are marked `data`."""
    if not _DATA.is_dir():
        pytest.skip(f"no real CT series at {_DATA} (set DARNET_TEST_DATA)")
    return _DATA


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A fresh bundle, to be used or spoiled."""
    return write_bundle(tmp_path / "bundle")
