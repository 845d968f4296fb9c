"""Engines open on this machine: those for the CPU, which must run, and plans, which may not."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final, Literal

from darnet_trt.bundle.manifest import INT8_FILE, MODEL_FILE, Artifact
from darnet_trt.bundle.writing import hashes
from darnet_trt.errors import BuildError, BundleError, DarnetError
from darnet_trt.export.targets import Candidate
from darnet_trt.machine.hardware import producer
from darnet_trt.runtime.engines.onnxruntime.runner import OnnxRuntimeRunner
from darnet_trt.runtime.engines.openvino.conversion import build_openvino
from darnet_trt.runtime.engines.openvino.runner import OpenVINORunner
from darnet_trt.runtime.engines.runner import Runner
from darnet_trt.runtime.engines.tensorrt.package import PACKAGES
from darnet_trt.runtime.engines.tensorrt.runner import open_plan

__all__ = ["NOT_EXECUTED", "PlanFailures", "open_contenders"]

NOT_EXECUTED: Final = "not executed here"


class PlanFailures(dict[str, DarnetError]):
    """Plan → why it did not run here.

    Args:
        log: Takes a line on each.
    """

    def __init__(self, log: Callable[[str], None]) -> None:
        super().__init__()
        self._log = log

    @contextmanager
    def of_a_plan(self, engine: Artifact) -> Iterator[None]:
        """A plan may fail without harm to the rest: it may be this machine's fault.

        Raises:
            DarnetError: An engine that is no plan failed.
        """
        try:
            yield
        except DarnetError as error:
            if engine.backend not in PACKAGES:
                raise
            self[engine.name] = error
            self._log(f"{engine.name}: {NOT_EXECUTED}: {error.what}")


def open_contenders(
    folder: Path,
    candidates: Sequence[Candidate],
    plans: Sequence[Artifact],
    threads: int | None,
    failures: PlanFailures,
    log: Callable[[str], None],
) -> list[tuple[Artifact, Runner]]:
    """What runs here, open; the caller closes it.

    Args:
        folder: Of the bundle; holds `MODEL_FILE`, `INT8_FILE` where a candidate is int8, and the
            plans.
        candidates: Built into it and opened.
        plans: Opened where this machine can.
        threads: CPU threads; None leaves the number to the engines.
        failures: Takes the plans that it cannot open.
        log: Takes a line on each step.

    Raises:
        MissingPackageError: A candidate's package is not installed.
        BuildError: A candidate cannot be built, or does not run in the precision asked for.
    """
    files = _engine_files(folder, candidates, log)
    with ExitStack() as opened:  # closes all if one fails
        contenders: list[tuple[Artifact, Runner]] = []
        for candidate in candidates:
            loaded = files[_graph(candidate)]
            runner = _open(candidate, loaded[0], threads)
            opened.callback(runner.close)
            engine = _artifact(candidate, hashes(folder, *loaded), runner.batch)
            contenders.append((engine, runner))
        for plan in plans:
            with failures.of_a_plan(plan):
                runner = open_plan(plan, folder / next(iter(plan.files)))
                opened.callback(runner.close)
                contenders.append((plan, runner))
        opened.pop_all()
    return contenders


def _artifact(candidate: Candidate, files: dict[str, str], batch: tuple[int, int]) -> Artifact:
    """Before it ran."""
    return Artifact(
        name=candidate.name,
        files=files,
        backend=candidate.backend,
        precision=candidate.precision,
        effective_precision=None,
        target=candidate.target,
        batch=batch,
        producer=producer(candidate.backend, "onnx"),
        executed=False,
        parity=None,
        latency_ms=None,
    )


_Graph = tuple[str, str]


def _graph(candidate: Candidate) -> _Graph:
    """Backend and the graph it loads; OpenVINO's float precisions share theirs."""
    return candidate.backend, INT8_FILE if candidate.precision == "int8" else MODEL_FILE


def _engine_files(
    folder: Path, here: Sequence[Candidate], log: Callable[[str], None]
) -> dict[_Graph, tuple[Path, ...]]:
    """Backend and graph → the files that are loaded."""
    files: dict[_Graph, tuple[Path, ...]] = {}
    for backend, graph in dict.fromkeys(map(_graph, here)):
        source = folder / graph
        if backend == "openvino":
            log(f"convert {graph} to OpenVINO")
            name = "openvino-int8" if graph == INT8_FILE else "openvino"
            files[backend, graph] = build_openvino(source, folder / name)
        else:
            files[backend, graph] = (source,)
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
        raise BuildError(error.what, where=candidate.name) from error
    if runner.precision != candidate.precision:
        ran = runner.precision
        runner.close()
        raise BuildError(
            f"asked for {candidate.precision}, it runs in {ran} here",
            where=candidate.name,
            do=f"choose --precision {ran} or auto",
        )
    return runner
