import platform
import shutil
from dataclasses import replace

import pytest

from darnet_trt.errors import BuildError
from darnet_trt.machine.hardware import cpu
from darnet_trt.runtime.bench.layers import peaks
from darnet_trt.runtime.bench.layers.peaks import TRIAD, Peaks, compile_peak, measure

X86 = platform.machine() in ("x86_64", "AMD64")


@pytest.mark.skipif(not X86 or shutil.which("cc") is None, reason="no C compiler, or no x86-64")
def test_the_peak_of_this_cpu(tmp_path, monkeypatch):
    monkeypatch.setattr(peaks, "_SECONDS", 0.02)
    found = measure(compile_peak(tmp_path), 1)
    assert found[TRIAD] > 0
    has = cpu().features
    assert ("fp32" in found) == ("avx512f" in has or "avx2" in has)
    assert ("bf16" in found) == ("avx512_bf16" in has)
    assert ("int8" in found) == ("avx512_vnni" in has or "avx_vnni" in has)
    assert found.get("int8", found["fp32"] * 2) > found["fp32"]


def refused(tmp_path, *, on_gpu=False):
    found = Peaks(tmp_path, 1, on_gpu=on_gpu)
    found.read()
    assert found.best == {}
    return found.missing("fp32")


def test_without_a_compiler_there_is_no_peak(tmp_path, monkeypatch):
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(shutil, "which", lambda program: None)
    assert refused(tmp_path) == "no C compiler here"


def test_another_kind_of_cpu_has_no_peak(tmp_path, monkeypatch):
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert "aarch64" in refused(tmp_path)


def test_a_gpu_has_no_peak(tmp_path):
    assert "GPU" in refused(tmp_path, on_gpu=True)


def test_a_compiler_that_fails_says_why(tmp_path, monkeypatch):
    broken = tmp_path / "cc"
    broken.write_text("#!/bin/sh\necho 'no headers' >&2; exit 4\n")
    broken.chmod(0o755)
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(shutil, "which", lambda program: str(broken))
    assert "code 4 (no headers)" in refused(tmp_path)


def test_a_program_that_fails_says_so(tmp_path):
    program = tmp_path / "peak"
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)
    with pytest.raises(BuildError, match="code 1"):
        measure(program, 1)


def test_no_more_threads_than_cores_and_no_peak_for_what_amx_does(tmp_path, monkeypatch):
    asked = []

    def measured(program, threads):
        asked.append(threads)
        return {"fp32": 90.0, "bf16": 180.0, "int8": 360.0, TRIAD: 20.0}

    machine = replace(cpu(), cores=2, features=("avx512f", "amx_int8"))
    monkeypatch.setattr(peaks, "cpu", lambda: machine)
    monkeypatch.setattr(peaks, "compile_peak", lambda folder: folder)
    monkeypatch.setattr(peaks, "measure", measured)
    found = Peaks(tmp_path, 64, on_gpu=False)
    found.read()
    assert asked == [2]
    assert found.best == {"fp32": 90.0, "bf16": 180.0, TRIAD: 20.0}
    assert "AMX" in found.missing("int8")


def test_the_best_of_the_readings_counts(tmp_path, monkeypatch):
    readings = iter([{"fp32": 90.0, TRIAD: 20.0}, {"fp32": 100.0, TRIAD: 10.0}])
    monkeypatch.setattr(peaks, "compile_peak", lambda folder: folder)
    monkeypatch.setattr(peaks, "measure", lambda program, threads: next(readings))
    found = Peaks(tmp_path, 1, on_gpu=False)
    found.read()
    found.read()
    assert found.best == {"fp32": 100.0, TRIAD: 20.0}
    assert found.missing("fp32") is None
    assert "bf16" in found.missing("bf16")
