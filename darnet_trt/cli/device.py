"""Choose where torch runs, and its threads: the options `--device` and `--threads`."""

from __future__ import annotations

from typing import Literal

from darnet_trt.errors import UsageError

Device = Literal["auto", "cpu", "cuda"]


def use_torch(threads: int | None = None) -> None:
    """Make torch ready for a command that trains or runs networks; call it before torch's import.

    Args:
        threads: CPU threads; None leaves the number to torch.

    Raises:
        MissingPackageError: It is not installed.
    """
    from darnet_trt.machine.cpus import share_cpus
    from darnet_trt.machine.hardware import require_packages

    share_cpus()
    require_packages("torch", extra="train")
    if threads:
        import torch

        torch.set_num_threads(threads)


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
