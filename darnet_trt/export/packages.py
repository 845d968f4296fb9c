"""What exporting needs beyond the toolkit's own dependencies."""

from __future__ import annotations

import importlib.util

from darnet_trt.errors import MissingPackageError

__all__ = ["require_export_packages"]


def require_export_packages() -> None:
    """Name the missing one in a line, before its import fails in the middle.

    Raises:
        MissingPackageError: torch or onnx is not installed.
    """
    for package in ("torch", "onnx"):
        if importlib.util.find_spec(package) is None:
            raise MissingPackageError(package, extra="train")
