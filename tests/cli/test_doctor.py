"""`darnet-trt doctor` describes this machine correctly."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from darnet_trt.cli.doctor import readiness
from darnet_trt.kernels.build import source_key
from darnet_trt.machine import hardware as environment
from darnet_trt.machine.cache import cache_folder
from darnet_trt.machine.hardware import package_version
from darnet_trt.runtime.engines.capabilities import Capability, capabilities


def test_json_names_every_backend_and_what_to_install(command):
    result = command("doctor", "--json")
    assert result.returncode == 0
    report = json.loads(result.stdout)
    backends = {b["backend"]: b for b in report["backends"]}
    assert set(backends) == {
        *("openvino", "onnxruntime", "tensorrt-rtx", "tensorrt", "torch"),
        *("cuda-python", "pycuda", "nvimgcodec", "plugin"),
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
    for name in ("tensorrt-rtx", "tensorrt", "cuda-python", "pycuda", "nvimgcodec"):
        assert backends[name].runs == ""
        assert backends[name].remedy


def test_the_plugin_in_the_cache(cpu_library, no_libraries, tmp_path, monkeypatch):
    def plugin():
        return capabilities()[-1]

    assert (plugin().version, plugin().builds, plugin().runs) == (None, "", "")
    assert "CUDA" in plugin().remedy
    shutil.copytree(cpu_library.parent, cache_folder("kernels") / cpu_library.parent.name)
    assert plugin().version == source_key()
    assert plugin().builds == "plans (compiled for the CPU)"
    monkeypatch.setenv("CUDACXX", "/nowhere/nvcc")
    assert "/nowhere/nvcc" in plugin().remedy
    nvcc = tmp_path / "nvcc"
    nvcc.write_text(
        "#!/bin/sh\n[ $1 = --version ] && echo release 13.0, V13.0.88 || echo sm_75 sm_90\n"
    )
    nvcc.chmod(0o755)
    monkeypatch.setenv("CUDACXX", str(nvcc))
    assert "/nowhere/nvcc" not in plugin().remedy
    assert plugin().remedy.endswith("darnet-trt plugin build")


def test_the_last_line_says_whether_this_machine_can_predict(command):
    *table, last = command("doctor").stdout.splitlines()
    assert any(line.startswith("onnxruntime ") for line in table)
    for package in ("openvino", "onnxruntime"):
        assert str(environment.package_version(package)) in last
    assert json.loads(command("doctor", "--json").stdout)["ready"] == last


def able(backend, runs, version="1.0"):
    return Capability(backend, version, "", runs, "")


@pytest.mark.parametrize(
    ("backends", "facts"),
    [
        ([able("openvino", "CPU in fp32")], ["ready", "CPU", "OpenVINO 1.0"]),
        (
            [able("onnxruntime", "CPU, CUDA"), able("tensorrt-rtx", "RTX 4090")],
            ["CPU", "GPU", "ONNX Runtime 1.0", "TensorRT-RTX 1.0"],
        ),
        ([able("tensorrt", "", None), able("torch", "training")], ["not", "darnet-trt[cpu]"]),
        ([able("openvino", "")], ["not", "see above"]),
    ],
)
def test_readiness(backends, facts):
    assert [fact for fact in facts if fact not in readiness(backends)] == []


def test_without_a_gpu_what_only_gpus_need_is_one_line(command):
    if environment.gpus():
        pytest.skip("there is a GPU")
    short, full = command("doctor").stdout, command("doctor", "--all").stdout
    (line,) = [line for line in short.splitlines() if "pycuda" in line]
    assert all(name in line for name in ("tensorrt-rtx", "tensorrt", "cuda-python", "plugin"))
    assert len(full.splitlines()) > len(short.splitlines()) + 4


def test_both_onnx_runtimes_in_one_environment(command, tmp_path, monkeypatch):
    metadata = tmp_path / "onnxruntime_gpu-1.99.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text("Metadata-Version: 2.1\nName: onnxruntime-gpu\nVersion: 1.99\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    backends = {b["backend"]: b for b in json.loads(command("doctor", "--json").stdout)["backends"]}
    assert backends["onnxruntime"]["runs"] == ""
    (line,) = [s for s in command("doctor").stdout.splitlines() if "onnxruntime-gpu 1.99" in s]
    assert "pip uninstall -y onnxruntime onnxruntime-gpu" in line


@pytest.mark.parametrize(
    ("gpu", "refused"),
    [
        ("NVIDIA H200, 580.1, 143771, 9.0", "sm90"),
        ("Orin (nvgpu), 580.1, [N/A], 8.7", "sm87"),
        ("NVIDIA B200, 580.1, 183359, 10.0", "sm100"),
        ("NVIDIA GeForce RTX 4090, 580.1, 24564, 8.9", None),
    ],
)
def test_a_gpu_that_tensorrt_rtx_refuses(tmp_path, monkeypatch, command, gpu, refused):
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\necho '{gpu}'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    environment.gpus.cache_clear()
    found = {b["backend"]: b for b in json.loads(command("doctor", "--json").stdout)["backends"]}
    environment.gpus.cache_clear()
    rtx = found["tensorrt-rtx"]
    if refused is None:
        assert "refuses" not in rtx["remedy"]
    else:
        assert rtx["runs"] == ""
        assert refused in rtx["remedy"]
        assert "ONNX Runtime (extra gpu)" in rtx["remedy"]
        assert "TensorRT (extra tensorrt)" in rtx["remedy"]
    if package_version("onnxruntime-gpu") is None:
        assert "uninstall" in found["onnxruntime"]["remedy"]


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
