"""Build a bundle: export, build every candidate, keep the engines that pass the gates."""

from __future__ import annotations

import datetime
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Final

import numpy as np

from darnet_trt import __version__
from darnet_trt.bundle.class_code import ClassCode
from darnet_trt.bundle.manifest import (
    FP16_FILE,
    INT8_FILE,
    MODEL_FILE,
    TRAINING_SCANS_FILE,
    Artifact,
    Manifest,
    ModelCard,
    Reference,
    StoredFile,
)
from darnet_trt.bundle.reading import sha256_of
from darnet_trt.bundle.reference import ReferenceOutputs, write_reference
from darnet_trt.bundle.trust import CANNOT_FLAG
from darnet_trt.bundle.writing import bundle_folder, hashes, write_manifest
from darnet_trt.calibration.activations.histogram import Statistics
from darnet_trt.calibration.qdq import Form
from darnet_trt.calibration.search.search import Int8, calibrate, gather, trial_backend
from darnet_trt.export.context import BuildContext, Calibration
from darnet_trt.export.gates.contenders import NOT_EXECUTED
from darnet_trt.export.gates.decision_gate import DecisionGate
from darnet_trt.export.gates.default_engine import choose_default
from darnet_trt.export.gates.float16_range import range_for
from darnet_trt.export.gates.judging import judge, run_reference
from darnet_trt.export.gates.parity_scans import ParityScans, synthetic_scans
from darnet_trt.export.onnx.writing import Source, write_graph
from darnet_trt.export.targets import Candidate
from darnet_trt.export.tensorrt.options import PlanOptions
from darnet_trt.export.tensorrt.plans import build_plans
from darnet_trt.export.tensorrt.plugin_choice import PluginMode
from darnet_trt.kernels.onnx_inline import inlined
from darnet_trt.machine.hardware import cpu, gpus, package_version, producer
from darnet_trt.runtime.engines.onnxruntime.runner import OnnxRuntimeRunner
from darnet_trt.runtime.engines.runner import Outputs
from darnet_trt.runtime.engines.tensorrt.package import PACKAGES
from darnet_trt.runtime.prediction.results.result import INTENDED_USE

_DEFAULTS: Final = PlanOptions()
_NO_CODES: Final[Mapping[str, ClassCode]] = {}
_STORED_SCANS: Final = 3  # 12 MB at the paper's size
_FAMILIARITY_FILE: Final = "familiarity.npz"
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
    class_codes: Mapping[str, ClassCode] = _NO_CODES,
    threads: int | None = None,
    force: bool = False,
    log: Callable[[str], None] = lambda _: None,
) -> Manifest:
    """Build a bundle folder.

    Candidates that this machine can run go through the gates and are timed in alternation;
    `choose_default` picks the default. One that fails is listed as rejected and its files are left
    out. TensorRT plans that this machine cannot run are marked as not executed. In place of an
    int8 plan the same graph runs on the CPU; if that changes decisions, the plan is rejected and
    not built.

    Args:
        source: The checkpoint.
        out: The folder to make, whole or not at all.
        candidates: The engines to build.
        scans: Inputs for the parity gate.
        plan_options: For TensorRT plans.
        plugin: Whether TensorRT plans run the attention as a plugin; see `choose_plugin`.
        calibration: Scans and options for int8 candidates; required if there is one.
        class_codes: Codes of classes in DICOM objects, in place of the toolkit's own.
        threads: CPU threads of the reference and the engines; None leaves the number to each.
        force: Replace an existing bundle.
        log: Takes a line on each step.

    Returns:
        The manifest as written.

    Raises:
        UsageError: `out` exists.
        MissingPackageError: A candidate's package is not installed.
        BuildError: A candidate cannot be built, or does not run in the precision asked for, or
            needs float32 where float16 overflows and its GPU has none.
        ParityError: Candidates ran here and none passed; nothing is written.
        OutputError: It cannot be written.
    """
    if all(candidate.precision != "int8" for candidate in candidates):
        calibration = None
    with bundle_folder(out, force=force) as folder:
        context = BuildContext(
            source, folder, scans, plan_options, plugin, calibration, threads, log
        )
        log("exporting the network to ONNX")
        write_graph(source.standard, folder / MODEL_FILE)
        found: dict[str, Statistics] = {}
        if calibration is not None:
            found = gather(source.float32, calibration.scans, threads, log)
        seen = {name: statistics.magnitude for name, statistics in found.items()}
        plan_candidates = [c for c in candidates if c.backend in PACKAGES]
        in_half = [c for c in candidates if (c.backend, c.precision) == ("onnxruntime", "fp16")]
        half = range_for([*plan_candidates, *in_half], context, seen)
        int8: dict[Form, Int8] = {}
        decisions = None
        if calibration is not None:
            int8 = _int8(context, calibration, candidates, found)
            decisions = DecisionGate(calibration, next(iter(int8.values())), log)
        plans, refused = build_plans(context, plan_candidates, int8.get("s8"), half)
        graphs = {MODEL_FILE: source.standard}
        if half is not None and in_half:
            graphs[FP16_FILE] = inlined(source.graph("fp16", half.in_float32))
        if "u8" in int8:
            graphs[INT8_FILE] = inlined(int8["u8"].graph(source.float32, "u8"))
        here = [c for c in candidates if c.backend not in PACKAGES]
        judged = judge(context, here, graphs, plans, decisions)
        asked_for = calibration is not None and calibration.asked_for
        passed, rejected = (
            [half.noted(a) if half is not None and FP16_FILE in a.files else a for a in engines]
            for engines in (judged.passed, judged.rejected)
        )
        default, timed = _chosen(passed, asked_for)
        unchecked = [] if _ONNX_CANDIDATE in here else [_unchecked_model(folder)]
        manifest = Manifest(
            toolkit=f"darnet-trt {__version__}",
            created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            intended_use=INTENDED_USE,
            model=_card(source),
            classes=source.checkpoint.network.classes,
            class_codes=dict(class_codes),
            preprocessing=source.checkpoint.preprocessing,
            artifacts=(*timed, *unchecked, *judged.not_run),
            rejected=(*refused, *rejected),
            reference=_stored_reference(context, judged.reference),
            familiarity=_stored_familiarity(context),
            training_scans=_stored_training_scans(context),
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


def _int8(
    context: BuildContext,
    calibration: Calibration,
    candidates: Sequence[Candidate],
    found: Mapping[str, Statistics],
) -> dict[Form, Int8]:
    """Calibrate in the forms that are wanted, the CPU's first."""
    search = replace(calibration.search, backend=trial_backend(), threads=context.threads)
    in_plans = {c.backend in PACKAGES for c in candidates if c.precision == "int8"}
    forms: list[Form] = ["s8" if plans else "u8" for plans in sorted(in_plans)]
    scans, held_out = calibration.scans, calibration.held_out
    return calibrate(context.source.float32, found, forms, scans, held_out, search, context.log)


def _stored_reference(context: BuildContext, outputs: Outputs | None) -> Reference:
    """Store synthetic inputs with the reference's outputs for `darnet-trt bundle check`."""
    scans = context.scans
    if not scans.synthetic:
        scans = synthetic_scans(context.source.checkpoint.preprocessing, _STORED_SCANS)
        outputs = None
    inputs = scans.inputs[:_STORED_SCANS]
    n, source = len(inputs), f"{len(inputs)} synthetic phantoms"
    if outputs is None:
        outputs = run_reference(context, inputs, source)
    first = outputs.part(slice(n))
    kept = ReferenceOutputs(np.stack(inputs), first.logits, first.cam, first.features)
    return write_reference(context.folder, kept, source)


def _stored_training_scans(context: BuildContext) -> StoredFile | None:
    """Store which scans trained the weights, so that they never measure an engine."""
    scans = context.source.checkpoint.training_scans
    if scans is None:
        return None
    file = context.folder / TRAINING_SCANS_FILE
    np.savez_compressed(file, **scans.packed())
    return StoredFile(file=TRAINING_SCANS_FILE, sha256=sha256_of(file))


def _chosen(
    timed: Sequence[Artifact], int8_asked_for: bool
) -> tuple[str | None, tuple[Artifact, ...]]:
    """Return the default's name, and the engines with a note where one was passed over."""
    name, passed_over = choose_default(timed, int8_asked_for=int8_asked_for)
    noted = []
    for engine in timed:
        if engine.name in passed_over:
            why = f"not the default: {passed_over[engine.name]}"
            engine = engine.model_copy(update={"notes": (*engine.notes, why)})
        noted.append(engine)
    return name, tuple(noted)


def _card(source: Source) -> ModelCard:
    checkpoint = source.checkpoint
    return ModelCard(
        attention=checkpoint.network.attention,
        width=checkpoint.network.width,
        parameters=sum(p.numel() for p in source.network.parameters()),
        checkpoint_sha256=source.sha256,
        trained_on=checkpoint.training,
        validation=checkpoint.validation,
        phantoms_only=checkpoint.phantoms_only,
        coarsest_pixel_mm=checkpoint.coarsest_pixel_mm,
        shortcuts=checkpoint.shortcuts,
        features=source.network.classifier.in_features,
        temperature=checkpoint.temperature,
    )


def _stored_familiarity(context: BuildContext) -> StoredFile | None:
    """Store what tells scans unlike the training scans, where the checkpoint has it."""
    familiarity = context.source.checkpoint.familiarity
    if familiarity is None:
        context.log(CANNOT_FLAG)
        return None
    file = context.folder / _FAMILIARITY_FILE
    with file.open("wb") as stream:
        familiarity.save(stream)
    return StoredFile(file=_FAMILIARITY_FILE, sha256=sha256_of(file))


def _unchecked_model(folder: Path) -> Artifact:
    """List the ONNX file, which is in every bundle because engines are rebuilt from it."""
    return _ONNX_CANDIDATE.artifact(
        hashes(folder, folder / MODEL_FILE),
        OnnxRuntimeRunner.batch,
        producer("onnx"),
        f"{NOT_EXECUTED}: not a target; kept because engines are rebuilt from it",
    )
