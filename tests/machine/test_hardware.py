"""Read nvidia-smi's output, printed by a program of that name."""

import os

import pytest
from typer.testing import CliRunner

from darnet_trt.cli.main import app
from darnet_trt.machine.hardware import Gpu, gpus


@pytest.fixture
def nvidia_smi(tmp_path, monkeypatch):
    def prints(*lines: str, code: int = 0) -> None:
        program = tmp_path / "nvidia-smi"
        words = "".join(f"echo '{line}'\n" for line in lines)
        program.write_text(f"#!/bin/sh\n{words}exit {code}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    gpus.cache_clear()
    yield prints
    gpus.cache_clear()


def test_two_cards(nvidia_smi):
    nvidia_smi(
        "NVIDIA GeForce RTX 4090, 570.86.10, 24564, 8.9", "NVIDIA H200, 570.86.10, 143771, 9.0"
    )
    assert gpus() == (
        Gpu("NVIDIA GeForce RTX 4090", "570.86.10", 24564, "8.9"),
        Gpu("NVIDIA H200", "570.86.10", 143771, "9.0"),
    )


def test_a_jetson_does_not_report_its_memory(nvidia_smi):
    nvidia_smi("Orin (nvgpu), 540.3.0, [N/A], 8.7")
    assert gpus() == (Gpu("Orin (nvgpu)", "540.3.0", None, "8.7"),)
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 0
    assert "GPU  Orin (nvgpu), memory not reported, compute capability 8.7" in result.stdout


def test_nvidia_smi_runs_once_a_process(nvidia_smi, tmp_path):
    nvidia_smi("NVIDIA H200, 570.86.10, 143771, 9.0")
    found = gpus()
    (tmp_path / "nvidia-smi").unlink()
    assert CliRunner().invoke(app, ["doctor"]).exit_code == 0
    assert gpus() == found != ()


def test_a_driver_that_fails(nvidia_smi):
    nvidia_smi("NVIDIA-SMI has failed because it could not communicate with the driver.", code=9)
    assert gpus() == ()
