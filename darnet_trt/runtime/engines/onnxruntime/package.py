"""Import ONNX Runtime without its telemetry, from one whole package.

Since 1.32 `import onnxruntime` on Linux writes a device id into the user's cache folder and queues
events for its maker, without consent. A hospital's machine must not do that. The library reads the
variable ORT_DISABLE_TELEMETRY once, while it loads.
"""

from __future__ import annotations

import importlib.util
import os
from types import ModuleType
from typing import Final

from darnet_trt.errors import MissingPackageError
from darnet_trt.machine.hardware import gpus, package_version

# Each writes the module `onnxruntime`.
_DISTRIBUTIONS: Final = (
    "onnxruntime",
    "onnxruntime-gpu",
    "onnxruntime-openvino",
    "onnxruntime-directml",
    "onnxruntime-migraphx",
    "onnxruntime-qnn",
    "onnxruntime-rocm",
    "onnxruntime-training",
)


def import_onnxruntime(extra: str | None = None) -> ModuleType:
    """Import and return the `onnxruntime` module; nothing else in this package imports it.

    Args:
        extra: The extra of darnet-trt that installs it, for the error; None: `cpu_extra()`.

    Raises:
        MissingPackageError: It is not installed, or not whole.
    """
    extra = extra or cpu_extra()
    _check_files(extra)
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    try:
        import onnxruntime
    except ModuleNotFoundError as error:
        raise MissingPackageError(error.name or "onnxruntime", extra=extra) from error
    except ImportError as error:
        raise _broken(extra, f"onnxruntime does not load ({error})") from error
    module: ModuleType = onnxruntime
    return module


def onnxruntime_packages() -> dict[str, str]:
    """Return name → version of the installed packages that write the module `onnxruntime`."""
    return {name: version for name in _DISTRIBUTIONS if (version := package_version(name))}


def cpu_extra() -> str:
    """Return the extra that brings the CPU's engines here, and no second ONNX Runtime."""
    found = onnxruntime_packages()
    if len(found) == 1:
        return "gpu" if "onnxruntime-gpu" in found else "cpu"
    return "gpu" if gpus() else "cpu"


def _check_files(extra: str) -> None:
    """Check that one package is installed, and whole.

    onnxruntime and onnxruntime-gpu write the same files: the one that was installed last wins, and
    uninstalling one deletes the files of both. An empty folder stays, which Python imports.

    Raises:
        MissingPackageError: As `import_onnxruntime`.
    """
    found = onnxruntime_packages()
    if len(found) > 1:
        names = " and ".join(f"{name} {version}" for name, version in found.items())
        raise _broken(extra, f"{names} overwrite each other's files: only one may be installed")
    spec = importlib.util.find_spec("onnxruntime")
    if spec is not None and spec.origin is not None:
        return
    for name in found:
        raise _broken(extra, f"the files of {name} are missing: uninstalling another deleted them")
    raise MissingPackageError("onnxruntime", extra=extra)


def _broken(extra: str, what: str) -> MissingPackageError:
    return MissingPackageError("onnxruntime", extra=extra, what=what, do=how_to_reinstall(extra))


def how_to_reinstall(extra: str) -> str:
    """Return the commands that leave one whole package: pip does not repair what it lists."""
    names = " ".join(onnxruntime_packages())
    other = " ([gpu] for an NVIDIA GPU)" if extra == "cpu" else ""
    return f"run: pip uninstall -y {names}; then: pip install 'darnet-trt[{extra}]'{other}"
