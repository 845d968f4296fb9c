"""`make gpu`: what it says without a GPU, and that a step which fails or hangs stops no other."""

import json
import os
import signal
import subprocess
import sys
import time
from functools import partial

import pytest
import torch

from benchmarks.gpu import run as gpu
from benchmarks.gpu import tensorrt as gpu_tensorrt
from benchmarks.gpu.report import Outcome, clocks_line, write_report
from benchmarks.gpu.step_process import ROOT, all_parts, pytest_words, run_tests, skip
from darnet_trt.export.onnx.graph import build_graph
from darnet_trt.export.onnx.weights import folded
from darnet_trt.runtime.engines.onnxruntime.runner import OnnxRuntimeRunner
from darnet_trt.training.model import DARNet


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so_in_one_line():
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu.run"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "gpu: no NVIDIA GPU that torch can use on this machine\n"


def test_a_report_of_steps_that_pass(on_cpu, tmp_path):
    words = ("--twins", "--only", "build", "network", "-o", tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu.run", *words],
        capture_output=True,
        text=True,
        check=True,
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
        ("print('targets: 1 missed'); sys.exit(76)", "missed", "targets: 1 missed"),
        ("print('targets: 1 not'); sys.exit(77)", "incomplete", "targets: 1 not"),
        ("print('NOTE: skipped: pycuda')", "passed", "skipped: pycuda"),
        ("print('12 passed')", "passed", ""),
        ("raise ValueError('wrong numbers')", "failed", "ValueError: wrong numbers"),
        ("print('on'); os.abort()", "failed", "ended by SIGABRT; last said: on"),
        ("time.sleep(60)", "failed", "not done in 2 s"),
    ],
)
def test_how_a_step_may_end(monkeypatch, tmp_path, code, status, reason):
    step = tmp_path / "step.py"
    step.write_text(f"import os, sys, time\n{code}\n")
    monkeypatch.setattr(gpu, "STEP_COMMAND", (step,))
    outcome = gpu.perform("build", "cpu", tmp_path, 2)
    assert (outcome.status, outcome.reason) == (status, reason)
    write_report(tmp_path, "gpu.py", {}, [outcome], ["sanitizers-all"])
    report = (tmp_path / "report.md").read_text()
    assert f"| build | {status} |" in report
    assert "Not asked for: sanitizers-all." in report


def test_a_step_that_is_stopped_takes_its_compilers_with_it(monkeypatch, tmp_path):
    started = tmp_path / "compiler"  # its process id
    slow = tmp_path / "g++"
    slow.write_text(f'#!/bin/sh\n[ "$1" = --version ] && exit; echo $$ > {started}; sleep 60\n')
    slow.chmod(0o755)
    step = "from darnet_trt.kernels.build import build_library; build_library('cpu')"
    process = subprocess.Popen(
        [sys.executable, "-c", step],
        env={
            **gpu.environment(tmp_path, 60), "CXX": str(slow), "XDG_CACHE_HOME": str(tmp_path),
        },
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    while not (started.exists() and started.read_text().strip()):
        assert process.poll() is None
        time.sleep(0.05)
    gpu.stop(process)
    assert process.returncode == -signal.SIGINT
    for _ in range(100):  # until the system has cleared it away
        try:
            os.kill(int(started.read_text()), 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    pytest.fail("the compiler still runs")


def outcomes(*statuses):
    return [Outcome("build", status, "", 1.0, "") for status in statuses]


@pytest.mark.parametrize(
    ("statuses", "code"),
    [
        (["passed", "skipped"], 0),
        (["passed", "missed"], 3),
        (["incomplete", "skipped"], 3),
        (["missed", "failed", "passed"], 1),
        (["failed", "interrupted"], 130),
        (["skipped", "skipped"], 2),
    ],
)
def test_the_exit_code(statuses, code):
    assert gpu.exit_code(outcomes(*statuses)) == code


def test_the_default_steps_fit_the_limit_whatever_they_take():
    steps = [name for name, step in gpu.STEPS.items() if step.by_default]
    left, at_worst = 570.0, {}
    for done, step in enumerate(steps):
        at_worst[step] = gpu.budget(steps[done:], left)
        left -= at_worst[step]
    assert left == pytest.approx(0)
    assert min(at_worst.values()) > 10
    assert at_worst["benchmark"] == max(at_worst.values())
    # What the first steps do not take goes to those after them.
    assert gpu.budget(steps[4:], 500) > 1.2 * at_worst["benchmark"]
    assert gpu.budget(["sanitizers-all"], 570) == 570


def test_a_step_for_which_no_time_is_left_is_said_to_be_skipped(tmp_path):
    outcome = gpu.perform("build", "cpu", tmp_path, 0.5)
    assert (outcome.status, outcome.reason) == ("skipped", "no time left within --limit")


def test_the_report_has_what_a_benchmark_measured_before_it_was_stopped(tmp_path):
    row = {
        "type": "float16", "batch": 1, "stage": "stage 1", "failed": {}, "ms": {"fused": 0.1},
        "bytes": {"fused": 100},
    }  # fmt: skip
    measured = {
        "gpu": "A GPU", "torch": "2", "rounds": 20, "l2_bytes": 0, "rows": [row], "targets": [],
    }  # fmt: skip
    (tmp_path / "attention.json").write_text(json.dumps(measured))
    stopped = Outcome("benchmark", "failed", "not done in 240 s", 240.0, "the log")
    write_report(tmp_path, "gpu.py", {"GPU": "A GPU"}, [stopped], [])
    report = (tmp_path / "report.md").read_text()
    assert "| float16 | 1 | stage 1 | – | – | – | – | 100.0 |" in report
    assert "```text\nthe log\n```" in report
    assert json.loads((tmp_path / "report.json").read_text())["attention"]["rows"] == [row]
    write_report(tmp_path, "gpu.py", {}, outcomes("passed"), [])
    assert "attention" not in json.loads((tmp_path / "report.json").read_text())


def test_a_test_that_a_gpu_skips_is_no_pass(tmp_path, capfd):
    (tmp_path / "test_it.py").write_text(
        "import pytest\ndef test_a(): pass\ndef test_b(): pytest.skip('no tool')\n"
    )
    words = [sys.executable, "-m", "pytest", "-rs", "-c", "/dev/null", str(tmp_path)]
    with pytest.raises(SystemExit, match=r"tests were skipped: .*no tool"):
        run_tests("cuda", words)
    run_tests("cpu", words)


@pytest.mark.parametrize(
    ("file", "chosen"),
    [
        ("kernels/test_on_a_device.py", ("-k", "cuda")),
        ("kernels/test_plugin_host.py", ("-m", "gpu")),
        ("runtime/engines/cuda/test_on_a_device.py", ("-k", "cuda-python or pycuda")),
        ("runtime/engines/tensorrt/test_on_a_gpu.py", ()),
    ],
)
def test_what_a_gpu_runs_needs_no_fixture_of_the_projects(file, chosen):
    words = [*pytest_words(file, *chosen), "--setup-plan"]
    path = os.pathsep.join((str(ROOT / "tests"), str(ROOT)))
    done = subprocess.run(
        words, cwd=ROOT, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout
    assert "not found" not in done.stdout


def ended(parts):
    try:
        all_parts(parts)
    except SystemExit as ending:
        return ending.code
    return 0


def test_the_parts_of_a_step(capsys):
    passes = print
    skips = partial(skip, "not installed: pycuda")
    fails = partial(sys.exit, "errors were found")
    assert ended({"a": passes, "b": passes}) == 0
    assert ended({"a": skips, "b": passes}) == 0
    assert capsys.readouterr().out.endswith("\nNOTE: skipped: a: the log says why\n")
    assert ended({"a": fails, "b": skips, "c": fails}) == (
        "a: errors were found; c: errors were found"
    )
    assert ended({"a": skips, "b": skips}) == 75


def test_a_folder_that_cannot_be_made(monkeypatch, capsys, tmp_path):
    (tmp_path / "file").touch()
    words = ["gpu.py", "--twins", "-o", str(tmp_path / "file" / "x")]
    monkeypatch.setattr(sys, "argv", words)
    assert gpu.main() == 2
    assert capsys.readouterr().err.startswith("gpu: no folder for the report: ")


def test_clocks_in_words():
    clocks = {"sm": 345, "memory": 3201, "sm_max": 1980}
    assert clocks_line(clocks) == (
        "SM 345 MHz of at most 1980 MHz, memory 3201 MHz of at most unknown"
    )
    assert clocks_line({}) == ""


def test_a_plan_that_runs_is_compared_with_torch(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(gpu_tensorrt, "ROUNDS", 2)
    networks = gpu_tensorrt._networks()
    checkpoint = networks.trained_like(networks.TINY)
    graph = build_graph(checkpoint.network, folded(model_of(checkpoint)), "fp32", {})
    (tmp_path / "model.onnx").write_bytes(graph.SerializeToString())
    runner = OnnxRuntimeRunner(tmp_path / "model.onnx", threads=1)
    x = gpu_tensorrt._volume(checkpoint)
    logits = runner.infer(x).logits
    gpu_tensorrt.compare(runner, checkpoint, x, logits, "cpu")
    said = capsys.readouterr().out
    assert "with copies to and from the host: plan" in said
    with pytest.raises(SystemExit, match="the logits differ too much"):
        gpu_tensorrt.compare(runner, checkpoint, x, logits + 9, "cpu")
    runner.close()


def model_of(checkpoint):
    model = DARNet(checkpoint.network)
    model.load_state_dict(checkpoint.state_dict)
    return model.eval()
