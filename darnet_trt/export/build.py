"""Run → bundle: export, build every candidate, let those in that pass the parity gate."""

from __future__ import annotations

import datetime
import platform
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, Literal, cast

from darnet_trt import __version__
from darnet_trt.errors import BuildError, BundleError, ParityError
from darnet_trt.export.bundle_writer import bundle_folder, sha256_of, write_manifest
from darnet_trt.export.onnx_export import Source, export_onnx
from darnet_trt.export.openvino_builder import build_openvino
from darnet_trt.export.parity import gate, run
from darnet_trt.export.parity_scans import ParityScans
from darnet_trt.export.reference import TorchRunner
from darnet_trt.export.targets import Candidate
from darnet_trt.export.tensorrt_builder import build_tensorrt
from darnet_trt.export.tensorrt_compat import PACKAGES, TensorRTBackend
from darnet_trt.export.timing import median_ms
from darnet_trt.runtime.environment import cpu, package_version
from darnet_trt.runtime.manifest import Artifact, Manifest, ModelCard, Precision
from darnet_trt.runtime.onnxruntime import OnnxRuntimeRunner
from darnet_trt.runtime.openvino import OpenVINORunner
from darnet_trt.runtime.runner import Outputs, Runner

__all__ = ["MODEL", "build_bundle"]

MODEL: Final = "model.onnx"
_NOT_EXECUTED: Final = "not executed here"
_ONNX_CANDIDATE: Final = Candidate("onnxruntime", "fp32")

Log = Callable[[str], None]


def build_bundle(
    source: Source,
    out: Path,
    candidates: Sequence[Candidate],
    scans: ParityScans,
    *,
    threads: int | None = None,
    force: bool = False,
    log: Log = lambda _: None,
) -> Manifest:
    """Build a bundle folder.

    Candidates that this machine runs go through the parity gate and are timed in alternation;
    the fastest that passed becomes the default. One that failed is listed as rejected, its files
    left out. TensorRT plans are built and marked as not executed.

    Args:
        source: The checkpoint.
        out: The folder to make, whole or not at all.
        candidates: What to build.
        scans: What the gate runs.
        threads: CPU threads of the reference and the engines; None leaves it to each.
        force: Replace an existing bundle.
        log: Takes a line on each step.

    Returns:
        The manifest as written.

    Raises:
        UsageError: `out` exists.
        MissingPackageError: A candidate's package is not installed.
        BuildError: A candidate cannot be built, or does not run in the precision asked for.
        ParityError: Candidates ran here and none passed; nothing is written.
        OutputError: It cannot be written.
    """
    with bundle_folder(out, force=force) as folder:
        log("export the network to ONNX")
        export_onnx(source, folder / MODEL)
        plans = _plans(source, folder, [c for c in candidates if c.backend in PACKAGES], log)
        here = [c for c in candidates if c.backend not in PACKAGES]
        files = _engine_files(folder, here, log)
        judged = _judge(source, folder, here, files, scans, threads, log)
        passed = [a for a in judged if a.parity is not None and a.parity.passed]
        rejected = [a for a in judged if a not in passed]
        if rejected and not passed:
            raise ParityError(
                "no engine passed the parity gate: " + "; ".join(map(_verdict, rejected)),
                do="choose another --precision",
            )
        _drop(folder, passed, rejected)
        if _ONNX_CANDIDATE not in here:
            passed.append(_unchecked_model(folder))
        timed = [a for a in passed if a.latency_ms is not None]
        manifest = Manifest(
            toolkit=f"darnet-trt {__version__}",
            created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            intended_use="Research software: not a medical device. The weights know what "
            "model.trained_on says, no more.",
            model=_card(source),
            classes=source.checkpoint.network.classes,
            preprocessing=source.checkpoint.preprocessing,
            artifacts=(*passed, *plans),
            rejected=tuple(rejected),
            default=min(timed, key=lambda a: a.latency_ms or 0.0).name if timed else None,
            built_on={
                "cpu": asdict(cpu()),
                "system": f"{platform.system()} {platform.machine()}",
                "python": platform.python_version(),
                "reference": f"torch {package_version('torch')}, eager, fp32",
                "threads": threads,
            },
        )
        write_manifest(folder, manifest)
    return manifest


def _card(source: Source) -> ModelCard:
    checkpoint = source.checkpoint
    return ModelCard(
        attention=checkpoint.network.attention,
        width=checkpoint.network.width,
        parameters=sum(p.numel() for p in checkpoint.model().parameters()),
        checkpoint_sha256=source.sha256,
        trained_on=checkpoint.trained_on,
        validation=checkpoint.validation,
    )


def _hashed(folder: Path, *files: Path) -> dict[str, str]:
    return {file.relative_to(folder).as_posix(): sha256_of(file) for file in files}


def _producer(*packages: str) -> dict[str, str]:
    return {package: package_version(package) or "unknown" for package in packages}


def _plans(
    source: Source, folder: Path, candidates: Sequence[Candidate], log: Log
) -> list[Artifact]:
    """Build TensorRT plans; this version does not run them."""
    if not candidates:
        return []
    artifacts = []
    with TemporaryDirectory(dir=folder) as work:
        graphs = {"fp32": folder / MODEL, "fp16": Path(work) / MODEL}
        if any(c.precision == "fp16" for c in candidates):
            export_onnx(source, graphs["fp16"], "fp16")
        for candidate in candidates:
            backend = cast(TensorRTBackend, candidate.backend)
            plan = folder / backend / f"{candidate.target}-{candidate.precision}.plan"
            plan.parent.mkdir(exist_ok=True)
            result = build_tensorrt(backend, graphs[candidate.precision], plan, candidate.target)
            log(f"{candidate.name}: built in {result.seconds:.1f} s, {_NOT_EXECUTED}")
            artifacts.append(
                Artifact(
                    name=candidate.name,
                    files=_hashed(folder, plan),
                    backend=backend,
                    precision=candidate.precision,
                    effective_precision=None,
                    target=candidate.target,
                    batch=(1, 1),
                    producer={PACKAGES[backend][0]: result.version},
                    executed=False,
                    parity=None,
                    latency_ms=None,
                    notes=(f"built in {result.seconds:.1f} s, {_NOT_EXECUTED}",),
                )
            )
    return artifacts


def _engine_files(folder: Path, here: Sequence[Candidate], log: Log) -> dict[str, tuple[Path, ...]]:
    """Backend → the files it loads; OpenVINO's precisions share theirs."""
    files: dict[str, tuple[Path, ...]] = {"onnxruntime": (folder / MODEL,)}
    if any(c.backend == "openvino" for c in here):
        log("convert to OpenVINO")
        files["openvino"] = build_openvino(folder / MODEL, folder / "openvino")
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


def _judge(
    source: Source,
    folder: Path,
    here: Sequence[Candidate],
    files: dict[str, tuple[Path, ...]],
    scans: ParityScans,
    threads: int | None,
    log: Log,
) -> list[Artifact]:
    """Run what runs here through the gate, then time what passed."""
    if not here:
        return []
    reference = _reference(source, scans, threads, log)
    judged: list[Artifact] = []
    with ExitStack() as stack:
        passed: dict[str, Runner] = {}
        for candidate in here:
            runner = _open(candidate, files[candidate.backend][0], threads)
            stack.callback(runner.close)
            effective = cast(Precision, runner.precision)
            parity = gate(runner, reference, scans.inputs, scans.source, effective)
            artifact = Artifact(
                name=candidate.name,
                files=_hashed(folder, *files[candidate.backend]),
                backend=candidate.backend,
                precision=candidate.precision,
                effective_precision=effective,
                target=candidate.target,
                batch=runner.batch,
                producer=_producer(candidate.backend, "onnx"),
                executed=True,
                parity=parity,
                latency_ms=None,
            )
            log(_verdict(artifact))
            judged.append(artifact)
            if parity.passed:
                passed[candidate.name] = runner
        latency = median_ms(passed, scans.inputs[0])
    return [a.model_copy(update={"latency_ms": latency.get(a.name)}) for a in judged]


def _reference(source: Source, scans: ParityScans, threads: int | None, log: Log) -> Outputs:
    log(f"reference: torch float32 on {scans.source}")
    runner = TorchRunner.from_checkpoint(source.checkpoint, threads=threads)
    try:
        return run(runner, scans.inputs)
    finally:
        runner.close()


def _verdict(artifact: Artifact) -> str:
    parity = artifact.parity
    if parity is None:
        return f"{artifact.name}: {_NOT_EXECUTED}"
    return (
        f"{artifact.name}: {'passed' if parity.passed else 'failed'} the parity gate "
        f"({parity.class_flips} of {parity.scans} classes flipped, "
        f"probabilities within {parity.max_probability_difference:.2g}, "
        f"logits {parity.max_logits_error:.2g}, map {parity.max_cam_error or 0:.2g})"
    )


def _drop(folder: Path, passed: Sequence[Artifact], rejected: Sequence[Artifact]) -> None:
    """Delete the files that only rejected candidates use, except the ONNX file."""
    kept = {name for artifact in passed for name in artifact.files} | {MODEL}
    for name in {name for artifact in rejected for name in artifact.files} - kept:
        (folder / name).unlink()
    if (folder / "openvino").is_dir() and not any((folder / "openvino").iterdir()):
        (folder / "openvino").rmdir()


def _unchecked_model(folder: Path) -> Artifact:
    """The ONNX file is in every bundle: other engines are rebuilt from it."""
    return Artifact(
        name=_ONNX_CANDIDATE.name,
        files=_hashed(folder, folder / MODEL),
        backend="onnxruntime",
        precision="fp32",
        effective_precision=None,
        target="cpu",
        batch=OnnxRuntimeRunner.batch,
        producer=_producer("onnx"),
        executed=False,
        parity=None,
        latency_ms=None,
        notes=(f"{_NOT_EXECUTED}: not a target",),
    )
