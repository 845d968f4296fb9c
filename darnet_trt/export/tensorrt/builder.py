"""ONNX → TensorRT or TensorRT-RTX plan, each in a process of its own.

After a build that failed, the next one in the same process silently falls back to other types,
and a builder that finds an internal fault aborts the process: so one process a build.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from pydantic import ValidationError

from darnet_trt.errors import BuildError, MissingPackageError
from darnet_trt.export.tensorrt.child import PROGRESS, Job, Result
from darnet_trt.export.tensorrt.options import PlanOptions
from darnet_trt.export.tensorrt.versions import link_loader_name
from darnet_trt.machine.processes import Ended, last_words, run_child
from darnet_trt.runtime.engines.tensorrt.package import PACKAGES, TensorRTBackend

__all__ = ["build_tensorrt"]

_DEFAULTS: Final = PlanOptions()
_PLUGIN: Final = "darnet-trt plugin: "  # begins a line of cuda/plugin.cpp that says what it refuses
# TensorRT's own words for what SM75 lacks, and what helps.
_REMEDIES: Final = {"FP32 3D convolution": "this architecture needs --precision fp16"}


def build_tensorrt(
    backend: TensorRTBackend,
    onnx_file: Path,
    plan: Path,
    target: str,
    *,
    options: PlanOptions = _DEFAULTS,
    plugin: Path | None = None,
    embed: bool = False,
    log: Callable[[str], None] = lambda _: None,
) -> Result:
    """Build one plan.

    Args:
        backend: Which package.
        onnx_file: The graph in the precision that the plan shall have.
        plan: Where it goes; its folder must exist.
        target: One of `RTX_TARGETS`; for `tensorrt` a name of the GPU at hand.
        options: The rest.
        plugin: The library whose plugins run the attention; None takes standard operators.
        embed: Put that library into the plan.
        log: Takes a line on the progress, where it takes long.

    Raises:
        MissingPackageError: The package is not installed.
        BuildError: It was refused, or the builder crashed; carries the reason.
        OSError: The plan could not be written.
    """
    package, extra = PACKAGES[backend]
    if importlib.util.find_spec(package) is None:
        raise MissingPackageError(package, extra=extra)
    job = Job(
        backend=backend,
        onnx=onnx_file,
        plan=plan,
        target=target,
        options=options,
        plugin=plugin,
        embed=embed,
    )
    name = f"{backend}:{target}"
    with TemporaryDirectory() as work:
        ended = _run(job, Path(work), lambda line: log(f"{name}: {line}"))
    try:
        result = Result.model_validate_json(ended.stdout)
    except ValidationError as error:
        said = last_words(
            line for line in ended.stderr.splitlines() if not line.startswith(PROGRESS)
        )
        raise BuildError(
            f"the builder {ended.how}; its last words: {said or 'nothing'}", where=name
        ) from error
    if result.unwritable is not None:
        raise OSError(result.unwritable, os.strerror(result.unwritable), plan)
    if result.error is not None:
        remedy = next((do for words, do in _REMEDIES.items() if words in result.error), None)
        # TensorRT tells only that a plugin failed, the plugin tells why.
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
