"""The clock of the parts of `run.py` that measure, and the way they are skipped."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from darnet_trt.errors import DarnetError, MissingPackageError

SKIPPED = 77
"""Exit code of a part that cannot run here; its last line says why."""


def measure(choices: Mapping[str, Callable[[str], None]]) -> None:
    """Run the choice that the command line names, with "cuda", or "cpu" where there is no GPU."""
    try:
        choices[sys.argv[1]](device_here())
    except MissingPackageError as error:
        skip(str(error))
    except DarnetError as error:
        sys.exit(str(error))


def device_here() -> str:
    """Return "cuda" where torch finds a GPU, else "cpu"."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def skip(reason: str) -> NoReturn:
    """End the part: it cannot run here."""
    print(reason, flush=True)
    sys.exit(SKIPPED)


def elapsed(on: str, call: Callable[[], Any]) -> float:
    """Return the seconds of a call, with all that it left to the GPU."""
    import torch

    if on == "cuda":
        torch.cuda.synchronize()
    started = time.perf_counter()
    call()
    if on == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started
