"""ONNX Runtime sends nothing to its maker, and its two packages exclude each other."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import darnet_trt
from darnet_trt.errors import MissingPackageError
from darnet_trt.runtime.engines.onnxruntime.package import import_onnxruntime

PACKAGE = Path(darnet_trt.__file__).parent


def test_a_session_leaves_nothing_in_the_users_home(tiny, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    code = f"""
from pathlib import Path
import numpy as np
from darnet_trt.bundle.reading import open_bundle
from darnet_trt.runtime.engines.loading import load_engine
runner = load_engine(open_bundle(Path({str(tiny)!r})), "onnxruntime-fp32").runner
runner.infer(np.zeros((1, 1, *runner.input_size), np.float32))
"""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("XDG_", "ORT_"))}
    subprocess.run([sys.executable, "-c", code], env=environment | {"HOME": str(home)}, check=True)
    assert [*home.rglob("*")] == []


def test_nothing_else_imports_it():
    pattern = re.compile(r"^\s*(import|from) onnxruntime\b", re.MULTILINE)
    found = [p for p in PACKAGE.rglob("*.py") if pattern.search(p.read_text())]
    assert found == [PACKAGE / "runtime" / "engines" / "onnxruntime" / "package.py"]


@pytest.fixture
def environment(tmp_path, monkeypatch):
    """An environment of our own making: packages that pip lists, and the folder they share."""
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, "onnxruntime")

    def holds(*packages, code=None):
        for package in packages:
            record = tmp_path / f"{package.replace('-', '_')}-9.8.7.dist-info"
            record.mkdir()
            text = f"Metadata-Version: 2.1\nName: {package}\nVersion: 9.8.7\n"
            (record / "METADATA").write_text(text)
        (tmp_path / "onnxruntime").mkdir()  # pip leaves it behind, empty
        if code is not None:
            (tmp_path / "onnxruntime" / "__init__.py").write_text(code)

    return holds


def refusal(extra="cpu"):
    with pytest.raises(MissingPackageError) as caught:
        import_onnxruntime(extra)
    return str(caught.value)


def test_one_whole_package(environment):
    environment("onnxruntime-gpu", code="answer = 42")
    assert import_onnxruntime().answer == 42


@pytest.mark.parametrize("other", ["onnxruntime-gpu", "onnxruntime-openvino"])
def test_two_packages_that_overwrite_each_other(environment, other):
    environment("onnxruntime", other, code="answer = 42")
    said = refusal("gpu")
    assert f"onnxruntime 9.8.7 and {other} 9.8.7" in said
    # pip repairs neither while it lists them: both go before one comes.
    assert f"pip uninstall -y onnxruntime {other}; then: pip install 'darnet-trt[gpu]'" in said


def test_uninstalling_one_of_two_deletes_the_files_of_both(environment):
    environment("onnxruntime-gpu")
    said = refusal()
    assert "files of onnxruntime-gpu are missing" in said
    assert "pip uninstall -y onnxruntime-gpu; then: pip install 'darnet-trt[cpu]'" in said


def test_the_empty_folder_that_pip_leaves_is_no_package(environment):
    environment()
    assert "onnxruntime is not installed; pip install 'darnet-trt[cpu]'" in refusal()


def test_a_library_of_it_that_does_not_load(environment):
    environment("onnxruntime", code="raise ImportError('libonnxruntime.so.9: no such file')")
    said = refusal()
    assert "libonnxruntime.so.9" in said
    assert "pip uninstall -y onnxruntime;" in said
