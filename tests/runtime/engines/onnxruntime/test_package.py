"""ONNX Runtime must not report from a hospital's machine."""

import os
import re
import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "darnet_trt"


def test_a_session_leaves_nothing_in_the_users_home(tiny, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    code = f"""
from pathlib import Path
import numpy as np
from darnet_trt.bundle.reading import open_bundle
from darnet_trt.runtime.engines.loading import load_runner
runner = load_runner(open_bundle(Path({str(tiny)!r})), "onnxruntime-fp32")
runner.infer(np.zeros((1, 1, *runner.input_size), np.float32))
"""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("XDG_", "ORT_"))}
    subprocess.run([sys.executable, "-c", code], env=environment | {"HOME": str(home)}, check=True)
    assert [*home.rglob("*")] == []


def test_nothing_else_imports_it():
    pattern = re.compile(r"^\s*(import|from) onnxruntime\b", re.MULTILINE)
    found = [p.name for p in PACKAGE.rglob("*.py") if pattern.search(p.read_text())]
    assert found == ["onnxruntime_import.py"]
