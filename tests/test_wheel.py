"""What an installation has beside Python: the kernels' sources, compiled where they run."""

from pathlib import Path
from zipfile import ZipFile

import pytest

from darnet_trt.kernels.build import SOURCES

ROOT = Path(__file__).parents[1]


def test_the_wheel_has_every_source_of_the_kernels(tmp_path):
    wheel = pytest.importorskip("hatchling.builders.wheel", reason="hatchling is not installed")
    (built,) = wheel.WheelBuilder(str(ROOT)).build(directory=str(tmp_path))
    with ZipFile(built) as archive:
        inside = set(archive.namelist())
    sources = {p.relative_to(ROOT).as_posix() for p in SOURCES.rglob("*") if p.is_file()}
    assert {Path(name).suffix for name in sources} == {".cu", ".cuh", ".cpp", ".h", ".txt"}
    assert sources <= inside
    assert "darnet_trt/py.typed" in inside
