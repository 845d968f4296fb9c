"""Import ONNX Runtime without its telemetry.

Since 1.32 `import onnxruntime` on Linux writes a device id into the user's cache folder and queues
events for its maker, without consent. A hospital's machine must not do that. The library reads the
variable ORT_DISABLE_TELEMETRY once, while it loads.
"""

from __future__ import annotations

import os
from types import ModuleType

from darnet_trt.errors import MissingPackageError
from darnet_trt.machine.hardware import package_version


def import_onnxruntime(extra: str = "cpu") -> ModuleType:
    """Import and return the `onnxruntime` module; nothing else in this package imports it.

    Args:
        extra: The extra of darnet-trt that installs it, for the error.

    Raises:
        MissingPackageError: It is not installed.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    try:
        import onnxruntime
    except ModuleNotFoundError as error:
        raise MissingPackageError("onnxruntime", extra=extra) from error
    module: ModuleType = onnxruntime
    return module


def broken_onnxruntime() -> str | None:
    """Return what is wrong and what to do where both ONNX Runtime packages are installed.

    onnxruntime and onnxruntime-gpu write the same files: the one that was installed last wins,
    and uninstalling one leaves half of the other. None where at most one is installed.
    """
    cpu, gpu = package_version("onnxruntime"), package_version("onnxruntime-gpu")
    if cpu is None or gpu is None:
        return None
    return (
        f"onnxruntime {cpu} and onnxruntime-gpu {gpu} are both installed and overwrite each "
        "other's files; pip uninstall onnxruntime onnxruntime-gpu, then install one of them: "
        "pip install 'darnet-trt[cpu]' or 'darnet-trt[gpu]'"
    )
