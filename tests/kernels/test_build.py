"""Compiling into the cache: what is found again, what has another key, what is refused."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from darnet_trt.errors import BuildError, OutputError, UsageError
from darnet_trt.kernels import build
from darnet_trt.kernels.build import LIBRARY, build_library, cached_library
from darnet_trt.kernels.toolchain import find_nvcc, find_toolchain

GXX = shutil.which("g++")
CMAKE = shutil.which("cmake")
needs_gxx = pytest.mark.skipif(not (GXX and CMAKE), reason="no g++ or no cmake")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and no variables of this shell."""
    for name in ("CXX", "CUDACXX", "CUDA_HOME", "CUDA_PATH", "TENSORRT_INCLUDE_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "darnet-trt" / "kernels"


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The real CMakeLists.txt over a source that compiles at once."""
    folder = tmp_path / "cuda"
    folder.mkdir()
    shutil.copy(build.SOURCES / "CMakeLists.txt", folder)
    (folder / "attention.cu").write_text('extern "C" int answer() { return 42; }\n')
    monkeypatch.setattr(build, "SOURCES", folder)
    return folder


def program(path: Path, script: str) -> str:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


@needs_gxx
def test_what_was_compiled_is_found_again(sources: Path, cache: Path) -> None:
    assert cached_library("cpu") is None
    said: list[str] = []
    path = build_library("cpu", log=said.append)
    assert len(said) == 1
    assert "g++" in said[0]
    assert build_library("cpu", log=said.append) == path == cached_library("cpu")
    assert len(said) == 1
    assert cached_library("cuda") is None
    assert [p.name for p in cache.iterdir()] == [path.parent.name]  # nothing half-made


@needs_gxx
def test_another_source_toolchain_or_option_is_another_library(
    sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = build_library("cpu")
    monkeypatch.setenv("CXXFLAGS", "-DANOTHER")
    flags = build_library("cpu")
    monkeypatch.delenv("CXXFLAGS")
    other = program(
        tmp_path / "g++-other", f'[ "$1" = --version ] && echo "g++ 99"; exec {GXX} "$@"'
    )
    monkeypatch.setenv("CXX", other)
    toolchain = build_library("cpu")
    assert cached_library("cpu") == toolchain
    monkeypatch.delenv("CXX")
    assert build_library("cpu") == first
    assert cached_library("cpu") == first  # the one that was used last
    (sources / "attention.cu").write_text('extern "C" int answer() { return 43; }\n')
    assert cached_library("cpu") is None  # all were of another source
    source = build_library("cpu")
    assert len({first, flags, toolchain, source}) == 4


FUNCTIONS = ("workspace", "cost", "check", "launch", "launch_phase", "toolkit", "new_counters")


@needs_gxx
def test_a_library_that_runs_on_the_gpus_is_preferred(
    sources: Path, cache: Path, tmp_path: Path
) -> None:
    folder = build_library("cpu").parent.name.replace("cpu-", "cuda-", 1)
    libraries = {}
    now = time.time()
    for number, target in enumerate(("sm_90", "sm_89", "sm_80 ptx_80", "broken")):
        path = libraries[target] = cache / f"{folder}{number}" / LIBRARY
        path.parent.mkdir()
        path.write_text("not a library")
        if target != "broken":
            said = f'const char* darnet_attention_target() {{ return "cuda {target}"; }}'
            rest = (f"void darnet_attention_{name}() {{}}" for name in FUNCTIONS)
            (tmp_path / "x.cpp").write_text("\n".join(('extern "C" {', said, *rest, "}")))
            words = [str(GXX), "-shared", "-fPIC", str(tmp_path / "x.cpp"), "-o", str(path)]
            subprocess.run(words, check=True)
        os.utime(path, (now - 100 + number, now - 100 + number))  # the last one is the newest
    assert cached_library("cuda", [(8, 9)]) == libraries["sm_80 ptx_80"]
    assert cached_library("cuda", [(9, 0)]) == libraries["sm_80 ptx_80"]  # used just now
    os.utime(libraries["sm_90"], (now + 100, now + 100))
    assert cached_library("cuda", [(9, 0)]) == libraries["sm_90"]
    assert cached_library("cuda", [(9, 0), (8, 9)]) == libraries["sm_80 ptx_80"]
    os.utime(libraries["sm_89"], (now + 200, now + 200))
    assert cached_library("cuda", [(7, 5)]) == libraries["sm_89"]  # none fits: the newest
    assert cached_library("cuda") == libraries["sm_89"]


@needs_gxx
def test_two_processes_at_once_both_get_the_library(sources: Path, cache: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from darnet_trt.kernels import build;"
        "build.SOURCES = Path(sys.argv[1]); print(build.build_library('cpu'))"
    )
    words = [sys.executable, "-c", script, str(sources)]
    both = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = {process.communicate()[0].strip() for process in both}
    assert [process.returncode for process in both] == [0, 0]
    (path,) = said
    assert Path(path).name == LIBRARY
    assert len(list(cache.iterdir())) == 1


@needs_gxx
def test_the_compilers_first_error_is_in_the_message(sources: Path, cache: Path) -> None:
    (sources / "attention.cu").write_text("int f() {\n  return nothing;\n}\n")
    with pytest.raises(BuildError, match=r"attention\.cu:2:.*error: .nothing. was not declared"):
        build_library("cpu")
    assert list(cache.iterdir()) == []


@needs_gxx
def test_a_full_disk_is_an_output_error(
    sources: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = "fatal error: error writing to /tmp/ccXYZ.s: No space left on device"
    compiler = f'[ "$1" = --version ] && exec {GXX} "$@"; echo "{full}" >&2; exit 1'
    monkeypatch.setenv("CXX", program(tmp_path / "g++-full", compiler))
    with pytest.raises(OutputError, match=f"{cache}: the disk is full; .* XDG_CACHE_HOME"):
        build_library("cpu")
    assert list(cache.iterdir()) == []


@needs_gxx
def test_a_cache_that_cannot_be_written(
    sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "file"
    file.touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(file))
    with pytest.raises(OutputError, match=r"cannot be written .*XDG_CACHE_HOME") as refusal:
        build_library("cpu")
    assert str(file) in str(refusal.value)


def test_no_compiler(sources: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "/nowhere/g++")
    with pytest.raises(BuildError, match="/nowhere/g\\+\\+: no C\\+\\+ compiler; install g\\+\\+"):
        build_library("cpu")


@needs_gxx
def test_no_cmake(sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", str(GXX))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(BuildError, match=r"no cmake; .*pip install cmake"):
        build_library("cpu")


def test_no_nvcc(sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDACXX", "/nowhere/nvcc")
    with pytest.raises(BuildError, match=r"CUDACXX.*: /nowhere/nvcc"):
        find_nvcc()
    if not Path("/usr/local/cuda/bin/nvcc").exists():
        monkeypatch.delenv("CUDACXX")
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(BuildError, match=r"no nvcc: .*install the CUDA toolkit, or"):
            find_nvcc()


@needs_gxx
@pytest.mark.parametrize(
    ("release", "found"),
    [("release 11.4, V11.4.120", "11.4"), ("a very new one", "an unknown version")],
)
def test_nvcc_of_another_version_is_refused(
    release: str, found: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nvcc = program(tmp_path / "nvcc", f"echo Cuda compilation tools, {release}")
    monkeypatch.setenv("CUDACXX", nvcc)
    with pytest.raises(BuildError, match=f"{nvcc}: expected nvcc 12.0 or newer, found {found}"):
        build_library("cuda")


@needs_gxx
def test_an_architecture_that_nvcc_does_not_know_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = (
        '[ "$1" = --list-gpu-code ] && echo sm_75 && echo sm_89 || echo "release 12.6, V12.6.20"'
    )
    monkeypatch.setenv("CUDACXX", program(tmp_path / "nvcc", script))
    with pytest.raises(UsageError, match=r"sm_21: unknown architecture; .*sm_75, sm_89"):
        build_library("cuda", ["sm_75", "sm_21"])


@needs_gxx
@pytest.mark.parametrize(
    ("known", "asked", "codes"),
    [
        # PTX of 9.0, for GPUs after 9.0 without machine code.
        ("sm_75 sm_90 sm_90a sm_120", None, "75-real;90-real;120-real;90-virtual"),
        (
            "sm_75 sm_89 sm_90 sm_90a sm_100 sm_120",
            ["sm_120", "sm_89"],
            "89-real;120-real;120-virtual",
        ),
        (  # as nvcc 13.0 prints them
            "sm_75 sm_80 sm_86 sm_87 sm_88 sm_89 sm_90 sm_100 sm_110 sm_103 sm_120 sm_121",
            None,
            "75-real;80-real;86-real;87-real;89-real;90-real;100-real;103-real;110-real;120-real;"
            "90-virtual",
        ),
    ],
)
def test_machine_code_and_ptx(
    known: str,
    asked: list[str] | None,
    codes: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    script = f'[ "$1" = --list-gpu-code ] && echo {known} || echo release 13.0, V13.0.88'
    monkeypatch.setenv("CUDACXX", program(tmp_path / "nvcc", script))
    assert find_toolchain("cuda", asked).options[-1] == f"-DCMAKE_CUDA_ARCHITECTURES={codes}"


def test_architectures_and_headers_must_make_sense(
    sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if GXX:
        with pytest.raises(UsageError, match=r"cuda.*cpu"):
            build_library("cpu", ["sm_89"])
        monkeypatch.setenv("TENSORRT_INCLUDE_DIR", str(tmp_path))
        with pytest.raises(UsageError, match=r"NvInferRuntime\.h"):
            build_library("cpu")


@needs_gxx
def test_an_interrupted_build_leaves_nothing(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = tmp_path / "compiler"  # its process id
    slow = f'[ "$1" = --version ] && exec {GXX} "$@"; echo $$ > {started}; sleep 60'
    monkeypatch.setenv("CXX", program(tmp_path / "g++-slow", slow))
    start = "from darnet_trt.cli.main import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", start, "plugin", "build", "--target", "cpu"],
        stderr=subprocess.PIPE,
        text=True,
    )
    while not (started.exists() and started.read_text().strip()):
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=300)
    assert process.returncode == 128 + signal.SIGTERM
    assert said.splitlines()[-1] == "darnet-trt: ended by SIGTERM"
    assert list(cache.iterdir()) == []
    for _ in range(1200):  # the compiler's shell is gone, too
        try:
            os.kill(int(started.read_text()), 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    pytest.fail("the compiler still runs")
