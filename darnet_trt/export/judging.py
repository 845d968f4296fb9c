"""Engines that run on this machine: built, put through the parity gate, timed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Literal, cast

from darnet_trt.errors import BuildError, BundleError, ParityError
from darnet_trt.export.bundle_writer import hashes
from darnet_trt.export.onnx_export import Source
from darnet_trt.export.openvino_builder import build_openvino
from darnet_trt.export.packages import producer
from darnet_trt.export.parity import gate, run
from darnet_trt.export.parity_scans import ParityScans
from darnet_trt.export.reference import TorchRunner
from darnet_trt.export.targets import Candidate
from darnet_trt.export.timing import median_ms
from darnet_trt.runtime.manifest import MODEL_FILE, Artifact, Parity, Precision
from darnet_trt.runtime.onnxruntime import OnnxRuntimeRunner
from darnet_trt.runtime.openvino import OpenVINORunner
from darnet_trt.runtime.runner import Outputs, Runner

__all__ = ["judge"]


def judge(
    source: Source,
    folder: Path,
    candidates: Sequence[Candidate],
    scans: ParityScans,
    threads: int | None,
    log: Callable[[str], None],
) -> tuple[list[Artifact], list[Artifact]]:
    """Build engines into a bundle's folder, which holds `MODEL_FILE` already, and judge them.

    Returns:
        Those that passed the gate, timed in alternation; and those that failed it, whose files
        are deleted where no other needs them.

    Raises:
        MissingPackageError: A candidate's package is not installed.
        BuildError: A candidate cannot be built, or does not run in the precision asked for.
        ParityError: None passed.
    """
    if not candidates:
        return [], []
    files = _engine_files(folder, candidates, log)
    reference = _reference(source, scans, threads, log)
    passed: list[Artifact] = []
    rejected: list[Artifact] = []
    failures: list[str] = []
    with ExitStack() as stack:
        runners: dict[str, Runner] = {}
        for candidate in candidates:
            runner = _open(candidate, files[candidate.backend][0], threads)
            stack.callback(runner.close)
            effective = cast(Precision, runner.precision)
            parity = gate(runner, reference, scans.inputs, scans.source, effective)
            verdict = _verdict(candidate, parity)
            log(verdict)
            artifact = Artifact(
                name=candidate.name,
                files=hashes(folder, *files[candidate.backend]),
                backend=candidate.backend,
                precision=candidate.precision,
                effective_precision=effective,
                target=candidate.target,
                batch=runner.batch,
                producer=producer(candidate.backend, "onnx"),
                executed=True,
                parity=parity,
                latency_ms=None,
            )
            if parity.passed:
                passed.append(artifact)
                runners[candidate.name] = runner
            else:
                rejected.append(artifact)
                failures.append(verdict)
        if not passed:
            raise ParityError(
                "no engine passed the parity gate: " + "; ".join(failures),
                do="choose another --precision",
            )
        latency_ms = median_ms(runners, scans.inputs[0])
    timed = [a.model_copy(update={"latency_ms": latency_ms[a.name]}) for a in passed]
    _drop(folder, timed, rejected)
    return timed, rejected


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
            runner = OnnxRuntimeRunner(file, threads=threads)
    except BundleError as error:
        raise BuildError(error.what, where=candidate.name) from error
    if runner.precision != candidate.precision:
        ran = runner.precision
        runner.close()
        raise BuildError(
            f"asked for {candidate.precision}, it runs in {ran} on this CPU",
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


def _verdict(candidate: Candidate, parity: Parity) -> str:
    return (
        f"{candidate.name}: {'passed' if parity.passed else 'failed'} the parity gate "
        f"({parity.class_flips} of {parity.scans} classes flipped, "
        f"probabilities within {parity.max_probability_difference:.2g}, "
        f"logits {parity.max_logits_error:.2g}, map {parity.max_cam_error:.2g})"
    )


def _drop(folder: Path, passed: Sequence[Artifact], rejected: Sequence[Artifact]) -> None:
    """Delete the files that only rejected candidates use, except the ONNX file."""
    kept = {name for artifact in passed for name in artifact.files} | {MODEL_FILE}
    for name in {name for artifact in rejected for name in artifact.files} - kept:
        (folder / name).unlink()
    if (folder / "openvino").is_dir() and not any((folder / "openvino").iterdir()):
        (folder / "openvino").rmdir()
