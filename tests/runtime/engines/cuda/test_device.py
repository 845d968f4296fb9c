"""The packages for GPU memory on a machine without a GPU: each call reaches CUDA, which fails.

A wrong name, number of arguments or type fails in another way.
"""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from darnet_trt.errors import DeviceError, MissingPackageError
from darnet_trt.machine.hardware import gpus
from darnet_trt.runtime.engines.cuda.cuda_python import CudaPythonDevice
from darnet_trt.runtime.engines.cuda.graph import CudaGraph
from darnet_trt.runtime.engines.cuda.pycuda import PyCudaDevice
from darnet_trt.runtime.engines.tensorrt.gpu import open_device
from darnet_trt.runtime.engines.tensorrt.package import PACKAGES
from tests.runtime.engines.cuda import host_pycuda

NO_DRIVER = "CUDA failed: CUDA driver version is insufficient"


@pytest.fixture
def runtime():
    if gpus():
        pytest.skip("there is a GPU")
    bindings = pytest.importorskip("cuda.bindings", reason="cuda-python is not installed")
    assert bindings.__version__.startswith("13.")
    return pytest.importorskip("cuda.bindings.runtime")


@pytest.mark.parametrize("backend", ["tensorrt-rtx", "tensorrt"])
def test_a_package_that_is_not_installed(monkeypatch, backend):
    for module in ("cuda", "cuda.bindings", "pycuda"):
        monkeypatch.setitem(sys.modules, module, None)
    _, extra = PACKAGES[backend]
    with pytest.raises(MissingPackageError, match=rf"cuda-python is not .*darnet-trt\[{extra}\]"):
        open_device(backend)


@pytest.mark.parametrize(
    ("backend", "installed", "chosen"),
    [
        ("tensorrt", True, PyCudaDevice),
        ("tensorrt", False, CudaPythonDevice),
        ("tensorrt-rtx", True, CudaPythonDevice),
    ],
)
def test_pycuda_is_taken_for_tensorrt_where_it_is_installed(
    monkeypatch, backend, installed, chosen
):
    for name, module in host_pycuda.as_package().items():
        monkeypatch.setitem(sys.modules, name, module if installed else None)
    monkeypatch.setattr(CudaPythonDevice, "__init__", lambda self, *, extra: None)
    assert type(open_device(backend)) is chosen


@pytest.mark.usefixtures("runtime")
def test_a_machine_without_driver():
    with pytest.raises(DeviceError, match="no NVIDIA driver here"):
        open_device("tensorrt-rtx")


@pytest.mark.parametrize(
    "call",
    [
        lambda device, *_: device.allocate(16),
        lambda device, *_: device.pinned((2, 3)),
        lambda device, *_: device.stream(),
        lambda device, *_: device.event(),
        lambda device, stream, _: device.upload(1, np.zeros(4, np.float32), stream),
        lambda device, stream, _: device.move(1, 2, 16, stream),
        lambda device, stream, _: device.download(np.zeros(4, np.float32), 1, stream),
        lambda device, stream, event: device.record(event, stream),
        lambda device, stream, event: device.wait(stream, event),
        lambda device, _, event: device.synchronize(event),
        lambda device, _, event: device.elapsed_ms(event, event),
        lambda device, stream, _: device.finish(stream),
        lambda device, *_: device.current().__enter__(),
        lambda device, stream, _: CudaGraph(device.handle(stream), lambda: True),
    ],
)
def test_every_call_of_cuda_python_reaches_cuda(runtime, call):
    device = CudaPythonDevice.__new__(CudaPythonDevice)
    device._cuda, device._owned = runtime, []
    stream, event = runtime.cudaStream_t(5), runtime.cudaEvent_t(7)
    assert device.handle(stream) == 5
    with pytest.raises(DeviceError, match=NO_DRIVER):
        call(device, stream, event)
    assert device._owned == []
    device.close()


def test_the_functions_that_free_exist(runtime):
    code = runtime.cudaError_t.cudaErrorInsufficientDriver
    assert runtime.cudaFree(16) == (code,)
    assert runtime.cudaFreeHost(16) == (code,)
    assert runtime.cudaStreamDestroy(runtime.cudaStream_t(5)) == (code,)
    assert runtime.cudaEventDestroy(runtime.cudaEvent_t(5)) == (code,)
    assert runtime.cudaGraphDestroy(runtime.cudaGraph_t(5)) == (code,)
    assert runtime.cudaGraphExecDestroy(runtime.cudaGraphExec_t(5)) == (code,)
    assert runtime.cudaGraphLaunch(runtime.cudaGraphExec_t(5), 5) == (code,)
    assert runtime.cudaGraphInstantiate(runtime.cudaGraph_t(5), 0) == (code, None)
    assert runtime.cudaStreamEndCapture(5) == (code, None)
    assert runtime.cudaGetDeviceProperties(0) == (code, None)
    gpu = runtime.cudaDeviceProp()
    assert (gpu.name.decode(), gpu.major, gpu.minor) == ("", 0, 0)


def test_an_error_of_pycuda_is_raised_within_current():
    class Error(Exception):
        pass

    class Stream:
        def synchronize(self):
            raise Error("an illegal memory access was encountered")

    device = PyCudaDevice.__new__(PyCudaDevice)
    device._cuda = SimpleNamespace(Error=Error)  # pycuda builds only where a driver is
    with pytest.raises(DeviceError, match="CUDA failed: an illegal memory access"):
        device.finish(Stream())
