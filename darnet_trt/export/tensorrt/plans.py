"""Build TensorRT plans for the GPU at hand or for others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, cast

from onnx import ModelProto

from darnet_trt.bundle.manifest import MODEL_FILE, Artifact, Decisions, Plan, Precision
from darnet_trt.bundle.writing import hashes
from darnet_trt.calibration.qdq import Form
from darnet_trt.calibration.search.search import Int8
from darnet_trt.export.context import BuildContext
from darnet_trt.export.gates.float16_range import Float16Range
from darnet_trt.export.onnx.writing import write_graph
from darnet_trt.export.targets import Candidate
from darnet_trt.export.tensorrt.builder import build_tensorrt
from darnet_trt.export.tensorrt.child import Job
from darnet_trt.export.tensorrt.plugin_choice import Plugin, choose_plugin
from darnet_trt.runtime.engines.tensorrt.package import PACKAGES, TensorRTBackend

# A machine without the plan's GPU cannot run the plan, but it can run the plan's graph.
_STAND_IN: Final = "the plan's int8 graph, run on the CPU,"


def build_plans(
    context: BuildContext,
    candidates: Sequence[Candidate],
    int8: Int8 | None,
    half: Float16Range | None,
) -> tuple[list[Artifact], list[Artifact]]:
    """Build TensorRT plans into the bundle's folder.

    Returns the plans, and the int8 plans that were not built because their graph changes decisions.

    Args:
        context: Of the build.
        candidates: The plans to build.
        int8: How to quantize; required if a candidate is int8. If its decisions are not kept,
            int8 candidates are built only if somebody accepts that (`context.accept`).
        half: Parts of the network that float16 cannot hold. An fp16 plan keeps these parts in
            float32; an int8 plan then keeps everything that is not quantized in float32.

    Raises:
        MissingPackageError: A candidate's package is not installed.
        BuildError: A plan cannot be built, or not with the plugin that was asked for.
        OSError: It cannot be written.
    """
    rejected = []
    if int8 is not None and not int8.decisions.passed and context.accept is None:
        rejected = [_refused(context, c, int8) for c in candidates if c.precision == "int8"]
        candidates = [c for c in candidates if c.precision != "int8"]
    if not candidates:
        return [], rejected
    plugins = _plugins(context, candidates)
    built = []
    with TemporaryDirectory(dir=context.folder) as work:
        graphs = _Graphs(context, Path(work), int8, half)
        for candidate in candidates:
            plugin = plugins[candidate.backend]
            graph = graphs.file(candidate.precision, plugin=plugin is not None)
            plan = _built(context, candidate, graph, plugin)
            if candidate.precision == "int8" and int8 is not None:
                plan = _judged_by_its_graph(plan, int8, context.accept)
            built.append(plan if half is None else half.noted(plan))
    return built, rejected


class _Graphs:
    """The ONNX files that plans are built from, each made when first used."""

    def __init__(
        self, context: BuildContext, work: Path, int8: Int8 | None, half: Float16Range | None
    ) -> None:
        self._source, self._folder, self._work = context.source, context.folder, work
        self._int8 = int8
        self._in_float32 = () if half is None else half.in_float32
        self._half: ModelProto | None = None

    def file(self, precision: Precision, *, plugin: bool) -> Path:
        if precision == "fp32":
            return self._folder / MODEL_FILE
        form: Form = "plugin" if plugin else "s8"
        file = self._work / f"{form if precision == 'int8' else precision}-{MODEL_FILE}"
        if not file.exists():
            write_graph(self._graph(precision, form), file)
        return file

    def _graph(self, precision: Precision, form: Form) -> ModelProto:
        if precision == "bf16":
            return self._source.graph("bf16")
        return self._float16() if precision == "fp16" else self._quantized(form)

    def _quantized(self, form: Form) -> ModelProto:
        assert self._int8 is not None
        base = self._source.float32 if self._in_float32 else self._float16()
        return self._int8.graph(base, form)

    def _float16(self) -> ModelProto:
        if self._half is None:
            self._half = self._source.graph("fp16", self._in_float32)
        return self._half


def _plugins(context: BuildContext, candidates: Sequence[Candidate]) -> dict[str, Plugin | None]:
    """Choose each backend's plugin."""
    targets: dict[str, set[str]] = {}
    for candidate in candidates:
        targets.setdefault(candidate.backend, set()).add(candidate.target)
    if context.source.checkpoint.network.attention == "none":
        return dict.fromkeys(targets)  # the plugin is the attention
    return {
        backend: choose_plugin(
            context.plugin, cast(TensorRTBackend, backend), its_targets, context.log
        )
        for backend, its_targets in targets.items()
    }


def _refused(context: BuildContext, candidate: Candidate, int8: Int8) -> Artifact:
    context.log(f"{candidate.name}: not built: {_STAND_IN} changes decisions")
    plan = candidate.artifact({}, context.plan_options.batch, {}, "not built")
    return _judged_by_its_graph(plan, int8, None)


def _judged_by_its_graph(plan: Artifact, int8: Int8, accept: str | None) -> Artifact:
    """Return an int8 plan with the decisions of its graph, and a note that says so."""
    note = f"{_STAND_IN} was judged, not the plan itself"
    notes = (note, *int8.decisions.notes)
    decisions: Decisions = int8.decisions.model_copy(update={"notes": notes})
    accepted = None if decisions.passed else accept
    return plan.model_copy(
        update={"quantization": int8.report, "decisions": decisions, "accepted": accepted}
    )


def _built(
    context: BuildContext, candidate: Candidate, graph: Path, plugin: Plugin | None
) -> Artifact:
    backend, options = cast(TensorRTBackend, candidate.backend), context.plan_options
    plan = context.folder / backend / f"{candidate.target}-{candidate.precision}.plan"
    plan.parent.mkdir(exist_ok=True)
    job = Job(
        backend=backend,
        onnx=graph,
        plan=plan,
        target=candidate.target,
        options=options,
        plugin=None if plugin is None else plugin.path,
        embed=plugin is not None and plugin.card.embedded,
    )
    result = build_tensorrt(job, context.log)
    notes = [f"built in {result.seconds:.1f} s"]
    context.log(f"{candidate.name}: {notes[0]}")
    if result.note is not None:
        context.log(f"{candidate.name}: the timing cache could not be saved: {result.note}")
    if plugin is not None and not plugin.card.embedded:
        notes.append("needs the plugin for CUDA")
    return candidate.artifact(
        hashes(context.folder, plan),
        options.batch,
        {PACKAGES[backend][0]: result.version},
        *notes,
        plan=Plan(
            kernels=result.kernels,
            work=result.work,
            plugin=None if plugin is None else plugin.card,
            profiles=options.profiles,
            version_compatible=options.version_compatible,
            hardware_compatible=options.hardware_compatible,
        ),
    )
