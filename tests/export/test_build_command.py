"""`darnet-trt export` and `darnet-trt build`, as typed, with what goes wrong."""

import importlib.util
import json
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace

import onnx
import pytest

from darnet_trt.bundle.reading import open_bundle
from darnet_trt.calibration.search import search as int8
from darnet_trt.phantom import CohortPlan, write_cohort
from darnet_trt.scan.cohorts import read_cohort
from darnet_trt.training.checkpoint import save_checkpoint
from tests.export.networks import TINY, trained_like
from tests.full_disk import files_up_to

rtx = pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx") is None, reason="tensorrt_rtx is not installed"
)


def failed(result):
    """Return the one line of a command that ended with exit code 2."""
    assert result.returncode == 2, result.stderr
    assert result.stdout == ""
    return result.stderr.strip().splitlines()[-1]


def test_export(run, tmp_path, command):
    result = command("export", run, "-o", tmp_path / "m.onnx", "--precision", "fp16")
    assert result.returncode == 0, result.stderr
    assert "m.onnx: fp16, attention both, input batch×1×16×32×32" in result.stdout
    assert [p.name for p in tmp_path.iterdir()] == ["m.onnx"]


def test_an_inlined_export_has_a_name_of_its_own(tmp_path, command):
    save_checkpoint(trained_like(TINY), tmp_path)
    in_bf16 = ["--precision", "bf16"]
    for options in ([], ["--inline"], ["--precision", "fp16", "--inline"], in_bf16):
        result = command("export", tmp_path, *options)
        assert result.returncode == 0, result.stderr
        assert ("standard operators only" in result.stdout) == ("--inline" in options)
    files = {p.name: len(onnx.load(p).functions) for p in tmp_path.glob("*.onnx")}
    assert files == {
        "model.onnx": 1,
        "model-inline.onnx": 0,
        "model-fp16-inline.onnx": 0,
        "model-bf16.onnx": 1,
    }


def test_export_never_overwrites_a_checkpoint(run, command):
    before = (run / "checkpoint.pt").read_bytes()
    assert ".onnx" in failed(command("export", run, "-o", run / "checkpoint.pt"))
    assert "'int8' is not one of" in failed(command("export", run, "--precision", "int8"))
    assert (run / "checkpoint.pt").read_bytes() == before


def test_build_prints_what_it_built(run, tmp_path, command):
    out = tmp_path / "b"
    result = command("build", run, "-o", out, "--precision", "fp32", "--threads", 1)
    assert result.returncode == 0, result.stderr
    assert "openvino-fp32" in result.stdout
    assert "default" in result.stdout
    assert "trained on nothing" in result.stdout
    line = failed(command("build", run, "-o", out))
    assert str(out) in line
    assert "--force" in line
    result = command("build", run, "-o", out, "--target", "onnxruntime", "--force", "--json")
    assert '"default": "onnxruntime-fp32"' in result.stdout
    assert [a.name for a in open_bundle(out).manifest.artifacts] == ["onnxruntime-fp32"]


def test_few_scans_make_no_int8_engine_the_default(run, tmp_path, command, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    cohort = tmp_path / "scans"
    write_cohort(CohortPlan(scans=4, matrix=64, slices=(30, 30)), cohort, processes=1)
    out = tmp_path / "b"
    words = ("--target", "openvino", "--calibration", cohort)
    blank = command("build", run, "-o", out, *words, "--accept", " ")
    assert "--accept: " in failed(blank)
    result = command("build", run, "-o", out, *words)
    assert result.returncode == 0, result.stderr
    assert open_bundle(out).manifest.default in ("openvino-fp32", "openvino-bf16")
    int8 = next(a for a in open_bundle(out).manifest.artifacts if a.name == "openvino-int8")
    untold, *few = int8.decisions.reserves
    assert "nobody knows" in untold  # random weights do not say what trained them
    assert int8.decisions.seen is None
    assert "138" in few[0]
    said = "; ".join((untold, *few))
    assert f"openvino-int8: not the default: {said}" in result.stdout
    assert (result.stdout + result.stderr).count(said) == 1
    scan = read_cohort(cohort).entries[0].scan
    result = command("predict", out, scan, "--artifact", "openvino-int8")
    (line,) = result.stdout.splitlines()
    assert {"code": "engine-little-tested", "text": f"engine openvino-int8: {said}"} in (
        json.loads(line)["warnings"]
    )
    result = command("bench", out, "--artifact", "openvino-int8", "--rounds", 1, "--json")
    (engine,) = json.loads(result.stdout)["engines"]
    assert said in engine["warnings"][0]


@pytest.mark.parametrize("name", ["export", "build"])
def test_an_unusable_run_is_refused(name, tmp_path, command):
    (tmp_path / "text.pt").write_text("not a checkpoint")
    out = ("-o", tmp_path / ("x.onnx" if name == "export" else "x"))
    assert "no such file or folder" in failed(command(name, tmp_path / "absent", *out))
    (tmp_path / "empty").mkdir()
    assert "no checkpoint here" in failed(command(name, tmp_path / "empty", *out))
    (tmp_path / "empty").rmdir()
    assert "not a readable checkpoint" in failed(command(name, tmp_path / "text.pt", *out))
    assert [p.name for p in tmp_path.iterdir()] == ["text.pt"]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("--target gpu", "--target: unknown target 'gpu'.*openvino, onnxruntime, tensorrt"),
        ("--precision int3", "'int3' is not one of"),
        ("--batch 1:2", "--batch: .*--target"),
        ("--batch 0:1", "--batch: 0:1"),
        ("--batch a", "'a'"),
        ("--plugin on", "--plugin on: .*--target"),
        ("--scans absent", "absent"),
        pytest.param(
            "--target tensorrt-rtx --hardware-compatible",
            "--hardware-compatible: TensorRT-RTX",
            marks=rtx,
        ),
    ],
)
def test_unusable_options_are_refused(run, tmp_path, command, words, reason):
    line = failed(command("build", run, "-o", tmp_path / "b", *words.split()))
    assert re.search(reason, line)
    assert list(tmp_path.iterdir()) == []


@rtx
def test_build_prints_what_a_plan_runs(run, tmp_path, command, one_library):
    result = command("build", run, "-o", tmp_path / "b", "--target", "tensorrt-rtx:sm86,sm120")
    assert result.returncode == 0, result.stderr
    assert "darnet-trt plugin build" in result.stderr  # the library for the CPU is none for a GPU
    for target in ("sm86", "sm120"):
        lines = [at for at in result.stdout.splitlines() if f"rtx-{target}-fp16: " in at]
        assert any("21 convolution fp16" in line for line in lines)
        assert any(" launches, " in line for line in lines)


def test_int8_needs_scans(run, tmp_path, command):
    build = ("build", run, "-o", tmp_path / "b", "--target", "openvino")
    line = failed(command(*build, "--precision", "int8"))
    assert "--precision int8: " in line
    assert line.endswith("add --calibration SCANS")
    assert "add --calibration SCANS" in failed(command(*build, "--accept", "me"))
    (tmp_path / "empty").mkdir()
    for place in (tmp_path / "nowhere", tmp_path / "empty"):
        assert str(place) in failed(command(*build, "--calibration", place))
    assert not (tmp_path / "b").exists()


def test_calibration_logs_its_memory_and_the_search_ends_in_time(
    run, tmp_path, command, monkeypatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    right = int8.ranges_of

    def far_wrong_field(*arguments):
        found = right(*arguments)
        return {name: replace(r, largest=400 * r.largest) for name, r in found.items()}

    monkeypatch.setattr(int8, "ranges_of", far_wrong_field)
    words = ("--target", "onnxruntime", "--calibration", "random", "--calibration-scans", 1)
    words += ("--method", "mse", "--seconds", 0, "--accept", "a test, for its speed")
    result = command("build", run, "-o", tmp_path / "b", *words)
    assert result.returncode == 0, result.stderr
    memory, disk, *_ = result.stderr.splitlines()
    assert "GB of memory" in memory
    assert "5 " in disk
    assert "MB in" in disk
    found = {a.name: a for a in open_bundle(tmp_path / "b").manifest.artifacts}
    report = found["onnxruntime-int8"].quantization
    assert list(report.trials) == [0]  # there was no time for another
    assert report.trials[0]
    assert [e.layer for e in report.block_effects] == ["stem"]
    assert "--seconds" in failed(command("build", run, "-o", tmp_path / "c", "--seconds", -1))


@pytest.mark.data
def test_the_gate_on_real_scans(run, tmp_path, data_dir, command):
    out = tmp_path / "b"
    result = command("build", run, "-o", out, "--target", "onnxruntime", "--scans", data_dir)
    assert result.returncode == 0, result.stderr
    (artifact,) = open_bundle(out).manifest.artifacts
    assert artifact.parity.source == "2 scans of data"
    assert result.stderr.count("skipped for the parity gate") == 2


# 50 kB for the ONNX file, 3 MB for that but not for a TensorRT plan.
@pytest.mark.parametrize(
    ("room", "target"),
    [(50_000, "openvino"), pytest.param(3_000_000, "tensorrt-rtx", marks=rtx)],
)
def test_a_disk_without_room_leaves_nothing(tmp_path, command, room, target):
    save_checkpoint(trained_like(TINY.model_copy(update={"width": 8})), tmp_path / "run")
    # Without the plugin the plan is larger.
    words = (tmp_path / "run", "-o", tmp_path / "b", "--target", target, "--plugin", "off")
    with files_up_to(room):
        line = failed(command("build", *words))
    assert line.startswith(f"darnet-trt: {tmp_path / 'b'}: "), line
    assert "cannot be written (File too large)" in line
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


def test_ctrl_c_in_a_real_build_leaves_nothing(run, tmp_path):
    # Children of a shell's background job ignore SIGINT.
    heed = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    code = heed + "from darnet_trt.cli.main import main; main()"
    command = [sys.executable, "-c", code, "build", run, "-o", tmp_path / "bundle"]
    child = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while "reference" not in child.stderr.readline():  # the engines' files are written by now
        assert child.poll() is None
    time.sleep(0.01)
    child.send_signal(signal.SIGINT)
    _, errors = child.communicate(timeout=60)
    assert child.returncode == 130, errors
    assert "Traceback" not in errors
    assert list(tmp_path.iterdir()) == []
