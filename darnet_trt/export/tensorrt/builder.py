"""Build TensorRT and TensorRT-RTX plans from ONNX, each in a process of its own.

After a failed build, the next build in the same process silently falls back to other types, and an
internal fault of the builder aborts the process.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from pydantic import ValidationError

from darnet_trt.errors import BuildError
from darnet_trt.export.tensorrt.child import PROGRESS, BuiltPlan, Job
from darnet_trt.export.tensorrt.versions import link_loader_name
from darnet_trt.machine.hardware import require_packages
from darnet_trt.machine.processes import Ended, last_words, run_child
from darnet_trt.runtime.engines.tensorrt.package import PACKAGES

_PLUGIN: Final = "darnet-trt plugin: "  # starts an error line of cuda/plugin.cpp
# A part of TensorRT's message for sm75 → what to do.
_REMEDIES: Final = {
    "FP32 3D convolution": "this architecture needs --precision fp16",
    "HW-specific datatypes: b16": "this architecture has no bfloat16; use --precision fp16",
}


def build_tensorrt(job: Job, log: Callable[[str], None] = lambda _: None) -> BuiltPlan:
    """Build one plan.

    Args:
        job: The plan; its folder must exist.
        log: Takes a line on the progress of a long build.

    Raises:
        MissingPackageError: The package is not installed.
        BuildError: The builder refused or crashed; carries the reason.
        OSError: The plan could not be written.
    """
    package, extra = PACKAGES[job.backend]
    require_packages(package, extra=extra)
    name = f"{job.backend}:{job.target}"
    with TemporaryDirectory() as work:
        ended = _run(job, Path(work), lambda line: log(f"{name}: {line}"))
    try:
        result = BuiltPlan.model_validate_json(ended.stdout)
    except ValidationError as error:
        said = last_words(
            line for line in ended.stderr.splitlines() if not line.startswith(PROGRESS)
        )
        raise BuildError(
            f"the builder {ended.how}; its last words: {said or 'nothing'}", where=name
        ) from error
    if result.unwritable is not None:
        raise OSError(result.unwritable, os.strerror(result.unwritable), job.plan)
    if result.error is not None:
        remedy = next((do for words, do in _REMEDIES.items() if words in result.error), None)
        # TensorRT only reports that a plugin failed; the plugin prints the reason.
        refusals = [line for line in ended.stderr.splitlines() if line.startswith(_PLUGIN)]
        why = f"; the plugin says: {refusals[-1].removeprefix(_PLUGIN)}" if refusals else ""
        raise BuildError(f"no plan: {result.error}{why}", where=name, do=remedy)
    return result


def _run(job: Job, work: Path, log: Callable[[str], None]) -> Ended:
    environment = dict(os.environ)
    if job.backend == "tensorrt-rtx":
        link_loader_name(work)
        paths = [str(work), *filter(None, [environment.get("LD_LIBRARY_PATH")])]
        environment["LD_LIBRARY_PATH"] = ":".join(paths)

    def heard(stream: str, line: str) -> None:
        if stream == "stderr" and line.startswith(PROGRESS):
            log(line.removeprefix(PROGRESS).rstrip())

    return run_child(
        [sys.executable, "-m", "darnet_trt.export.tensorrt.child"],
        stdin=job.model_dump_json(),
        env=environment,
        heard=heard,
    )
