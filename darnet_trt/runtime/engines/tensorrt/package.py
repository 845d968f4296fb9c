"""The packages of TensorRT and TensorRT-RTX: their names, targets and import."""

from __future__ import annotations

import importlib
from typing import Any, Final, Literal

from darnet_trt.errors import BundleError, MissingPackageError

TensorRTBackend = Literal["tensorrt", "tensorrt-rtx"]

PACKAGES: Final = {"tensorrt": ("tensorrt", "tensorrt"), "tensorrt-rtx": ("tensorrt_rtx", "rtx")}
"""Backend → import name and the extra that installs it."""

PORTABLE: Final = "portable"
RTX_TARGETS: Final = (PORTABLE, "sm75", "sm80", "sm86", "sm89", "sm120", "sm121")
"""Targets of TensorRT-RTX 1.7. For sm87, sm90 and sm100 there is only TensorRT."""


def import_tensorrt(backend: TensorRTBackend) -> Any:
    """Import and return the backend's module; both have the same API.

    Raises:
        MissingPackageError: It is not installed.
        BundleError: Its libraries do not load.
    """
    package, extra = PACKAGES[backend]
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        raise MissingPackageError(package, extra=extra) from error
    except (ImportError, OSError, RuntimeError) as error:
        raise BundleError(
            f"{package} does not load ({error})", do="check its installation with darnet-trt doctor"
        ) from error
