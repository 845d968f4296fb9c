"""Complete values that only a bundle or this file knows, in the shell."""

from __future__ import annotations

import json
from pathlib import Path

import typer


def artifacts(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the names of a bundle's engines; none where its manifest cannot be read."""
    try:
        bundle = ctx.params["bundle"] or ctx.args[0]  # args: the option still has no value
        manifest = json.loads((Path(bundle) / "manifest.json").read_text())
        names = [artifact["name"] for artifact in manifest["artifacts"]]
    except (OSError, ValueError, LookupError, TypeError):
        return []
    return [name for name in names if name.startswith(incomplete)]


def targets(incomplete: str) -> list[str]:
    """Return what `build --target` takes, without the architectures of TensorRT-RTX."""
    names = ("openvino", "onnxruntime", "onnxruntime:cuda", "tensorrt-rtx", "tensorrt")
    return [name for name in names if name.startswith(incomplete)]
