"""The differences between `tensorrt` (10.12 and later) and `tensorrt_rtx`.

Both have the same Python API. TensorRT-RTX builds for a GPU that is named and need not be there;
TensorRT builds for the GPU of this machine.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any, Final

from darnet_trt.errors import BuildError, BundleError
from darnet_trt.runtime.engines.tensorrt.package import TensorRTBackend, import_tensorrt

_LEAST_TENSORRT: Final = (10, 12)  # the API of earlier versions differs in places


def load(backend: TensorRTBackend) -> Any:
    """Import the package.

    Raises:
        MissingPackageError: It is not installed.
        BuildError: Its libraries do not load, or it is too old.
    """
    try:
        trt = import_tensorrt(backend)
    except BundleError as error:
        raise BuildError(error.what, do=error.do) from error
    if backend == "tensorrt":
        found = tuple(int(number) for number in trt.__version__.split(".")[:2])
        if found < _LEAST_TENSORRT:
            least = ".".join(map(str, _LEAST_TENSORRT))
            raise BuildError(
                f"expected TensorRT {least} or later, found {trt.__version__}",
                do="pip install --upgrade 'darnet-trt[gpu]'",
            )
    return trt


def link_loader_name(folder: Path) -> None:
    """Link libtensorrt_rtx.so into a folder for LD_LIBRARY_PATH.

    To load a plugin, TensorRT-RTX's parser opens libtensorrt_rtx.so and ends the process if it is
    not found; the wheel only has libtensorrt_rtx.so.1.
    """
    libraries = importlib.util.find_spec("tensorrt_rtx_libs")
    for place in (libraries and libraries.submodule_search_locations) or ():
        for file in Path(place).glob("libtensorrt_rtx.so.*"):
            (folder / "libtensorrt_rtx.so").symlink_to(file)
            return
