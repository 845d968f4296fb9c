"""`darnet-trt doctor` tells the truth about this machine."""

import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from darnet_trt.cli.main import app
from darnet_trt.errors import BuildError
from darnet_trt.kernels.build import build_library, source_key
from darnet_trt.machine import hardware as environment
from darnet_trt.runtime.engines.capabilities import capabilities


def test_json_names_every_backend_and_what_to_install():
    result = CliRunner().invoke(app, ["doctor", "--json"])
    assert result.exit_code == 0
    report = json.loads(result.stdout)
    backends = {b["backend"]: b for b in report["backends"]}
    assert set(backends) == {
        *("openvino", "onnxruntime", "tensorrt-rtx", "tensorrt", "torch"),
        *("cuda-python", "pycuda", "plugin"),
    }
    assert backends["openvino"]["version"] == environment.package_version("openvino")
    assert "CPU" in backends["openvino"]["runs"]
    for name, backend in backends.items():
        if backend["version"] is None and name != "plugin":
            assert "pip install 'darnet-trt[" in backend["remedy"]


def test_a_machine_without_gpu_runs_no_plans():
    if environment.gpus():
        pytest.skip("there is a GPU")
    backends = {c.backend: c for c in capabilities()}
    for name in ("tensorrt-rtx", "tensorrt", "cuda-python", "pycuda"):
        assert backends[name].runs == ""
        assert backends[name].remedy


def test_the_plugin_in_the_cache(tmp_path, monkeypatch):
    def plugin():
        return capabilities()[-1]

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert (plugin().version, plugin().builds, plugin().runs) == (None, "", "")
    assert "needs the CUDA build; " in plugin().remedy
    try:
        build_library("cpu")
    except BuildError as error:
        pytest.skip(f"the plugin cannot be compiled: {error}")
    assert plugin().version == source_key()
    assert plugin().builds == "plans (compiled for the CPU)"
    monkeypatch.setenv("CUDACXX", "/nowhere/nvcc")
    assert plugin().remedy == (
        "running plans with it needs the CUDA build; darnet-trt plugin build cannot compile it "
        "here: CUDACXX is not a program: /nowhere/nvcc; install the CUDA toolkit, or build with "
        "--target cpu"
    )
    nvcc = tmp_path / "nvcc"
    nvcc.write_text(
        "#!/bin/sh\n[ $1 = --version ] && echo release 13.0, V13.0.88 || echo sm_75 sm_90\n"
    )
    nvcc.chmod(0o755)
    monkeypatch.setenv("CUDACXX", str(nvcc))
    assert plugin().remedy == (
        "running plans with it needs the CUDA build; run: darnet-trt plugin build"
    )


def test_table_fits_the_same_facts():
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 0
    assert "onnxruntime" in result.stdout


def test_help_answers_without_importing_a_backend():
    code = (
        "import sys; from darnet_trt.cli.main import app\n"
        "from typer.testing import CliRunner\n"
        "assert CliRunner().invoke(app, ['--help']).exit_code == 0\n"
        "heavy = {'torch', 'openvino', 'onnxruntime', 'onnx', 'SimpleITK', 'numpy', 'pydicom'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
