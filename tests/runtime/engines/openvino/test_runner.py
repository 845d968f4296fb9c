import subprocess
import sys

import numpy as np
import pytest

from darnet_trt.errors import BundleError
from darnet_trt.runtime.engines.onnxruntime.runner import OnnxRuntimeRunner
from darnet_trt.runtime.engines.openvino.package import cpu_precisions
from darnet_trt.runtime.engines.openvino.runner import OpenVINORunner
from tests.tiny_bundle import SIZE, write_onnx

OFFERED = cpu_precisions()


@pytest.fixture
def model(tmp_path):
    write_onnx(tmp_path / "model.onnx")
    return tmp_path / "model.onnx"


@pytest.mark.parametrize("asked", ["fp32", "bf16", "fp16"])
def test_the_precision_is_one_that_the_cpu_has(model, asked):
    runner = OpenVINORunner(model, precision=asked)
    assert "fp32" in OFFERED
    assert runner.precision in OFFERED
    if asked in OFFERED:
        assert runner.precision == asked


def test_fp32_does_not_run_in_bf16(model):
    volume = np.random.default_rng(0).random((1, 1, *SIZE), np.float32)
    reference = OnnxRuntimeRunner(model).infer(volume).cam
    largest = np.abs(reference).max()
    error = np.abs(OpenVINORunner(model, precision="fp32").infer(volume).cam - reference).max()
    assert error < 1e-5 * largest
    if "bf16" in OFFERED:  # the bound above would catch it
        coarse = OpenVINORunner(model, precision="bf16").infer(volume).cam
        assert np.abs(coarse - reference).max() > 1e-4 * largest


def test_a_volume_gives_the_same_alone_and_in_a_batch(model):
    volumes = np.random.default_rng(0).random((3, 1, *SIZE), np.float32)
    runner = OpenVINORunner(model, precision="fp32")
    together = runner.infer(volumes).logits
    alone = np.concatenate([runner.infer(volume[None]).logits for volume in volumes])
    np.testing.assert_array_equal(together, alone)


def test_threads_are_read_back(model):
    assert OpenVINORunner(model, precision="fp32", threads=1).provenance["threads"] == "1"


@pytest.mark.parametrize(
    "content", [b"", b"garbage", bytes(range(256)), b"<?xml version='1.0'?><ne"]
)
@pytest.mark.parametrize("name", ["model.xml", "model.onnx"])
def test_openvino_prints_nothing_of_its_own_about_a_corrupt_file(tmp_path, capfd, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BundleError, match="OpenVINO cannot load it"):
        OpenVINORunner(tmp_path / name, precision="fp32")
    assert capfd.readouterr() == ("", "")


_SIGNALLED = """
import os, signal, sys, threading
from pathlib import Path
from darnet_trt.runtime.engines.openvino.runner import OpenVINORunner

first = OpenVINORunner(Path(sys.argv[1]), precision="fp32", threads=1)

def replace():
    global second, first
    second = OpenVINORunner(Path(sys.argv[1]), precision="fp32", threads=1)
    first.close()
    del first

other = threading.Thread(target=replace)
other.start()
other.join()
signal.signal(signal.SIGTERM, lambda *given: print("handled"))
os.kill(os.getpid(), signal.SIGTERM)
print("goes on")
"""


def test_a_signal_is_handled_after_another_thread_closed_an_engine(tmp_path):
    write_onnx(tmp_path / "model.onnx")
    command = [sys.executable, "-c", _SIGNALLED, tmp_path / "model.onnx"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.split()) == (0, ["handled", "goes", "on"]), done.stderr
