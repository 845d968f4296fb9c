"""Files as they come in, and a store that takes them."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import config
from pydicom.dataset import Dataset

from darnet_trt.runtime.serving.intake.store import Received, Store
from darnet_trt.runtime.serving.settings import HttpSettings, Settings
from tests.scan.series_factory import slice_dataset

CT = "1.2.840.10008.5.1.4.1.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
IMPLICIT = "1.2.840.10008.1.2"


def one_slice(number: int = 1, study: str = "1.2.3", **attributes: Any) -> Dataset:
    """A slice of a study; its SOPInstanceUID is the study's with its number."""
    pixels = np.full((16, 16), number, np.int16)
    chosen = {
        "StudyInstanceUID": study,
        "SOPInstanceUID": f"{study}.{number}",
        "InstanceNumber": number,
        **attributes,
    }
    with config.disable_value_validation():
        return slice_dataset(pixels, (0.0, 0.0, float(number)), **chosen)


def encoded(ds: Dataset) -> bytes:
    """Its file."""
    stream = io.BytesIO()
    with config.disable_value_validation():
        ds.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def a_file(number: int = 1, study: str = "1.2.3", **attributes: Any) -> bytes:
    return encoded(one_slice(number, study, **attributes))


@dataclass
class Kept:
    """A store, and what it told of.

    Attributes:
        store: The store.
        arrived: Each file and its peer, in the order in which they came.
    """

    store: Store
    arrived: list[tuple[Received, str]] = field(default_factory=list)


def open_store(
    state: Path,
    admit: Callable[[str], None] = lambda study: None,
    least_free: int = 0,
    **limits: Any,
) -> Kept:
    """Open a store in a state folder.

    Args:
        state: The folder.
        admit: As of `Store`.
        least_free: As of `Settings`.
        limits: Of `HttpSettings`.
    """
    state.mkdir(exist_ok=True)
    settings = Settings(bundle=state, state=state, least_free=least_free)
    settings = replace(settings, http=HttpSettings(**limits))
    arrived: list[tuple[Received, str]] = []
    store = Store(state, settings, admit, lambda received, peer: arrived.append((received, peer)))
    return Kept(store, arrived)


def contents(store: Store) -> dict[str, bytes]:
    """Every file that is kept, by study and name."""
    return {
        f"{study}/{file}": (store.folder(study) / file).read_bytes()
        for study, files in store.studies()
        for file in files
    }
