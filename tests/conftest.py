"""Fixtures for every room."""

import os
from pathlib import Path

import pytest

_DATA = Path(os.environ.get("DARNET_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The real CT series; tests that use it are marked `data`."""
    if not _DATA.is_dir():
        pytest.skip(f"no real CT series at {_DATA} (set DARNET_TEST_DATA)")
    return _DATA
