"""Open the GPU with the package that the backend needs."""

from __future__ import annotations

from darnet_trt.runtime.engines.cuda.cuda_python import open_with_cuda_python
from darnet_trt.runtime.engines.cuda.device import CudaDevice
from darnet_trt.runtime.engines.cuda.pycuda import open_with_pycuda
from darnet_trt.runtime.engines.tensorrt.package import TensorRTBackend

__all__ = ["open_device"]


def open_device(backend: TensorRTBackend) -> CudaDevice:
    """Open the first GPU: with cuda-python for TensorRT-RTX, with pycuda for TensorRT.

    Raises:
        MissingPackageError: The package is not installed.
        DeviceError: There is no driver, or no GPU.
    """
    return open_with_cuda_python() if backend == "tensorrt-rtx" else open_with_pycuda()
