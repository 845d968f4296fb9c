"""What a distribution has beside Python: the kernels' sources, and the pages."""

import tarfile
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
    assert "darnet_trt/runtime/bench/layers/peak.c" in inside


def test_the_source_distribution_has_what_make_test_needs(tmp_path):
    sdist = pytest.importorskip("hatchling.builders.sdist", reason="hatchling is not installed")
    (built,) = sdist.SdistBuilder(str(ROOT)).build(directory=str(tmp_path))
    with tarfile.open(built) as archive:
        inside = {name.partition("/")[2] for name in archive.getnames()}
    needed = ["Makefile", "constraints.txt", "CITATION.cff", "LICENSE", "tests/conftest.py"]
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/*"), *ROOT.glob("examples/*.py")]
    needed += [page.relative_to(ROOT).as_posix() for page in pages]
    assert [name for name in needed if name not in inside] == []
