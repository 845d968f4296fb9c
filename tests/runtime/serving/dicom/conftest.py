"""Doors on loopback, and what stands before them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from darnet_trt.runtime.serving.dicom.scp import DicomDoor
from darnet_trt.runtime.serving.settings import DicomSettings
from tests.runtime.serving.received import Kept, open_store


@dataclass(frozen=True)
class Open:
    """A door that is open.

    Attributes:
        door: It.
        kept: The store behind it.
    """

    door: DicomDoor
    kept: Kept

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", self.door.port


@pytest.fixture
def open_door(tmp_path: Path) -> Iterator[Callable[..., Open]]:
    """Opens a door; its settings are given by name, and those of the store as `store`."""
    with ExitStack() as stack:

        def opened(store: dict[str, Any] | None = None, **settings: Any) -> Open:
            kept = open_store(tmp_path / "state", **(store or {}))
            door = DicomDoor(DicomSettings(**{"port": 0, **settings}), kept.store)
            stack.callback(door.close)
            return Open(door, kept)

        yield opened


@pytest.fixture
def door(open_door: Callable[..., Open]) -> Open:
    return open_door()
