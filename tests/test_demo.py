"""The demo's folder: it clears what it made, and nothing else."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture
def demo(monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES)
    return importlib.import_module("demo")


def names_in(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def test_a_folder_of_somebody_else_is_refused_whole(tmp_path):
    (tmp_path / "cohort").mkdir()
    (tmp_path / "cohort" / "patient.dcm").touch()
    (tmp_path / "thesis.txt").touch()
    done = subprocess.run(
        [sys.executable, EXAMPLES / "demo.py", "--out", tmp_path],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert str(tmp_path) in done.stderr
    assert done.stderr.count("\n") == 1
    assert names_in(tmp_path) == ["cohort/patient.dcm", "thesis.txt"]


def test_its_own_folder_is_cleared_and_strangers_stay(demo, tmp_path):
    out = tmp_path / "demo"
    assert demo.cleared(out)
    (out / "cohort").mkdir()
    (out / "cohort" / "scan.dcm").touch()
    (out / "report.html").touch()
    (out / "notes").mkdir()
    (out / "notes" / "mine.txt").touch()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "kept.txt").touch()
    (out / "bundle").symlink_to(tmp_path / "elsewhere")
    assert demo.cleared(out)
    assert sorted(p.name for p in out.iterdir()) == [demo._MARKER, "notes"]
    assert names_in(tmp_path / "elsewhere") == ["kept.txt"]
    assert names_in(out / "notes") == ["mine.txt"]


def test_an_empty_folder_is_taken_and_a_file_is_not(demo, tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    assert not demo.cleared(tmp_path / "file")
    assert demo.cleared(tmp_path / "empty")


def test_the_share_of_phantoms_that_are_right(demo, tmp_path):
    (tmp_path / "cohort.csv").write_text(
        "scan,patient,label\nP1/1,P1,normal\nP2/1,P2,covid-19\n" + "P3/1,P3,normal\nP4/1,P4,normal"
    )
    lines = "scan,status,class\nP1/1,ok,normal\nP2/1,ok,normal\nP3/1,refused,\nP4/1,ok,normal\n"
    (tmp_path / "results.csv").write_text(lines)
    assert demo.share_right(tmp_path, tmp_path) == 0.5
