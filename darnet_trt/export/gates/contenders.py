"""Open the engines that this machine can run: CPU engines must open, plans may fail."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final, Literal

from onnx import ModelProto

from darnet_trt.bundle.manifest import FP16_FILE, INT8_FILE, MODEL_FILE, Artifact
from darnet_trt.bundle.writing import hashes
from darnet_trt.errors import BuildError, BundleError, DarnetError
from darnet_trt.export.context import BuildContext
from darnet_trt.export.onnx.writing import write_graph
from darnet_trt.export.targets import Candidate
from darnet_trt.machine.hardware import producer
from darnet_trt.runtime.engines.onnxruntime.runner import OnnxRuntimeRunner
from darnet_trt.runtime.engines.openvino.conversion import build_openvino
from darnet_trt.runtime.engines.openvino.runner import OpenVINORunner
from darnet_trt.runtime.engines.runner import Runner
from darnet_trt.runtime.engines.tensorrt.package import PACKAGES
from darnet_trt.runtime.engines.tensorrt.runner import open_plan

NOT_EXECUTED: Final = "not executed here"


class PlanFailures(dict[str, DarnetError]):
    """Why each plan that failed here did not run.

    Args:
        log: Takes a line on each.
    """

    def __init__(self, log: Callable[[str], None]) -> None:
        super().__init__()
        self._log = log

    @contextmanager
    def of_a_plan(self, engine: Artifact) -> Iterator[None]:
        """Record the error of a plan and go on: this machine may be the reason.

        Raises:
            DarnetError: An engine that is not a plan failed.
        """
        try:
            yield
        except DarnetError as error:
            if engine.backend not in PACKAGES:
                raise
            self[engine.name] = error
            self._log(f"{engine.name}: {NOT_EXECUTED}: {error.what}")


def open_contenders(
    context: BuildContext,
    candidates: Sequence[Candidate],
    graphs: Mapping[str, ModelProto],
    plans: Sequence[Artifact],
    failures: PlanFailures,
    opened: ExitStack,
) -> list[tuple[Artifact, Runner]]:
    """Build and open what runs here.

    Args:
        context: Of the build.
        candidates: Built into the bundle's folder and opened.
        graphs: `MODEL_FILE`, and `INT8_FILE` and `FP16_FILE` where candidates load them.
        plans: In the bundle's folder; opened if this machine can.
        failures: Takes the plans that cannot be opened.
        opened: Closes what was opened.

    Raises:
        MissingPackageError: A candidate's package is not installed.
        BuildError: A candidate cannot be built, or does not run in the precision asked for.
    """
    folder = context.folder
    files = _engine_files(context, candidates, graphs)
    contenders: list[tuple[Artifact, Runner]] = []
    for candidate in candidates:
        loaded = files[_graph(candidate)]
        runner = _open(candidate, loaded[0], context.threads)
        opened.callback(runner.close)
        engine = candidate.artifact(
            hashes(folder, *loaded), runner.batch, producer(candidate.backend, "onnx")
        )
        contenders.append((engine, runner))
    for plan in plans:
        with failures.of_a_plan(plan):
            runner = open_plan(plan, folder / next(iter(plan.files)))
            opened.callback(runner.close)
            contenders.append((plan, runner))
    return contenders


_Graph = tuple[str, str]


def _graph(candidate: Candidate) -> _Graph:
    """Return the backend and the graph it loads; OpenVINO's float precisions share one."""
    if candidate.precision == "int8":
        return candidate.backend, INT8_FILE
    half = (candidate.backend, candidate.precision) == ("onnxruntime", "fp16")
    return candidate.backend, FP16_FILE if half else MODEL_FILE


def _engine_files(
    context: BuildContext, here: Sequence[Candidate], graphs: Mapping[str, ModelProto]
) -> dict[_Graph, tuple[Path, ...]]:
    """Write the files that the engines load, for each backend and graph."""
    files: dict[_Graph, tuple[Path, ...]] = {}
    for backend, name in dict.fromkeys(map(_graph, here)):
        if backend == "openvino":
            context.log(f"converting {name} to OpenVINO")
            folder = "openvino-int8" if name == INT8_FILE else "openvino"
            files[backend, name] = build_openvino(graphs[name], context.folder / folder)
        else:
            file = context.folder / name
            if not file.exists():
                write_graph(graphs[name], file)
            files[backend, name] = (file,)
    return files


def _open(candidate: Candidate, file: Path, threads: int | None) -> Runner:
    try:
        runner: Runner
        if candidate.backend == "openvino":
            runner = OpenVINORunner(file, precision=candidate.precision, threads=threads)
        else:
            device: Literal["cpu", "cuda"] = "cuda" if candidate.target == "cuda" else "cpu"
            runner = OnnxRuntimeRunner(file, device=device, threads=threads)
    except BundleError as error:
        raise BuildError(error.what, where=candidate.name, do=error.do) from error
    if runner.precision != candidate.precision:
        ran = runner.precision
        runner.close()
        raise BuildError(
            f"{candidate.precision} was asked for, but this machine runs it in {ran}",
            where=candidate.name,
            do=f"choose --precision {ran} or auto",
        )
    return runner
