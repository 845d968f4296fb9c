"""The README's commands run as printed, in its order, from an empty folder."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from darnet_trt import open_bundle, predict
from tests.test_examples import assert_example_agrees

pytestmark = [pytest.mark.long, pytest.mark.timeout(7200)]

_README = Path(__file__).parents[1] / "README.md"


def commands():
    section = _README.read_text().partition("\n## Use\n")[2].partition("\n## ")[0]
    return [shlex.split(line) for line in re.findall(r"^\$ (darnet-trt .*)$", section, re.M)]


def test_every_command_under_use_runs(tmp_path):
    found = commands()
    assert [words[1] for words in found] == [
        "doctor", "phantom", "inspect", "train", "export", "build", "calibrate", "build",
        "bundle", "bundle", "predict", "predict", "report", "bench",
    ]  # fmt: skip
    for words in found:
        done = subprocess.run(
            [Path(sys.executable).with_name(words[0]), *words[1:]],
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, (words, done.stderr)
    assert len((tmp_path / "results" / "results.jsonl").read_text().splitlines()) == 12
    assert len(list((tmp_path / "results").glob("*.png"))) == 12
    bundle = tmp_path / "bundle"
    scan = tmp_path / "cohort" / "P0001" / "1"
    (result,) = predict(open_bundle(bundle), scan, artifact="onnxruntime-fp32")
    assert_example_agrees(bundle, scan.parent, result)
