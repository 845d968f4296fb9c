"""Put the engines that run on this machine through the gates, and time them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from onnx import ModelProto

from darnet_trt.bundle.manifest import MODEL_FILE, Artifact
from darnet_trt.bundle.trust import failed_gates
from darnet_trt.errors import ParityError
from darnet_trt.export.context import BuildContext
from darnet_trt.export.gates.contenders import NOT_EXECUTED, PlanFailures, open_contenders
from darnet_trt.export.gates.decision_gate import DecisionGate
from darnet_trt.export.gates.parity_scans import ParityScans
from darnet_trt.export.gates.reference import TorchRunner
from darnet_trt.export.gates.timing import time_in_turns
from darnet_trt.export.targets import Candidate
from darnet_trt.runtime.engines.parity import gate
from darnet_trt.runtime.engines.runner import Outputs, Runner, run, runs_on_gpu


@dataclass(frozen=True)
class Judged:
    """The engines after the gates.

    Attributes:
        passed: Passed the gates, or were accepted although they failed; timed in alternation.
        rejected: Failed; the files that only they use are deleted.
        not_run: Plans for other machines, and those that failed on this one; their notes say why.
        reference: The reference's outputs for the context's scans; None if no engine ran.
    """

    passed: list[Artifact]
    rejected: list[Artifact]
    not_run: list[Artifact]
    reference: Outputs | None


def judge(
    context: BuildContext,
    candidates: Sequence[Candidate],
    graphs: Mapping[str, ModelProto],
    plans: Sequence[Artifact],
    decisions: DecisionGate | None,
) -> Judged:
    """Build engines into a bundle's folder, and judge them and the plans that are there.

    Args:
        context: Of the build.
        candidates: The engines to build and judge.
        graphs: `MODEL_FILE`, and `INT8_FILE` and `FP16_FILE` where candidates load them.
        plans: Judged too, if this machine runs them.
        decisions: The gate of int8 engines; None where there are none.

    Raises:
        MissingPackageError: A candidate's package is not installed.
        BuildError: A candidate cannot be built, or does not run in the precision asked for.
        ParityError: Engines ran and none passed.
    """
    failures = PlanFailures(context.log)
    with ExitStack() as stack:
        contenders = open_contenders(context, candidates, graphs, plans, failures, stack)
        judged: list[tuple[Artifact, Runner]] = []
        reference = None
        if contenders:
            reference = run_reference(context, context.scans.inputs, context.scans.source)
            for engine, runner in contenders:
                with failures.of_a_plan(engine):
                    parity = gate(runner, reference, context.scans.inputs, context.scans.source)
                    effective = runner.precision
                    update = {"effective_precision": effective, "executed": True, "parity": parity}
                    found = engine.model_copy(update=update)
                    context.log(_verdict(found))
                    if decisions is not None:
                        found = decisions.judged(found, runner)
                    judged.append((found, runner))
        passed = [pair for pair in judged if _passed(pair[0])]
        rejected = [engine for engine, _ in judged if not _passed(engine)]
        if rejected and not passed:
            raise ParityError(
                "no engine passed the gates: " + "; ".join(map(_rejection, rejected)),
                do="choose another --precision",
            )
        timed = _timed(passed, context.scans, failures)
    not_run = []
    for plan in plans:
        if plan.name in failures:
            note = f"{plan.notes[0]}, {NOT_EXECUTED}: {failures[plan.name].what}"
            not_run.append(plan.model_copy(update={"notes": (note, *plan.notes[1:])}))
    _drop(context.folder, (*timed, *not_run), rejected)
    return Judged(timed, rejected, not_run, reference)


def _passed(judged: Artifact) -> bool:
    """Return whether an engine passed its gates, or was accepted although it failed."""
    return judged.accepted is not None or not failed_gates(judged)


def _timed(
    passed: Sequence[tuple[Artifact, Runner]], scans: ParityScans, failures: PlanFailures
) -> list[Artifact]:
    """Return the engines with their latencies, without the plans that fail while timed."""
    volume = scans.inputs[0][None]

    def run(engine: Artifact, runner: Runner) -> None:
        if engine.name not in failures:
            with failures.of_a_plan(engine):
                runner.infer(volume)

    runs = {engine.name: partial(run, engine, runner) for engine, runner in passed}
    on_gpu = [engine.name for engine, runner in passed if runs_on_gpu(runner)]
    traces = time_in_turns(runs, on_gpu)
    return [
        engine.model_copy(update={"latency_ms": round(traces[engine.name].median_ms, 3)})
        for engine, _ in passed
        if engine.name not in failures
    ]


def run_reference(
    context: BuildContext, inputs: Sequence[npt.NDArray[np.float32]], source: str
) -> Outputs:
    """Run the float32 reference on inputs, each (1, d, h, w), that `source` describes."""
    context.log(f"reference: torch float32 on {source}")
    with closing(TorchRunner(context.source.network, threads=context.threads)) as runner:
        return run(runner, inputs)


def _verdict(judged: Artifact) -> str:
    parity = judged.parity
    assert parity is not None
    return (
        f"{judged.name}: {'passed' if parity.passed else 'failed'} the parity gate "
        f"({parity.class_flips} of {parity.scans} classes flipped, "
        f"probabilities within {parity.max_probability_difference:.2g}, "
        f"logits {parity.max_logits_error:.2g}, map {parity.max_cam_error:.2g}, "
        f"features {parity.max_features_error:.2g})"
    )


def _rejection(rejected: Artifact) -> str:
    parity = rejected.parity
    if parity is None or not parity.passed:
        return _verdict(rejected)
    return f"{rejected.name}: {failed_gates(rejected)[0]}"


def _drop(folder: Path, kept_engines: Sequence[Artifact], rejected: Sequence[Artifact]) -> None:
    """Delete the files that only rejected candidates use, except `MODEL_FILE`."""
    kept = {name for artifact in kept_engines for name in artifact.files} | {MODEL_FILE}
    for name in {name for artifact in rejected for name in artifact.files} - kept:
        file = folder / name
        file.unlink()
        if not any(file.parent.iterdir()):
            file.parent.rmdir()
