"""Folders that are broken in every way that the tests of the scan readers know."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.scan.discovery.test_poisons import POISONS
from tests.scan.fuzz.mutations import mutated
from tests.scan.fuzz.samples import Files, make_samples
from tests.scan.series_factory import write_series
from tests.scan.written_scans import SYNTAXES

Break = Callable[[Path], object]

NAMES = ["a\nb", "\x1b[31m", "-rf", " ", "%s", "…", "①", os.fsdecode(b"\xff\xfe"), "'\"$(x)`", "é"]
"""Names of folders that a program may stumble over; a number is put behind each."""

# What makes one attribute of a whole series useless, or each file's.
ATTRIBUTES: list[dict[str, Any]] = [
    {"Modality": "MR"}, {"PixelSpacing": None}, {"ImagePositionPatient": None}, {"Rows": 0},
    {"ImageOrientationPatient": [0, 0, 0, 0, 0, 0]}, {"RescaleSlope": "0"}, {"BitsStored": 17},
    {"SamplesPerPixel": 3}, {"StudyInstanceUID": ""}, {"SeriesInstanceUID": None},
    {"SOPInstanceUID": "1.2.3"}, {"PatientID": ""}, {"InstanceNumber": None}, {"Columns": 65535},
    {"ImageType": ["DERIVED", "SECONDARY"]},
]  # fmt: skip


def _with(attributes: dict[str, Any]) -> Break:
    return lambda folder: write_series(folder, **attributes)


def _of_one_series(damage: Callable[[list[Path]], object]) -> Break:
    return lambda folder: damage(write_series(folder, step_mm=9.0))


def _cut(files: list[Path]) -> None:
    for file in files[::3]:
        os.truncate(file, file.stat().st_size // 2)


def _lose(files: list[Path]) -> None:
    for file in files[5:15]:
        file.unlink()


def _copy(files: list[Path]) -> None:
    for file in files[:7]:
        file.with_suffix(".copy.dcm").write_bytes(file.read_bytes())


def _claim_rle(files: list[Path]) -> None:
    for file in files:
        native, rle = b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.5\0"
        file.write_bytes(file.read_bytes().replace(native, rle))


BREAKS: list[Break] = [
    *POISONS,
    *map(_with, ATTRIBUTES),
    *map(_of_one_series, (_cut, _lose, _copy, _claim_rle)),
]


def broken_folders(samples: Path, seed: int) -> Iterator[Break]:
    """Yield ways to fill a folder, without end: half of them damage a good scan by chance.

    Args:
        samples: Where good scans of every format are written.
        seed: The same seed gives the same damage.
    """
    good = make_samples(samples)
    assert len(good) > len(SYNTAXES)
    number = seed
    while True:
        for way in BREAKS:
            yield way
            number += 1
            yield _write(_own(mutated(good, number)[1], number))


def _own(files: Files, number: int) -> Files:
    """Give a damaged scan UIDs of its own, of the same length, where these can be seen."""
    a, b, c = (number // 9**power % 9 + 1 for power in range(3))
    own = f"1.{a}.{b}.{c}".encode()
    return {name: content.replace(b"1.2.3.1", own) for name, content in files.items()}


def _write(files: Files) -> Break:
    def write(folder: Path) -> None:
        for name, content in files.items():
            (folder / name).write_bytes(content)

    return write
