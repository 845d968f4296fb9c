"""The examples of docs/python.md run, and the page shows them as they are."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from darnet_trt import open_bundle, predict

ROOT = Path(__file__).parents[1]
OURS = ROOT / "examples" / "classify.py"
ONNXRUNTIME = ROOT / "examples" / "classify_with_onnxruntime.py"


def output_of(example, *arguments):
    done = subprocess.run(
        [sys.executable, example, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def assert_example_agrees(bundle, folder, result):
    """Compare the script that uses onnxruntime alone with a result of predict in a folder."""
    covered = map(str, result.series.sampled.covered)
    lines = output_of(ONNXRUNTIME, bundle, folder / result.scan, *covered).splitlines()
    found = {name: float(value) for name, _, value in (line.partition(": ") for line in lines)}
    assert found == pytest.approx(result.probabilities, abs=0.001)


def test_onnxruntime_alone_gives_the_same_probabilities(tiny, phantom_cohort):
    first, second = predict(open_bundle(tiny), phantom_cohort)
    assert first.probabilities != pytest.approx(second.probabilities, abs=0.001)
    assert_example_agrees(tiny, phantom_cohort, first)
    assert_example_agrees(tiny, phantom_cohort, second)


def test_it_needs_nothing_of_ours():
    tree = ast.parse(ONNXRUNTIME.read_text())
    imports = [n for n in ast.walk(tree) if isinstance(n, ast.Import | ast.ImportFrom)]
    names = {getattr(n, "module", None) or n.names[0].name for n in imports}
    assert names == {"json", "sys", "pathlib", "numpy", "onnxruntime", "SimpleITK"}


def test_our_api_gives_a_line_a_scan(tiny, phantom_series, tmp_path):
    nothing = tmp_path / "nothing"
    nothing.mkdir()
    first, second = sorted(output_of(OURS, tiny, phantom_series, nothing).splitlines())
    (result,) = predict(open_bundle(tiny), phantom_series)
    assert first.startswith(f"{phantom_series.name}: {result.predicted} ")
    assert second.startswith("nothing: failed, ")


def test_the_page_shows_the_files_and_its_other_code_runs(
    tiny, phantom_cohort, tmp_path, monkeypatch, capsys
):
    page = (ROOT / "docs" / "python.md").read_text()
    shown = re.findall(r"```python\n(.*?)```", page, re.S)
    shown.remove(OURS.read_text())
    shown.remove(ONNXRUNTIME.read_text())
    (tmp_path / "scans").symlink_to(phantom_cohort)
    monkeypatch.chdir(tmp_path)  # where `tiny` is "bundle"
    for code in shown:
        exec(code, {})
    assert capsys.readouterr().out.count("(1, 16, 32, 32)") == 2
