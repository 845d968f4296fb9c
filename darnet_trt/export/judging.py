"""Engines that run on this machine: built, put through the parity gate, timed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, Literal, cast

from darnet_trt.errors import (
    BuildError,
    BundleError,
    DeviceError,
    MissingPackageError,
    ParityError,
)
from darnet_trt.export.bundle_writer import hashes
from darnet_trt.export.onnx_export import Source
from darnet_trt.export.openvino_builder import build_openvino
from darnet_trt.export.packages import producer
from darnet_trt.export.parity import gate, run
from darnet_trt.export.parity_scans import ParityScans
from darnet_trt.export.reference import TorchRunner
from darnet_trt.export.targets import Candidate
from darnet_trt.runtime.manifest import MODEL_FILE, Artifact, Parity, Precision
from darnet_trt.runtime.onnxruntime import OnnxRuntimeRunner
from darnet_trt.runtime.openvino import OpenVINORunner
from darnet_trt.runtime.runner import Outputs, Runner
from darnet_trt.runtime.tensorrt import open_plan
from darnet_trt.runtime.timing import in_turns

__all__ = ["NOT_EXECUTED", "Judged", "judge"]

NOT_EXECUTED: Final = "not executed here"

# Small networks take what rounds fit into the time, the paper's the fewest that there are.
_ROUNDS: Final = 30
_TIMING_S: Final = 5.0


@dataclass(frozen=True)
class Judged:
    """What came of the engines.

    Attributes:
        passed: Within the gate's limits, timed in alternation.
        rejected: Not within them; their files are deleted where no other needs them.
        not_run: Plans for other machines.
    """

    passed: list[Artifact]
    rejected: list[Artifact]
    not_run: list[Artifact]


def judge(
    source: Source,
    folder: Path,
    candidates: Sequence[Candidate],
    plans: Sequence[Artifact],
    scans: ParityScans,
    threads: int | None,
    log: Callable[[str], None],
) -> Judged:
    """Build engines into a bundle's folder, and judge them and the plans that are there.

    Args:
        source: The reference.
        folder: Of the bundle; holds `MODEL_FILE` and the plans.
        candidates: What to build and judge.
        plans: Those that this machine runs are judged as well.
        scans: What the gate runs.
        threads: CPU threads; None leaves the number to the engines.
        log: Takes a line on each step.

    Raises:
        MissingPackageError: A candidate's package is not installed.
        BuildError: A candidate cannot be built, or does not run in the precision asked for.
        ParityError: Engines ran and none passed.
    """
    with ExitStack() as stack:
        contenders, not_run = _contenders(folder, candidates, plans, threads, log)
        for _, runner in contenders:
            stack.callback(runner.close)
        if not contenders:
            return Judged([], [], not_run)
        reference = _reference(source, scans, threads, log)
        passed: list[Artifact] = []
        rejected: list[Artifact] = []
        failures: list[str] = []
        runners: dict[str, Runner] = {}
        for contender, runner in contenders:
            effective = cast(Precision, runner.precision)
            parity = gate(runner, reference, scans.inputs, scans.source, effective)
            verdict = _verdict(contender.name, parity)
            log(verdict)
            artifact = contender.model_copy(
                update={"effective_precision": effective, "executed": True, "parity": parity}
            )
            if parity.passed:
                passed.append(artifact)
                runners[artifact.name] = runner
            else:
                rejected.append(artifact)
                failures.append(verdict)
        if not passed:
            raise ParityError(
                "no engine passed the parity gate: " + "; ".join(failures),
                do="choose another --precision",
            )
        runs = {n: partial(r.infer, scans.inputs[0][None]) for n, r in runners.items()}
        latencies = in_turns(runs, _ROUNDS, budget_s=_TIMING_S)
    timed = [
        a.model_copy(update={"latency_ms": round(latencies[a.name].median_ms, 3)}) for a in passed
    ]
    _drop(folder, (*timed, *not_run), rejected)
    return Judged(timed, rejected, not_run)


def _contenders(
    folder: Path,
    candidates: Sequence[Candidate],
    plans: Sequence[Artifact],
    threads: int | None,
    log: Callable[[str], None],
) -> tuple[list[tuple[Artifact, Runner]], list[Artifact]]:
    """What runs here, open, and the plans that do not."""
    files = _engine_files(folder, candidates, log)
    with ExitStack() as opened:  # closes all if one fails
        contenders: list[tuple[Artifact, Runner]] = []
        for candidate in candidates:
            runner = _open(candidate, files[candidate.backend][0], threads)
            opened.callback(runner.close)
            engine = _artifact(candidate, hashes(folder, *files[candidate.backend]), runner.batch)
            contenders.append((engine, runner))
        not_run = []
        for plan in plans:
            try:
                runner = open_plan(plan, folder / next(iter(plan.files)))
            except (BundleError, DeviceError, MissingPackageError) as error:
                log(f"{plan.name}: {NOT_EXECUTED}: {error.what}")
                not_run.append(_not_executed(plan))
                continue
            opened.callback(runner.close)
            contenders.append((plan, runner))
        opened.pop_all()
    return contenders, not_run


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


def _not_executed(plan: Artifact) -> Artifact:
    built, *others = plan.notes
    return plan.model_copy(update={"notes": (f"{built}, {NOT_EXECUTED}", *others)})


def _engine_files(
    folder: Path, here: Sequence[Candidate], log: Callable[[str], None]
) -> dict[str, tuple[Path, ...]]:
    """Backend → the files it loads; OpenVINO's precisions share theirs."""
    files: dict[str, tuple[Path, ...]] = {"onnxruntime": (folder / MODEL_FILE,)}
    if any(c.backend == "openvino" for c in here):
        log("convert to OpenVINO")
        files["openvino"] = build_openvino(folder / MODEL_FILE, folder / "openvino")
    return files


def _open(candidate: Candidate, file: Path, threads: int | None) -> Runner:
    try:
        runner: Runner
        if candidate.backend == "openvino":
            precision = cast(Literal["fp32", "bf16", "fp16"], candidate.precision)
            runner = OpenVINORunner(file, precision=precision, threads=threads)
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


def _reference(
    source: Source, scans: ParityScans, threads: int | None, log: Callable[[str], None]
) -> Outputs:
    log(f"reference: torch float32 on {scans.source}")
    runner = TorchRunner.from_checkpoint(source.checkpoint, threads=threads)
    try:
        return run(runner, scans.inputs)
    finally:
        runner.close()


def _verdict(name: str, parity: Parity) -> str:
    return (
        f"{name}: {'passed' if parity.passed else 'failed'} the parity gate "
        f"({parity.class_flips} of {parity.scans} classes flipped, "
        f"probabilities within {parity.max_probability_difference:.2g}, "
        f"logits {parity.max_logits_error:.2g}, map {parity.max_cam_error:.2g})"
    )


def _drop(folder: Path, kept_engines: Sequence[Artifact], rejected: Sequence[Artifact]) -> None:
    """Delete the files that only rejected candidates use, except the ONNX file."""
    kept = {name for artifact in kept_engines for name in artifact.files} | {MODEL_FILE}
    for name in {name for artifact in rejected for name in artifact.files} - kept:
        file = folder / name
        file.unlink()
        if not any(file.parent.iterdir()):
            file.parent.rmdir()
