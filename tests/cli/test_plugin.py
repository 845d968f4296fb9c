"""`darnet-trt plugin` prints what it built, and which TensorRT accepts it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from darnet_trt.kernels import build, check
from darnet_trt.kernels.check import Answer

pytestmark = pytest.mark.skipif(
    not (shutil.which("g++") and shutil.which("cmake")), reason="no g++ or no cmake"
)


@pytest.fixture
def quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and a source that compiles at once; returns the cache."""
    folder = tmp_path / "cuda"
    folder.mkdir()
    shutil.copy(build.SOURCES / "CMakeLists.txt", folder)
    functions = "".join(
        f'extern "C" void darnet_attention_{name}() {{}}\n'
        for name in (
            *("check", "workspace", "cost", "launch", "launch_phase", "toolkit"),
            *("new_counters", "delete_counters"),
        )
    )
    target = 'extern "C" const char* darnet_attention_target() { return DARNET_TARGET; }\n'
    (folder / "attention.cu").write_text(
        f"#pragma GCC visibility push(default)\n{functions}{target}"
    )
    monkeypatch.setattr(build, "SOURCES", folder)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "darnet-trt" / "kernels"


def test_build_says_what_it_built_and_where(command, quick) -> None:
    first = command("plugin", "build", "--target", "cpu")
    assert first.returncode == 0
    assert first.stderr.startswith("compiling the kernels with g++")
    (library,) = quick.glob(f"*/{build.LIBRARY}")
    assert first.stdout.startswith(f"{library}: cpu, 0.0 MB, compiled in ")
    second = command("plugin", "build", "--target", "cpu", "--json")
    assert second.stderr == ""
    report = json.loads(second.stdout)
    assert report.pop("seconds") >= 0
    assert report == {
        "library": str(library),
        "target": "cpu",
        "architectures": [],
        "bytes": library.stat().st_size,
        "compiled": False,
    }


def test_mistakes_are_one_line(command, quick, monkeypatch) -> None:
    report = command("plugin", "build", "--target", "cpu", "--report")
    assert report.returncode == 2
    assert report.stderr.count("\n") == 1
    assert "--report" in report.stderr
    assert "--target cuda" in report.stderr
    nothing = command("plugin", "check")
    assert nothing.returncode == 2
    assert "darnet-trt plugin build" in nothing.stderr
    monkeypatch.setenv("CXX", "/nowhere/c++")
    compiler = command("plugin", "build", "--target", "cpu")
    assert compiler.returncode == 2
    assert compiler.stderr.count("\n") == 1
    assert "/nowhere/c++" in compiler.stderr


GOOD = Answer("tensorrt_rtx", "1.7.1", True, None)
BAD = Answer("tensorrt", "10.9", False, "it refused the library without a reason")


@pytest.mark.parametrize(("answers", "code"), [([GOOD], 0), ([GOOD, BAD], 1), ([BAD], 2), ([], 2)])
def test_check_prints_each_answer(command, quick, monkeypatch, answers, code) -> None:
    monkeypatch.setattr(check, "check_library", lambda library: answers)
    command("plugin", "build", "--target", "cpu")
    (library,) = quick.glob(f"*/{build.LIBRARY}")
    table = command("plugin", "check")
    assert table.returncode == code
    assert table.stdout.splitlines()[0] == str(library)
    assert ("tensorrt_rtx 1.7.1 accepts" in table.stdout) == (GOOD in answers)
    assert ("tensorrt 10.9 refuses" in table.stdout) == (BAD in answers)
    if not answers:
        assert "tensorrt, tensorrt_rtx" in table.stderr
    monkeypatch.setattr(check, "check_driver", lambda library: "compiled with CUDA 13.0")
    assert "compiled with CUDA 13.0" in command("plugin", "check").stdout
    assert command("plugin", "check").returncode == (code or 1)
    machine = json.loads(command("plugin", "check", library, "--json").stdout)
    assert machine["driver"] == "compiled with CUDA 13.0"
    assert machine["library"] == str(library)
    assert [a["package"] for a in machine["answers"]] == [a.package for a in answers]
