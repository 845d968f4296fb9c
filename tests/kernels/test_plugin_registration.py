"""Which TensorRTs accept the library: RTX of this environment, and lean 10 and 11."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from darnet_trt.errors import UsageError
from darnet_trt.kernels.build import SOURCES
from darnet_trt.kernels.check import check_library

EXPORTS = {
    *(f"darnet_attention_{name}" for name in ("check", "cost", "launch", "launch_phase")),
    *(f"darnet_attention_{name}" for name in ("target", "toolkit", "workspace")),
    *(f"darnet_attention_{name}_counters" for name in ("new", "delete")),
    *("darnet_plugin_last_message", "darnet_plugin_takes_host_pointers"),
    *("getCreators", "setLoggerFinder"),
}


def answers(library):
    return {answer.package: answer for answer in check_library(library)}


@pytest.fixture
def rtx():
    pytest.importorskip("tensorrt_rtx", reason="tensorrt_rtx is not installed")


@pytest.fixture(scope="session", params=[">=10.13,<11", ">=11,<12"], ids=["lean-10", "lean-11"])
def lean(request):
    """A folder with tensorrt-lean, installed once into the user's cache: some 7 s and 105 MB."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    folder = Path(base, "darnet-trt", "tests", f"tensorrt-lean{request.param}-py{python}")
    if folder.exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".installing-") as work:
        pip = [sys.executable, "-m", "pip", "install", "-qq", "--target", f"{work}/whole"]
        try:
            done = subprocess.run(
                [*pip, "--retries", "1", f"tensorrt-lean-cu13{request.param}"],
                capture_output=True,
                text=True,
                check=False,
                timeout=180,
            )
        except subprocess.TimeoutExpired:
            pytest.skip("tensorrt-lean-cu13 could not be installed in 3 minutes")
        if done.returncode != 0:
            last = done.stderr.strip().splitlines()[-1:]
            pytest.skip(f"tensorrt-lean-cu13{request.param} could not be installed: {last}")
        Path(work, "whole").rename(folder)
    return folder


def test_tensorrt_rtx_accepts_the_library(rtx, on_cpu):
    answer = answers(on_cpu.path)["tensorrt_rtx"]
    assert (answer.accepted, answer.reason) == (True, None)
    assert answer.version.startswith("1.")


def test_tensorrt_10_and_11_accept_the_library(on_cpu, lean, monkeypatch):
    monkeypatch.syspath_prepend(lean)
    monkeypatch.setenv("PYTHONPATH", str(lean))
    answer = answers(on_cpu.path)["tensorrt_lean"]
    assert (answer.accepted, answer.reason) == (True, None)
    assert int(answer.version.split(".")[0]) in (10, 11)


def test_the_library_exports_only_its_interface(on_cpu):
    nm = shutil.which("nm")
    if nm is None:
        pytest.skip("no nm")
    said = subprocess.run(
        [nm, "-D", "--defined-only", on_cpu.path], capture_output=True, text=True, check=True
    )
    symbols = [line.split()[-2:] for line in said.stdout.splitlines()]
    # Weak ones are C++'s own templates, the same in every library.
    assert {name for kind, name in symbols if kind != "W"} == EXPORTS
    assert not [name for _, name in symbols if "nvinfer1" in name or "cuda" in name]


def compiled(folder, source):
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("no g++")
    (folder / "library.cpp").write_text(source)
    library = folder / "library.so"
    flags = ("-std=c++17", "-shared", "-fPIC", f"-I{SOURCES}")
    subprocess.run([compiler, *flags, folder / "library.cpp", "-o", library], check=True)
    return library


ANOTHER_PLUGIN = """
#include "tensorrt_v3.h"
using namespace nvinfer1;
struct Creator final : IPluginCreatorV3One {
    IPluginV3* createPlugin(const char*, const PluginFieldCollection*, TensorRTPhase) noexcept {
        return nullptr;
    }
    const PluginFieldCollection* getFieldNames() noexcept { return &none; }
    const char* getPluginName() const noexcept { return "NAME"; }
    const char* getPluginVersion() const noexcept { return "1"; }
    const char* getPluginNamespace() const noexcept { return "darnet"; }
    PluginFieldCollection none;
} creator;
IPluginCreatorInterface* list[] = {&creator};
extern "C" void setLoggerFinder(void*) {}
extern "C" IPluginCreatorInterface** getCreators(int& count) { count = 1; return list; }
"""


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("", "does not export getCreators and setLoggerFinder"),
        ('extern "C" void setLoggerFinder(void*) {}', "does not export getCreators"),
        (
            'extern "C" int absent(); extern "C" int getCreators(int&) { return absent(); }',
            "cannot be loaded: .*undefined symbol: absent",
        ),
        (
            'extern "C" void setLoggerFinder(void*) {}'
            'extern "C" void* getCreators(int& n) { n = 0; return &n; }',
            "refused the library without a reason",
        ),
        (
            ANOTHER_PLUGIN.replace("NAME", "Another"),
            "the library has no plugin darnet::FusedChannelAttention, version 1",
        ),
        (
            ANOTHER_PLUGIN.replace("NAME", "FusedChannelAttention"),
            "FusedChannelAttention could not be created",
        ),
        (
            "#include <cstdio>\n#include <cstdlib>\n"
            '[[gnu::constructor]] void begin() { std::fputs("oh no\\n", stderr); std::abort(); }',
            "ended by SIGABRT; its last words: oh no",
        ),
    ],
    ids=["empty", "half", "unresolved", "no-plugins", "another", "fruitless", "aborts"],
)
def test_another_library_is_refused_with_a_reason(rtx, tmp_path, source, reason):
    answer = answers(compiled(tmp_path, source))["tensorrt_rtx"]
    assert not answer.accepted
    assert re.search(reason, answer.reason)


def test_a_text_file_is_refused_with_a_reason(rtx, tmp_path):
    (tmp_path / "library.so").write_text("hello")
    answer = answers(tmp_path / "library.so")["tensorrt_rtx"]
    assert "cannot be loaded" in answer.reason
    assert "file too short" in answer.reason


def test_a_package_that_does_not_load(on_cpu, tmp_path, monkeypatch):
    (tmp_path / "tensorrt.py").write_text("raise ImportError('libnvinfer.so.10 is missing')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    if Path(importlib.util.find_spec("tensorrt").origin).parent != tmp_path:
        pytest.skip("TensorRT is installed")
    answer = answers(on_cpu.path)["tensorrt"]
    assert (answer.version, answer.accepted) == (None, False)
    assert "libnvinfer.so.10 is missing" in answer.reason


def test_an_absent_library_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"no\.so: .*plugin build"):
        check_library(tmp_path / "no.so")
