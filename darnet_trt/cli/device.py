"""Where torch runs: the option `--device`."""

from __future__ import annotations

from typing import Literal

from darnet_trt.errors import UsageError

Device = Literal["auto", "cpu", "cuda"]


def device_for(wanted: Device) -> str:
    """Return "cuda" or "cpu".

    Raises:
        UsageError: "cuda" is wanted, and torch finds no CUDA device.
    """
    import torch

    available = torch.cuda.is_available()
    if wanted == "auto":
        return "cuda" if available else "cpu"
    if wanted == "cuda" and not available:
        raise UsageError(
            "torch finds no CUDA device here", where="--device cuda", do="use --device cpu"
        )
    return wanted
