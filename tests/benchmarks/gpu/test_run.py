"""`make gpu`: its report, and that no part which fails, crashes or hangs stops another."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from benchmarks.gpu import run as gpu
from benchmarks.gpu.parts import NOT_BY_DEFAULT, PARTS, ROOT, Part, gpu_tests
from benchmarks.gpu.report import PartResult, asked_for, version_of, write_report

COMMAND = [sys.executable, "-m", "benchmarks.gpu.run"]


def script(tmp_path, name, code, **options):
    """A part that runs Python code."""
    file = tmp_path / f"{name}.py"
    file.write_text(f"import os, signal, subprocess, sys, time\n{code}\n")
    return Part(name, (sys.executable, str(file)), options.pop("weight", 100), **options)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so_in_one_line():
    done = subprocess.run(COMMAND, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    reason = "built without CUDA" if torch.version.cuda is None else "no NVIDIA GPU"
    assert reason in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.skipif(torch.cuda.is_available(), reason="with a GPU it is no trial")
def test_a_trial_on_a_cpu_writes_the_report(on_cpu, tmp_path):
    words = ("--without-gpu", "--only", "build", "network", "memory", "-o", tmp_path)
    done = subprocess.run([*COMMAND, *words], capture_output=True, text=True, check=True)
    report = json.loads((tmp_path / "report.json").read_text())
    assert [(part["part"], part["status"]) for part in report["parts"]] == [
        ("build", "passed"),
        ("network: eager", "passed"),
        ("memory: cuda-python", "skipped"),
        ("memory: pycuda", "skipped"),
        ("network: compiled", "skipped"),
    ]
    assert report["machine"]["torch"] == torch.__version__
    absent = [name for name in asked_for() if not version_of(name)]
    assert report["machine"].get("not installed", "") == ", ".join(absent)
    assert all(name in done.stdout for name in absent)
    assert "| network: eager | passed |" in (tmp_path / "report.md").read_text()
    assert str(tmp_path / "report.md") in done.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.json", "report.md"]


def test_whatever_becomes_of_a_part_the_others_run(tmp_path):
    parts = [
        script(tmp_path, "wrong", "raise ValueError('wrong numbers')"),
        script(tmp_path, "crash", "print('begun', flush=True); os.abort()"),
        script(tmp_path, "hang", "print('begun', flush=True); time.sleep(600)", weight=1),
        script(tmp_path, "unable", "print('no such thing here'); sys.exit(77)"),
        script(tmp_path, "bare", "import no_such_package"),
        script(tmp_path, "ours", "import darnet_trt.no_such_module"),
        Part("tool", ("no-such-program",), 100),
        script(tmp_path, "old", "print('Device not supported'); sys.exit(1)",
               unsupported="Device not supported"),
        script(tmp_path, "slow", "print('targets: 1 missed'); sys.exit(3)", codes={3: "missed"}),
        script(tmp_path, "well", "print('12 passed')"),
    ]  # fmt: skip
    results = gpu.run_all(parts, {"GPU": "A GPU"}, tmp_path, 1000)
    assert [(r.part, r.status) for r in results] == [
        ("wrong", "failed"),
        ("crash", "failed"),
        ("hang", "failed"),
        ("unable", "skipped"),
        ("bare", "skipped"),
        ("ours", "failed"),
        ("tool", "skipped"),
        ("old", "skipped"),
        ("slow", "missed"),
        ("well", "passed"),
    ]
    reason = {r.part: r.reason for r in results}
    assert reason["wrong"] == "ValueError: wrong numbers"
    assert reason["unable"] == "no such thing here"
    assert "SIGABRT" in reason["crash"]
    assert "begun" in reason["hang"]
    assert "no_such_package" in reason["bare"]
    assert "no-such-program" in reason["tool"]
    report = (tmp_path / "report.md").read_text()
    assert "- GPU: A GPU" in report
    assert all(f"| {r.part} | {r.status} |" in report for r in results)
    assert "ValueError: wrong numbers\n```" in report


def test_a_part_that_hangs_is_ended_with_all_that_it_started(monkeypatch, tmp_path):
    monkeypatch.setattr(gpu, "GRACE_S", 1)
    pids = tmp_path / "pids"
    part = script(
        tmp_path,
        "deaf",
        f"""
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
compiler = subprocess.Popen(["sleep", "600"], start_new_session=True)
open({str(pids)!r}, "w").write(f"{{os.getpid()}} {{compiler.pid}}")
time.sleep(600)
""",
    )
    result = gpu.perform(part, 10)
    assert result.status == "failed"
    assert_ended(pids)


def assert_ended(pids):
    """Wait until no process in the file is there; a test's time limit ends the wait."""
    for pid in map(int, pids.read_text().split()):
        while is_running(pid):
            time.sleep(0.05)


def is_running(pid):
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"  # Z: it waits for its parent to see its end


def test_interrupted_it_ends_the_part_and_writes_the_report(tmp_path):
    pids = tmp_path / "pids"
    begun = script(
        tmp_path,
        "begun",
        f"open({str(pids)!r}, 'w').write(str(os.getpid()))\nprint('at work', flush=True)\n"
        "time.sleep(600)",
    )
    code = f"""
import sys
from benchmarks.gpu import run
from benchmarks.gpu.parts import Part
run.PARTS = (Part("begun", {begun.command!r}, 1), Part("later", ("true",), 1))
sys.argv = ["run", "--without-gpu", "--limit", "1000", "-o", {str(tmp_path / "out")!r}]
sys.exit(run.main())
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    while not (pids.exists() and pids.read_text()):
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    assert process.wait() == 130
    assert_ended(pids)
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert [part["status"] for part in report["parts"]] == ["interrupted"]
    assert report["not_run"] == ["later"]


TESTS = {
    "passed": "def test_a(): pass",
    "failed": "def test_a(): assert False",
    "incomplete": "def test_a(): pass\ndef test_b(): pytest.skip('no tool')",
    "skipped": "def test_a(): pytest.skip('no tool')",
    "skipped for a package": "import no_such_package\ndef test_a(): pass",
    "failed: it has no tests": "",
}


@pytest.mark.parametrize("name", TESTS)
def test_a_test_that_a_gpu_skips_is_no_pass(tmp_path, name):
    file = tmp_path / "test_it.py"
    file.write_text(f"import pytest\npytestmark = pytest.mark.gpu\n{TESTS[name]}\n")
    result = gpu.perform(Part("kernels", gpu_tests(str(file)), 1), 500)
    assert result.status == name.partition(" ")[0].rstrip(":"), result.output
    if "package" in name:
        assert "no_such_package" in result.reason
    elif name in ("incomplete", "skipped"):
        assert "no tool" in result.reason


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
    assert gpu.exit_code(statuses) == code


def test_the_parts_fit_the_limit_whatever_they_take():
    parts = [part for part in PARTS if part.name not in NOT_BY_DEFAULT]
    left, at_worst = 570.0, {}
    for done, part in enumerate(parts):
        at_worst[part.title] = gpu.share(parts[done:], left)
        left -= at_worst[part.title]
    assert left == pytest.approx(0)
    assert min(at_worst.values()) > 10
    assert at_worst["benchmark"] == max(at_worst.values())
    # What the first parts do not take goes to those after them.
    benchmark = [part.name for part in parts].index("benchmark")
    assert gpu.share(parts[benchmark:], 500) > 1.2 * at_worst["benchmark"]


def test_a_part_for_which_no_time_is_left_is_skipped(tmp_path):
    result = gpu.perform(script(tmp_path, "late", ""), 0.5)
    assert result.status == "skipped"
    assert "--limit" in result.reason


def test_the_report_has_what_a_benchmark_measured_before_it_was_stopped(tmp_path):
    row = {
        "type": "float16", "batch": 1, "stage": "stage 1", "failed": {}, "ms": {"fused": 0.1},
        "bytes": {"fused": 100},
    }  # fmt: skip
    measured = {
        "gpu": "A GPU", "torch": "2", "rounds": 20, "l2_bytes": 0, "rows": [row], "targets": [],
    }  # fmt: skip
    code = f"open(sys.argv[1], 'w').write({json.dumps(measured)!r}); print('the log'); sys.exit(1)"
    part = script(tmp_path, "benchmark", code)
    part = Part(part.name, (*part.command, "{folder}/attention.json"), 1)
    result = gpu.perform(part, 100)
    write_report(tmp_path, {}, [result], [])
    report = (tmp_path / "report.md").read_text()
    assert "| float16 | 1 | stage 1 | 100.0 | – |" in report
    assert "```text\nthe log\n```" in report
    assert json.loads((tmp_path / "report.json").read_text())["parts"][0]["measured"] == measured


def test_a_reason_keeps_to_its_cell(tmp_path):
    write_report(tmp_path, {}, [PartResult("build", "failed", "a | b" + 300 * "c")], [])
    row = next(s for s in (tmp_path / "report.md").read_text().splitlines() if "build" in s)
    assert row.count("|") == 5
    assert len(row) < 300


def test_what_a_gpu_runs_is_found_and_needs_no_fixture_of_the_projects(tmp_path):
    commands = {part.command: None for part in PARTS if "pytest" in part.command}
    words = [
        [word.format(folder=tmp_path) for word in command[command.index("pytest") + 1 :]]
        for command in commands
    ]
    assert len({each[each.index("-k") + 1] for each in words}) >= 9
    code = "import json, pytest, sys; w = json.loads(sys.argv[1])\n"
    code += "sys.exit(max(pytest.main([*each, '--setup-plan']) for each in w))"  # 5: no tests
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(words)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_a_folder_that_cannot_be_made(monkeypatch, capsys, tmp_path):
    (tmp_path / "file").touch()
    words = ["run.py", "--without-gpu", "-o", str(tmp_path / "file" / "x")]
    monkeypatch.setattr(sys, "argv", words)
    assert gpu.main() == 2
    assert str(tmp_path / "file") in capsys.readouterr().err


@pytest.mark.parametrize(
    ("about", "reason"),
    [
        ({}, "torch is not installed"),
        ({"torch": "2.13.0+cpu"}, "without CUDA"),
        ({"torch": "2.13.0"}, "no NVIDIA GPU"),
    ],
)
def test_why_there_is_no_gpu(about, reason):
    assert reason in gpu.why_no_gpu(about)


def test_the_packages_of_gpu_test_are_the_ones_that_the_parts_import():
    names = asked_for()
    assert {"pydantic", "pytest", "cmake", "torch", "onnx", "onnxruntime-gpu"} <= set(names)
    assert all(re.fullmatch(r"[\w.-]+", name) for name in names)
