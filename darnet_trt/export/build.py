"""Run → bundle: export, build every candidate, let those in that pass the gates."""

from __future__ import annotations

import datetime
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Final

import onnx

from darnet_trt import __version__
from darnet_trt.bundle.manifest import INT8_FILE, MODEL_FILE, Artifact, Manifest, ModelCard
from darnet_trt.bundle.writing import bundle_folder, hashes, write_manifest
from darnet_trt.calibration.activations.histogram import Statistics
from darnet_trt.calibration.qdq import Form
from darnet_trt.calibration.scans.choosing import CalibrationScans, HeldOut
from darnet_trt.calibration.search.search import Int8, Search, calibrate, gather, trial_backend
from darnet_trt.export.gates.contenders import NOT_EXECUTED
from darnet_trt.export.gates.decision_gate import DecisionGate
from darnet_trt.export.gates.default_engine import choose_default
from darnet_trt.export.gates.float16_range import range_for
from darnet_trt.export.gates.judging import judge
from darnet_trt.export.gates.parity_scans import ParityScans
from darnet_trt.export.onnx.writing import Source, export_onnx
from darnet_trt.export.targets import Candidate
from darnet_trt.export.tensorrt.options import PlanOptions
from darnet_trt.export.tensorrt.plans import build_plans
from darnet_trt.export.tensorrt.plugin_choice import PluginMode
from darnet_trt.machine.hardware import cpu, gpus, package_version, producer
from darnet_trt.runtime.engines.onnxruntime.runner import OnnxRuntimeRunner
from darnet_trt.runtime.engines.tensorrt.package import PACKAGES
from darnet_trt.runtime.prediction.results import INTENDED_USE

__all__ = ["Calibration", "build_bundle"]

_DEFAULTS: Final = PlanOptions()
_ONNX_CANDIDATE: Final = Candidate("onnxruntime", "fp32")


def build_bundle(
    source: Source,
    out: Path,
    candidates: Sequence[Candidate],
    scans: ParityScans,
    *,
    plan_options: PlanOptions = _DEFAULTS,
    plugin: PluginMode = "auto",
    calibration: Calibration | None = None,
    threads: int | None = None,
    force: bool = False,
    log: Callable[[str], None] = lambda _: None,
) -> Manifest:
    """Build a bundle folder.

    Candidates that this machine runs go through the gates and are timed in alternation;
    `choose_default` says which becomes the default. One that failed is listed as rejected, its
    files left out. TensorRT plans that this machine does not run are marked as not executed; of
    int8 ones the graph runs in their place, and where it changes decisions they are rejected
    unbuilt.

    Args:
        source: The checkpoint.
        out: The folder to make, whole or not at all.
        candidates: What to build.
        scans: What the gate runs.
        plan_options: For TensorRT plans.
        plugin: Whether TensorRT plans run the attention as a plugin; see `choose_plugin`.
        calibration: What int8 candidates are made and judged with; there where one is.
        threads: CPU threads of the reference and the engines; None leaves it to each.
        force: Replace an existing bundle.
        log: Takes a line on each step.

    Returns:
        The manifest as written.

    Raises:
        UsageError: `out` exists.
        MissingPackageError: A candidate's package is not installed.
        BuildError: A candidate cannot be built, or does not run in the precision asked for, or is
            for a GPU that has no float32 for what float16 does not hold.
        ParityError: Candidates ran here and none passed; nothing is written.
        OutputError: It cannot be written.
    """
    with bundle_folder(out, force=force) as folder:
        log("export the network to ONNX")
        export_onnx(source, folder / MODEL_FILE)
        wanted = [c for c in candidates if c.backend in PACKAGES]
        here = [c for c in candidates if c.backend not in PACKAGES]
        found = _statistics(folder, candidates, calibration, threads, log)
        seen = {name: statistics.magnitude for name, statistics in found.items()}
        half = range_for(wanted, folder / MODEL_FILE, scans, seen, threads, log)
        int8 = _int8(folder, candidates, calibration, found, threads, log)
        accept = None if calibration is None else calibration.accept
        plans = build_plans(
            source, folder, wanted, plan_options, plugin, int8.get("s8"), half, accept, log
        )
        gate = None
        if int8 and calibration is not None:
            first = next(iter(int8.values()))
            gate = DecisionGate(calibration.held_out, first.expected, first.report, accept, log)
        judged = judge(source, folder, here, plans.built, scans, gate, threads, log)
        _drop_int8_graph(folder, judged.passed)
        asked_for = calibration is not None and calibration.asked_for
        default, timed = _chosen(judged.passed, asked_for, log)
        unchecked = [] if _ONNX_CANDIDATE in here else [_unchecked_model(folder)]
        manifest = Manifest(
            toolkit=f"darnet-trt {__version__}",
            created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            intended_use=INTENDED_USE,
            model=_card(source),
            classes=source.checkpoint.network.classes,
            preprocessing=source.checkpoint.preprocessing,
            artifacts=(*timed, *unchecked, *judged.not_run),
            rejected=(*plans.rejected, *judged.rejected),
            default=default,
            built_on={
                "cpu": asdict(cpu()),
                "gpus": [asdict(gpu) for gpu in gpus()],
                "system": f"{platform.system()} {platform.machine()}",
                "python": platform.python_version(),
                "reference": f"torch {package_version('torch')}, eager, fp32",
                "threads": threads,
            },
        )
        write_manifest(folder, manifest)
    return manifest


@dataclass(frozen=True, eq=False)
class Calibration:
    """What int8 engines are made and judged with.

    Attributes:
        scans: Whose activations give the ranges.
        held_out: Others, on which decisions are judged.
        search: How ranges and layers are chosen; its backend and threads are the build's.
        accept: Who takes an int8 engine that fails a gate, and why.
        asked_for: int8 was named, and not only taken because there are scans; `choose_default`.
    """

    scans: CalibrationScans
    held_out: HeldOut
    search: Search = field(default_factory=Search)
    accept: str | None = None
    asked_for: bool = False


def _statistics(
    folder: Path,
    candidates: Sequence[Candidate],
    calibration: Calibration | None,
    threads: int | None,
    log: Callable[[str], None],
) -> dict[str, Statistics]:
    """Of the calibration scans; none where no candidate is int8."""
    if calibration is None or all(c.precision != "int8" for c in candidates):
        return {}
    return gather(onnx.load(folder / MODEL_FILE), calibration.scans, threads, log)


def _int8(
    folder: Path,
    candidates: Sequence[Candidate],
    calibration: Calibration | None,
    found: Mapping[str, Statistics],
    threads: int | None,
    log: Callable[[str], None],
) -> dict[Form, Int8]:
    """Calibrated in the forms that are wanted, the CPU's first; its graph is written."""
    wanted = {c.backend in PACKAGES for c in candidates if c.precision == "int8"}
    if not wanted or calibration is None:
        return {}
    search = replace(calibration.search, backend=trial_backend(), threads=threads)
    model = onnx.load(folder / MODEL_FILE)
    forms: list[Form] = []
    if False in wanted:
        forms.append("u8")
    if True in wanted:
        forms.append("s8")
    int8 = calibrate(model, found, forms, calibration.scans, calibration.held_out, search, log)
    if "u8" in int8:
        onnx.save(int8["u8"].graph(model, "u8"), folder / INT8_FILE)
    return int8


def _drop_int8_graph(folder: Path, kept: Sequence[Artifact]) -> None:
    """OpenVINO has its own form of it."""
    if not any(INT8_FILE in artifact.files for artifact in kept):
        (folder / INT8_FILE).unlink(missing_ok=True)


def _chosen(
    timed: Sequence[Artifact], int8_asked_for: bool, log: Callable[[str], None]
) -> tuple[str | None, tuple[Artifact, ...]]:
    """The default's name, and the engines with a note on why another is not it."""
    choice = choose_default(timed, int8_asked_for=int8_asked_for)
    noted = []
    for engine in timed:
        why = choice.passed_over.get(engine.name)
        if why is not None:
            why = f"not the default: {why}"
            log(f"{engine.name}: {why}")
            engine = engine.model_copy(update={"notes": (*engine.notes, why)})
        noted.append(engine)
    return choice.name, tuple(noted)


def _card(source: Source) -> ModelCard:
    checkpoint = source.checkpoint
    return ModelCard(
        attention=checkpoint.network.attention,
        width=checkpoint.network.width,
        parameters=sum(p.numel() for p in checkpoint.model().parameters()),
        checkpoint_sha256=source.sha256,
        trained_on=checkpoint.trained_on,
        validation=checkpoint.validation,
        phantoms_only=checkpoint.phantoms_only,
        coarsest_pixel_mm=checkpoint.coarsest_pixel_mm,
    )


def _unchecked_model(folder: Path) -> Artifact:
    """The ONNX file is in every bundle: other engines are rebuilt from it."""
    return Artifact(
        name=_ONNX_CANDIDATE.name,
        files=hashes(folder, folder / MODEL_FILE),
        backend="onnxruntime",
        precision="fp32",
        effective_precision=None,
        target="cpu",
        batch=OnnxRuntimeRunner.batch,
        producer=producer("onnx"),
        executed=False,
        parity=None,
        latency_ms=None,
        notes=(f"{NOT_EXECUTED}: not a target",),
    )
