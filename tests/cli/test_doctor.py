"""`darnet-trt doctor` tells the truth about this machine."""

import json
import subprocess
import sys

from typer.testing import CliRunner

from darnet_trt.cli.main import app
from darnet_trt.runtime import environment


def test_json_names_every_backend_and_what_to_install():
    result = CliRunner().invoke(app, ["doctor", "--json"])
    assert result.exit_code == 0
    report = json.loads(result.stdout)
    backends = {b["backend"]: b for b in report["backends"]}
    assert set(backends) == {"openvino", "onnxruntime", "tensorrt-rtx", "tensorrt", "torch"}
    assert backends["openvino"]["version"] == environment.package_version("openvino")
    assert "CPU" in backends["openvino"]["runs"]
    for backend in backends.values():
        if backend["version"] is None:
            assert "pip install 'darnet-trt[" in backend["remedy"]


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
