"""Import OpenVINO without its telemetry.

`import openvino` forks a process that sends an event to its maker over the network, without
consent. A hospital's machine must not do that, and the fork can block a matrix product in another
thread for ever (OpenBLAS ends its threads at every fork). Without the telemetry package OpenVINO
uses a stub.
"""

from __future__ import annotations

import sys
from functools import cache
from types import ModuleType
from typing import Any

from darnet_trt.errors import MissingPackageError
from darnet_trt.runtime.engines.onnxruntime.package import cpu_extra

_TELEMETRY = "openvino_telemetry"


def import_openvino() -> ModuleType:
    """Import and return the `openvino` module; nothing else in this package imports it.

    Raises:
        MissingPackageError: It is not installed.
    """
    # None makes Python raise ImportError, as if the telemetry were not installed.
    sys.modules.setdefault(_TELEMETRY, None)  # type: ignore[arg-type]
    try:
        import openvino
    except ModuleNotFoundError as error:
        raise MissingPackageError("openvino", extra=cpu_extra()) from error
    module: ModuleType = openvino
    return module


@cache
def core() -> Any:
    """Return OpenVINO's core, one for the whole process and until its end.

    The CPU plugin of a core gives the thread that loads it another stack for signal handlers
    (`SigAltStackSetup` in OpenVINO's intel_cpu/src/plugin.cpp) and frees that stack with the core.
    Where another thread frees it, as at a reload of the service, the next signal ends the process.

    Raises:
        MissingPackageError: OpenVINO is not installed.
    """
    return import_openvino().Core()


@cache
def cpu_precisions() -> tuple[str, ...]:
    """Return which of fp32, bf16, fp16 and int8 this CPU computes in with OpenVINO.

    Raises:
        MissingPackageError: OpenVINO is not installed.
    """
    offered = core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return tuple(p for p in ("fp32", "bf16", "fp16", "int8") if p.upper() in offered)
