"""`make gpu`: what it says without a GPU, and that a step which fails or hangs stops no other."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import gpu  # noqa: E402


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so_in_one_line():
    done = subprocess.run(
        [sys.executable, BENCHMARKS / "gpu.py"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "gpu: no NVIDIA GPU that torch can use on this machine\n"


def test_a_report_of_steps_that_pass(on_cpu, tmp_path):
    words = ("--twins", "--only", "build", "network", "-o", tmp_path)
    done = subprocess.run(
        [sys.executable, BENCHMARKS / "gpu.py", *words], capture_output=True, text=True, check=True
    )
    report = json.loads((tmp_path / "report.json").read_text())
    assert [(s["step"], s["status"]) for s in report["steps"]] == [
        ("build", "passed"),
        ("network", "passed"),
    ]
    assert report["machine"]["torch"] == torch.__version__
    assert "| network | passed |" in (tmp_path / "report.md").read_text()
    assert done.stdout.endswith(f"report: {tmp_path / 'report.md'}\n")


@pytest.mark.parametrize(
    ("code", "status", "reason"),
    [
        ("print('SKIPPED: no such thing'); sys.exit(75)", "skipped", "no such thing"),
        ("print('a target was not reached'); sys.exit(76)", "missed", "a target was not reached"),
        ("raise ValueError('wrong numbers')", "failed", "ValueError: wrong numbers"),
        ("print('on'); os.abort()", "failed", "ended by SIGABRT; last said: on"),
        ("time.sleep(60)", "failed", "not done in 2 s"),
    ],
)
def test_how_a_step_may_end(monkeypatch, tmp_path, code, status, reason):
    step = tmp_path / "step.py"
    step.write_text(f"import os, sys, time\n{code}\n")
    monkeypatch.setattr(gpu, "__file__", str(step))
    outcome = gpu.perform("build", "cpu", tmp_path, 2)
    assert (outcome.status, outcome.reason) == (status, reason)
    gpu.write_report(tmp_path, {}, [outcome])
    assert f"| build | {status} |" in (tmp_path / "report.md").read_text()


def test_a_test_that_a_gpu_skips_is_no_pass(tmp_path, capfd):
    (tmp_path / "test_it.py").write_text(
        "import pytest\ndef test_a(): pass\ndef test_b(): pytest.skip('no tool')\n"
    )
    words = [sys.executable, "-m", "pytest", "-rs", "-c", "/dev/null", str(tmp_path)]
    with pytest.raises(SystemExit, match=r"tests were skipped: .*no tool"):
        gpu.run_tests("cuda", words)
    gpu.run_tests("cpu", words)
