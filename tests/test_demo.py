"""The demo's folder: it clears what it made, and nothing else."""

import importlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from darnet_trt.calibration.decisions.decide import decide

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture
def demo(monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES)
    return importlib.import_module("demo")


@pytest.fixture
def report(monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES)
    return importlib.import_module("report")


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


def int8_engine(name, scans, changed=0):
    logits = np.eye(3, dtype=np.float32)[np.arange(scans) % 3]
    found = decide(logits, np.roll(logits, changed, 1), list(np.arange(scans) % 3), "phantoms")
    return {
        "name": name,
        "decisions": found.model_dump(mode="json"),
        "quantization": {"scans": 32},
    }


def test_the_report_says_which_scans_judged_int8_and_what_they_cannot_show(report):
    float32 = {"name": "openvino-fp32", "decisions": None, "quantization": None}
    manifest = {
        "artifacts": [float32, int8_engine("openvino-int8", 75)],
        "rejected": [int8_engine("onnxruntime-int8", 75, changed=1)],
    }
    first, *others = report._int8(manifest, ["train"] * 387 + ["held-out"] * 93)
    for number in ("480 scans", "93 did not train", "75 in all", "32 others"):
        assert number in first
    assert any("openvino-int8" in line and "reserve: 75 scans" in line for line in others)
    assert any("onnxruntime-int8" in line and "failure: " in line for line in others)
    assert report._int8({"artifacts": [float32], "rejected": []}, []) == []
