"""Build TensorRT and TensorRT-RTX plans from ONNX, each in a process of its own.

After a failed build, the next build in the same process silently falls back to other types, and an
internal fault of the builder aborts the process.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from pydantic import ValidationError

from darnet_trt.errors import BuildError, MissingPackageError
from darnet_trt.export.tensorrt.child import PROGRESS, BuiltPlan, Job
from darnet_trt.export.tensorrt.options import PlanOptions
from darnet_trt.export.tensorrt.versions import link_loader_name
from darnet_trt.runtime.engines.tensorrt.package import PACKAGES, TensorRTBackend

__all__ = ["build_tensorrt"]

_DEFAULTS: Final = PlanOptions()
_LAST_LINES: Final = 3  # of a builder that crashed: enough to name the fault on one line
_PLUGIN: Final = "darnet-trt plugin: "  # starts an error line of cuda/plugin.cpp
# A part of TensorRT's message for sm75 → what to do.
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
) -> BuiltPlan:
    """Build one plan.

    Args:
        backend: The package that builds.
        onnx_file: The graph; its types become the plan's types.
        plan: Where to write it; its folder must exist.
        target: One of `RTX_TARGETS`; for `tensorrt` a name of the GPU at hand.
        options: Other options.
        plugin: The library whose plugins run the attention; None: standard operators.
        embed: Put that library into the plan.
        log: Takes a line on the progress of a long build.

    Raises:
        MissingPackageError: The package is not installed.
        BuildError: The builder refused or crashed; carries the reason.
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
        result = BuiltPlan.model_validate_json(ended.answer)
    except ValidationError as error:
        last_words = " | ".join(ended.last_lines) or "nothing"
        raise BuildError(
            f"the builder {_ending(ended.code)}; its last words: {last_words}", where=name
        ) from error
    if result.unwritable is not None:
        raise OSError(result.unwritable, os.strerror(result.unwritable), plan)
    if result.error is not None:
        remedy = next((do for words, do in _REMEDIES.items() if words in result.error), None)
        # TensorRT only reports that a plugin failed; the plugin prints the reason.
        why = "" if ended.plugin is None else f"; the plugin says: {ended.plugin}"
        raise BuildError(f"no plan: {result.error}{why}", where=name, do=remedy)
    return result


@dataclass(frozen=True)
class _Ended:
    """What a child left.

    Attributes:
        code: Its exit code.
        answer: What it printed.
        last_lines: That it said beside that.
        plugin: What the plugin refused last; None: nothing.
    """

    code: int
    answer: str
    last_lines: tuple[str, ...]
    plugin: str | None


def _run(job: Job, work: Path, log: Callable[[str], None]) -> _Ended:
    environment = dict(os.environ)
    if job.backend == "tensorrt-rtx":
        link_loader_name(work)
        paths = [str(work), *filter(None, [environment.get("LD_LIBRARY_PATH")])]
        environment["LD_LIBRARY_PATH"] = ":".join(paths)
    said: deque[str] = deque(maxlen=_LAST_LINES)
    plugin: str | None = None
    with (
        (work / "result.json").open("w+") as answer,  # a pipe could fill up while stderr is read
        subprocess.Popen(
            [sys.executable, "-m", "darnet_trt.export.tensorrt.child"],
            stdin=subprocess.PIPE,
            stdout=answer,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env=environment,
        ) as child,
    ):
        assert child.stdin is not None
        assert child.stderr is not None
        try:
            with suppress(BrokenPipeError):  # it ended before it read
                child.stdin.write(job.model_dump_json())
                child.stdin.close()
            for line in child.stderr:
                if line.startswith(PROGRESS):
                    log(line.removeprefix(PROGRESS).rstrip())
                elif line.strip():
                    said.append(line.strip())
                if line.startswith(_PLUGIN):
                    plugin = line.removeprefix(_PLUGIN).strip()
            code = child.wait()
        except BaseException:
            child.kill()
            raise
        answer.seek(0)
        return _Ended(code, answer.read(), tuple(said), plugin)


def _ending(code: int) -> str:
    if code < 0:
        return f"was ended by {signal.Signals(-code).name}"
    return f"ended with code {code}"
