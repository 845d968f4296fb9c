"""Open the GPU with the package that the backend needs."""

from __future__ import annotations

from darnet_trt.runtime.engines.cuda.cuda_python import CudaPythonDevice
from darnet_trt.runtime.engines.cuda.pycuda import PyCudaDevice
from darnet_trt.runtime.engines.tensorrt.package import TensorRTBackend

CudaDevice = CudaPythonDevice | PyCudaDevice


def open_device(backend: TensorRTBackend) -> CudaDevice:
    """Open the first GPU: with cuda-python for TensorRT-RTX, with pycuda for TensorRT.

    Raises:
        MissingPackageError: The package is not installed.
        DeviceError: There is no driver, or no GPU.
    """
    return CudaPythonDevice() if backend == "tensorrt-rtx" else PyCudaDevice()
