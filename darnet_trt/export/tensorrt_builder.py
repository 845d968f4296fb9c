"""ONNX → TensorRT or TensorRT-RTX plan, each in a process of its own.

After a build that failed, the next one in the same process silently falls back to other types,
and a builder that finds an internal fault aborts the process: so one process a build.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from darnet_trt.errors import BuildError, MissingPackageError
from darnet_trt.export.tensorrt_child import Job, Result
from darnet_trt.export.tensorrt_compat import PACKAGES, TensorRTBackend

__all__ = ["build_tensorrt"]

_LAST_LINES: Final = 3  # of a builder that crashed: enough to name the fault on one line
# TensorRT's own words for what SM75 lacks, and what helps.
_REMEDIES: Final = {"FP32 3D convolution": "this architecture needs --precision fp16"}


def build_tensorrt(backend: TensorRTBackend, onnx_file: Path, plan: Path, target: str) -> Result:
    """Build one plan.

    Args:
        backend: Which package.
        onnx_file: The graph in the precision that the plan shall have.
        plan: Where it goes; its folder must exist.
        target: One of `RTX_TARGETS`; for `tensorrt` a name of the GPU at hand.

    Raises:
        MissingPackageError: The package is not installed.
        BuildError: It was refused, or the builder crashed; carries the reason.
        OSError: The plan could not be written.
    """
    package, extra = PACKAGES[backend]
    if importlib.util.find_spec(package) is None:
        raise MissingPackageError(package, extra=extra)
    job = Job(backend=backend, onnx=onnx_file, plan=plan, target=target)
    child = subprocess.run(
        [sys.executable, "-m", "darnet_trt.export.tensorrt_child"],
        input=job.model_dump_json(),
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    name = f"{backend}:{target}"
    try:
        result = Result.model_validate_json(child.stdout)
    except ValidationError as error:
        said = " | ".join(child.stderr.strip().splitlines()[-_LAST_LINES:]) or "nothing"
        raise BuildError(
            f"the builder {_ending(child.returncode)}; its last words: {said}", where=name
        ) from error
    if result.unwritable is not None:
        raise OSError(result.unwritable, os.strerror(result.unwritable), plan)
    if result.error is not None:
        remedy = next((do for words, do in _REMEDIES.items() if words in result.error), None)
        raise BuildError(f"no plan: {result.error}", where=name, do=remedy)
    return result


def _ending(code: int) -> str:
    if code < 0:
        return f"was ended by {signal.Signals(-code).name}"
    return f"ended with code {code}"
