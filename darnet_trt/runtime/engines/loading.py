"""Load one of a bundle's engines, or a replacement for it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from darnet_trt.bundle.manifest import Artifact
from darnet_trt.bundle.reading import REBUILD, Bundle, listed, pick_artifact, verified_file
from darnet_trt.bundle.trust import doubt
from darnet_trt.errors import BundleError, DeviceError, Finding, MissingPackageError
from darnet_trt.machine.hardware import sums_of_int8_overflow
from darnet_trt.runtime.engines.onnxruntime.runner import OnnxRuntimeRunner
from darnet_trt.runtime.engines.openvino.package import cpu_precisions
from darnet_trt.runtime.engines.openvino.runner import OpenVINORunner
from darnet_trt.runtime.engines.runner import Runner
from darnet_trt.runtime.engines.tensorrt.runner import TensorRTRunner, open_plan


@dataclass(frozen=True, eq=False)
class Engine:
    """A loaded engine of a bundle.

    Attributes:
        artifact: Its entry in the manifest.
        runner: Its runner.
        warnings: Why it is not the bundle's default, is slow, or was not approved.
    """

    artifact: Artifact
    runner: Runner
    warnings: tuple[Finding, ...] = ()


def load_engine(
    bundle: Bundle, artifact: str | None = None, *, threads: int | None = None
) -> Engine:
    """Verify and load the engine to classify with.

    The bundle's default may not fit this machine. It may need another GPU, or a precision that
    this CPU lacks: OpenVINO replaces or emulates bfloat16 (three times slower than float32), and
    without VNNI sums of int8 products overflow. Then an engine that passed the parity gate replaces
    it, with a warning: for a default on a GPU the fastest that runs here, else one in float32,
    which every CPU has.

    An engine that the user named is never replaced. An engine that was not approved (see
    `bundle.trust`) never replaces another; if the user names it, it runs with a warning.

    Args:
        bundle: From `open_bundle`.
        artifact: The engine's name; None: the bundle's default.
        threads: CPU threads; None: the engine chooses.

    Raises:
        UsageError: There is no such artifact.
        BundleError: A file was altered, the engine does not fit the manifest, this machine
            cannot run it, or would run it in a precision that the parity gate did not check.
        DeviceError: It needs a GPU that is absent or failed.
        MissingPackageError: The engine's package is not installed.
    """
    chosen = pick_artifact(bundle, artifact)
    if artifact is not None:
        return _exactly(bundle, chosen, threads)
    _verify(bundle, chosen)  # never replace an altered engine: report it
    try:
        runner = _load(bundle, chosen, threads)
    except (BundleError, DeviceError, MissingPackageError) as error:
        if chosen.target == "cpu":
            raise
        found = _stand_in_for_gpu(bundle, chosen, threads)
        if found is None:
            raise
        return _instead(found, chosen, error.what)
    remark = _remark(chosen, runner)
    if remark is not None and (able := _in_float32(bundle, chosen)):
        runner.close()
        return _instead(_exactly(bundle, able[0], threads), chosen, remark)
    return _anyway(bundle, chosen, runner, remark)


def _verify(bundle: Bundle, artifact: Artifact) -> None:
    for file in artifact.files:
        verified_file(bundle, file)


def _exactly(bundle: Bundle, artifact: Artifact, threads: int | None) -> Engine:
    """Load an engine without a replacement."""
    _verify(bundle, artifact)
    runner = _load(bundle, artifact, threads)
    return _anyway(bundle, artifact, runner, _remark(artifact, runner))


def _anyway(bundle: Bundle, artifact: Artifact, runner: Runner, remark: Finding | None) -> Engine:
    """Return the engine; refuse it in a precision that the gate did not check.

    It warns of the remark, and why the engine was not approved, if so.
    """
    gated = artifact.effective_precision
    if gated is None or runner.precision == gated:
        found = filter(None, (remark, doubt(artifact)))
        said = (Finding(f.code, f"engine {artifact.name}: {f}") for f in found)
        return Engine(artifact, runner, tuple(said))
    runner.close()
    others = [
        a.name for a in bundle.manifest.artifacts if a != artifact and a.target == artifact.target
    ]
    raise BundleError(
        f"the artifact {artifact.name!r} was checked in {gated} but this machine runs it in "
        f"{runner.precision}",
        where=bundle.path,
        do=f"choose another with --artifact: {listed(others)}",
    )


def _remark(artifact: Artifact, runner: Runner) -> Finding | None:
    """Return what is wrong with the engine on this machine."""
    if artifact.effective_precision is None:
        return Finding(
            "engine-not-compared",
            "it was never compared with the reference; to do so, run darnet-trt build on this "
            "machine",
        )
    if runner.precision != artifact.effective_precision:
        return Finding(
            "precision-not-checked",
            f"this CPU runs it in {runner.precision}, which was not checked",
        )
    if artifact.target == "cpu" and runner.precision == "int8":
        if sums_of_int8_overflow():
            return Finding(
                "int8-overflow", "this CPU has no VNNI: sums of int8 products may overflow"
            )
        return None
    # bfloat16 on AVX-512 without BF16 took 2.1 s, float32 0.7 s (quarter-size network).
    if artifact.backend == "openvino" and runner.precision not in cpu_precisions():
        return Finding(
            "precision-emulated", f"this CPU emulates {runner.precision}, slower than fp32"
        )
    return None


def _stand_in_for_gpu(bundle: Bundle, chosen: Artifact, threads: int | None) -> Engine | None:
    """Load the fastest other engine for a GPU that passed the gate, else one for the CPU."""
    on_gpu = [a for a in _gated(bundle, chosen) if a.target != "cpu"]
    on_gpu.sort(key=lambda a: a.latency_ms or 0.0)
    for artifact in (*on_gpu, *_in_float32(bundle, chosen)):
        _verify(bundle, artifact)
        try:
            return _exactly(bundle, artifact, threads)
        except (BundleError, DeviceError, MissingPackageError):
            continue
    return None


def _in_float32(bundle: Bundle, chosen: Artifact) -> list[Artifact]:
    """Return others for the CPU that passed the gate in float32, of the same backend first."""
    able = [
        a for a in _gated(bundle, chosen) if a.target == "cpu" and a.effective_precision == "fp32"
    ]
    return sorted(able, key=lambda a: a.backend != chosen.backend)


def _gated(bundle: Bundle, chosen: Artifact) -> list[Artifact]:
    return [
        a
        for a in bundle.manifest.artifacts
        if a != chosen and a.parity is not None and a.parity.passed and doubt(a) is None
    ]


def _instead(engine: Engine, default: Artifact, remark: str) -> Engine:
    warning = Finding(
        "engine-stand-in",
        f"engine {engine.artifact.name} instead of the default {default.name}: {remark}",
    )
    return Engine(engine.artifact, engine.runner, (warning, *engine.warnings))


def _load(bundle: Bundle, artifact: Artifact, threads: int | None) -> Runner:
    """Load an engine in whatever precision it runs, and check that it fits the manifest."""
    file = bundle.path / next(iter(artifact.files))
    runner: OpenVINORunner | OnnxRuntimeRunner | TensorRTRunner
    if artifact.backend == "openvino":
        runner = OpenVINORunner(file, precision=artifact.precision, threads=threads)
    elif artifact.backend == "onnxruntime":
        device: Literal["cpu", "cuda"] = "cuda" if artifact.target == "cuda" else "cpu"
        runner = OnnxRuntimeRunner(file, device=device, threads=threads)
    else:
        runner = _plan(bundle, artifact, file)
    expected, named = bundle.manifest.preprocessing.size, len(bundle.manifest.classes)
    if runner.input_size != expected:
        found, needed = ("×".join(map(str, size)) for size in (runner.input_size, expected))
        misfit = f"takes {found} voxels, but the manifest's preprocessing makes {needed}"
    elif runner.classes != named:
        misfit = f"gives {runner.classes} logits, but the manifest names {named} classes"
    else:
        return runner
    runner.close()
    raise BundleError(f"the artifact {artifact.name!r} {misfit}", where=bundle.path, do=REBUILD)


def _plan(bundle: Bundle, artifact: Artifact, file: Path) -> TensorRTRunner:
    try:
        return open_plan(artifact, file)
    except (BundleError, DeviceError) as error:
        here = [a.name for a in bundle.manifest.artifacts if a.target == "cpu"]
        remedies = [error.do, f"choose another with --artifact: {listed(here)}"]
        remedy = ", or ".join(filter(None, remedies))
        raise type(error)(error.what, where=bundle.path, do=remedy) from error
