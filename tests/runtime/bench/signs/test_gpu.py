"""A GPU watched through a stand-in for NVML whose names are those of the real one."""

import os
import sys
from types import SimpleNamespace

import pytest

from darnet_trt.runtime.bench.signs.gpu import GpuWatch, open_gpu


class NVMLError(Exception):
    pass


class Nvml:
    """Answers as pynvml does; a test changes what it answers."""

    NVMLError = NVMLError
    NVML_CLOCK_SM = 1
    NVML_TEMPERATURE_GPU = 0
    nvmlClocksEventReasonSwPowerCap = 0x4  # noqa: N815
    nvmlClocksEventReasonHwSlowdown = 0x8  # noqa: N815
    nvmlClocksEventReasonSyncBoost = 0x10  # noqa: N815
    nvmlClocksEventReasonSwThermalSlowdown = 0x20  # noqa: N815
    nvmlClocksEventReasonHwThermalSlowdown = 0x40  # noqa: N815
    nvmlClocksEventReasonHwPowerBrakeSlowdown = 0x80  # noqa: N815

    def __init__(self) -> None:
        self.answers = {
            "GetName": "NVIDIA RTX A2000",
            "GetClockInfo": 1500,
            "GetCurrentClocksEventReasons": 0x1,  # idle
            "GetTemperature": 60,
            "GetMemoryInfo": SimpleNamespace(used=2_000_000_000),
            "GetComputeRunningProcesses": [SimpleNamespace(pid=os.getpid())],
            "GetTotalEnergyConsumption": 5_000,
        }

    def __getattr__(self, name: str):
        if not name.startswith("nvmlDevice"):
            raise AttributeError(name)

        def function(*arguments):
            if name.startswith("nvmlDeviceGetHandle"):
                return arguments[0]
            answer = self.answers.get(name.removeprefix("nvmlDevice"))
            if answer is None:
                raise NVMLError("Not Supported")
            return answer

        return function


def test_what_a_gpu_did():
    nvml = Nvml()
    watch = GpuWatch(nvml)
    others = [SimpleNamespace(pid=pid) for pid in (os.getpid(), 2**22 + 1, 2**22 + 2)]
    watch.look()
    for more in range(1, 4):
        nvml.answers |= {"GetClockInfo": 1200, "GetCurrentClocksEventReasons": 0x4 | 0x20}
        nvml.answers |= {"GetTemperature": 80 + more, "GetTotalEnergyConsumption": 9_000}
        watch.look()
    for _ in range(8):
        nvml.answers["GetComputeRunningProcesses"] = others
        nvml.answers["GetMemoryInfo"] = SimpleNamespace(used=3_000_000_000)
        watch.look()
    seen = watch.conditions()
    assert seen.name == "NVIDIA RTX A2000"
    assert (seen.clock.min_mhz, seen.clock.max_mhz) == (1200, 1500)
    assert seen.slowed_percent == pytest.approx(
        {"power limit": 100 * 11 / 12, "heat (driver)": 100 * 11 / 12}
    )
    assert (seen.hottest_c, seen.other_processes) == (83, 2)
    assert (seen.peak_memory_mb, seen.energy_j) == (3000, 4)


def test_a_device_that_answers_nothing():
    nvml = Nvml()
    nvml.answers.clear()
    watch = GpuWatch(nvml)
    watch.look()
    seen = watch.conditions().model_dump()
    assert seen.pop("name") == "unknown"
    assert set(seen.values()) == {None}


def test_drivers_that_know_the_reasons_by_their_old_name():
    nvml = Nvml()
    del nvml.answers["GetCurrentClocksEventReasons"]
    nvml.answers["GetCurrentClocksThrottleReasons"] = 0x40
    watch = GpuWatch(nvml)
    watch.look()
    assert watch.conditions().slowed_percent == {"heat (hardware)": 100}


def test_other_processes_are_not_known_where_numbers_are_the_host_s():
    nvml = Nvml()
    nvml.answers["GetComputeRunningProcesses"] = [SimpleNamespace(pid=2**22 + 1)]
    watch = GpuWatch(nvml)
    watch.look()
    assert watch.conditions().other_processes is None


@pytest.mark.parametrize(
    ("visible", "first"), [(None, 0), ("2,0", 2), ("GPU-5a", "GPU-5a"), ("", 0)]
)
def test_it_is_the_gpu_that_cuda_sees_first(monkeypatch, visible, first):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert GpuWatch(Nvml())._device == first


def test_without_the_package_a_note_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    gpu, note = open_gpu()
    assert gpu is None
    assert "darnet-trt[nvml]" in note


def test_the_real_package_has_these_names():
    pynvml = pytest.importorskip("pynvml")
    names = {"GetHandleByIndex", "GetHandleByUUID", "GetCurrentClocksThrottleReasons"}
    for name in names | set(Nvml().answers):
        assert callable(getattr(pynvml, f"nvmlDevice{name}"))
    assert issubclass(pynvml.NVMLError, Exception)
    constants = [n for n in vars(Nvml) if n.startswith(("NVML_", "nvmlClocks"))]
    assert len(constants) == 8
    assert {n: getattr(pynvml, n) for n in constants} == {n: getattr(Nvml, n) for n in constants}


def test_the_real_package_without_a_driver_or_with_one():
    pytest.importorskip("pynvml")
    gpu, note = open_gpu()
    assert (gpu is None) == (note is not None)
