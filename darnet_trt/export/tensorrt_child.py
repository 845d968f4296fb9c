"""The child process of `tensorrt_builder`: one plan, then exit.

`python -m darnet_trt.export.tensorrt_child` reads a `Job` as JSON from stdin and prints a
`Result` as JSON; the builder's own messages go to stderr.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from darnet_trt.errors import BuildError, DarnetError
from darnet_trt.export.tensorrt_compat import TensorRTBackend, load, set_target, strongly_typed

__all__ = ["Job", "Result", "build"]


class Job(BaseModel):
    """What to build.

    Attributes:
        backend: Which package builds.
        onnx: The graph; its types are the plan's types.
        plan: Where the plan goes.
        target: "portable", "sm89", …; for `tensorrt` the GPU at hand, whatever this says.
    """

    backend: TensorRTBackend
    onnx: Path
    plan: Path
    target: str


class Result(BaseModel):
    """What came of it.

    Attributes:
        version: Of the package; empty where it did not load.
        seconds: Parsing and building.
        error: Why there is no plan; None where there is one.
        unwritable: The system's error number, where the plan could not be written.
    """

    version: str = ""
    seconds: float = 0.0
    error: str | None = None
    unwritable: int | None = None


def _logger(trt: Any, errors: list[str]) -> Any:
    class Logger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                errors.append(message)
            if severity != trt.ILogger.VERBOSE:
                print(message, file=sys.stderr, flush=True)  # noqa: T201

    return Logger()


def build(job: Job) -> Result:
    """Build in this process. Batch 1, static: it is what one scan needs and leaves no choice open.

    Raises:
        BuildError: The package does not load, or its parser or builder refused; carries their
            first error.
    """
    trt = load(job.backend)
    started = time.monotonic()
    errors: list[str] = []
    builder = trt.Builder(_logger(trt, errors))
    network = builder.create_network(strongly_typed(trt))
    parser = trt.OnnxParser(network, builder.logger)
    if not parser.parse(job.onnx.read_bytes()):
        found = [parser.get_error(i) for i in range(parser.num_errors)]
        reasons = [f"{e.node_operator()} {e.node_name()}: {e.desc()}" for e in found]
        raise BuildError(f"the graph was not taken: {(reasons or errors or ['no reason'])[0]}")
    volume = network.get_input(0)
    volume.shape = (1, *tuple(volume.shape)[1:])
    config = builder.create_builder_config()
    set_target(trt, config, job.backend, job.target)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise BuildError((errors or ["the builder gave no reason"])[0])
    job.plan.write_bytes(plan)
    return Result(version=trt.__version__, seconds=round(time.monotonic() - started, 2))


def _main() -> None:
    # The libraries print to stdout too: keep it for the result alone.
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    job = Job.model_validate_json(sys.stdin.read())
    try:
        result = build(job)
    except DarnetError as error:
        result = Result(error=str(error))
    except OSError as error:
        result = Result(error=str(error), unwritable=error.errno)
    answer.write(result.model_dump_json())
    answer.close()


if __name__ == "__main__":
    _main()
