"""The packages that exporting needs beyond the toolkit's own, and their versions."""

from __future__ import annotations

import importlib.util

from darnet_trt.errors import MissingPackageError
from darnet_trt.machine.hardware import package_version

__all__ = ["producer", "require_export_packages"]


def require_export_packages() -> None:
    """Name the missing one in a line, before its import fails in the middle.

    Raises:
        MissingPackageError: torch or onnx is not installed.
    """
    for package in ("torch", "onnx"):
        if importlib.util.find_spec(package) is None:
            raise MissingPackageError(package, extra="train")


def producer(*packages: str) -> dict[str, str]:
    """Package → version, as an artifact names what built it."""
    return {package: package_version(package) or "unknown" for package in packages}
