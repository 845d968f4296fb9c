"""ONNX Runtime sends nothing to its maker, and its two packages exclude each other."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import darnet_trt
from darnet_trt.machine.hardware import package_version
from darnet_trt.runtime.engines.onnxruntime.package import broken_onnxruntime

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


@pytest.mark.parametrize("count", [0, 1, 2])
def test_two_onnxruntimes_in_one_environment(tmp_path, monkeypatch, count):
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    for package in ("onnxruntime", "onnxruntime-gpu")[:count]:
        record = tmp_path / f"{package.replace('-', '_')}-9.8.7.dist-info"
        record.mkdir()
        (record / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {package}\nVersion: 9.8.7\n"
        )
    assert (package_version("onnxruntime") == "9.8.7") == (count > 0)

    broken = broken_onnxruntime()

    assert (broken is not None) == (count == 2)
    assert broken is None or "onnxruntime-gpu 9.8.7" in broken
