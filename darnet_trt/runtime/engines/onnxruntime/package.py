"""Importing ONNX Runtime without its telemetry.

Since 1.32 `import onnxruntime` on Linux keeps a device id under the user's cache folder and queues
events on the machine for its maker, unasked. A hospital's machine must not do that. The library
reads the variable once, while it loads.
"""

from __future__ import annotations

import os
from types import ModuleType

from darnet_trt.errors import MissingPackageError

__all__ = ["import_onnxruntime"]


def import_onnxruntime(extra: str = "cpu") -> ModuleType:
    """The `onnxruntime` module; the only way this package imports it.

    Raises:
        MissingPackageError: It is not installed; names the extra that brings it.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    try:
        import onnxruntime
    except ModuleNotFoundError as error:
        raise MissingPackageError("onnxruntime", extra=extra) from error
    module: ModuleType = onnxruntime
    return module
