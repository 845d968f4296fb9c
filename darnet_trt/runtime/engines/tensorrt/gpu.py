"""Open the GPU with pycuda or cuda-python."""

from __future__ import annotations

from importlib.util import find_spec

from darnet_trt.runtime.engines.cuda.cuda_python import CudaPythonDevice
from darnet_trt.runtime.engines.cuda.pycuda import PyCudaDevice
from darnet_trt.runtime.engines.tensorrt.package import PACKAGES, TensorRTBackend

CudaDevice = CudaPythonDevice | PyCudaDevice


def open_device(backend: TensorRTBackend) -> CudaDevice:
    """Open the first GPU: for TensorRT with pycuda where it is installed, else with cuda-python.

    Raises:
        MissingPackageError: The package is not installed.
        DeviceError: There is no driver, or no GPU.
    """
    if backend == "tensorrt" and find_spec("pycuda") is not None:
        return PyCudaDevice()
    return CudaPythonDevice(extra=PACKAGES[backend][1])
