"""Build TensorRT plans for the GPU at hand or for others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, Literal, cast

from onnx import ModelProto

from darnet_trt.bundle.manifest import MODEL_FILE, Artifact, Decisions, Precision
from darnet_trt.bundle.plan import Plan
from darnet_trt.bundle.writing import hashes
from darnet_trt.calibration.qdq import Form
from darnet_trt.calibration.search.search import Int8
from darnet_trt.errors import BuildError
from darnet_trt.export.context import BuildContext
from darnet_trt.export.gates.float16_range import Float16Range
from darnet_trt.export.onnx.channels_first import PADS_TO, channels_first
from darnet_trt.export.onnx.writing import write_graph
from darnet_trt.export.targets import Candidate
from darnet_trt.export.tensorrt.builder import build_tensorrt
from darnet_trt.export.tensorrt.child import Job
from darnet_trt.export.tensorrt.faster_plan import Choice, choose
from darnet_trt.export.tensorrt.layer_table import Layer
from darnet_trt.export.tensorrt.plugin_choice import Plugin, choose_plugin
from darnet_trt.export.tensorrt.stored_table import write_table
from darnet_trt.runtime.engines.tensorrt.package import PACKAGES, TensorRTBackend

# A machine without the plan's GPU cannot run the plan, but it can run the plan's graph.
_STAND_IN: Final = "the plan's int8 graph, run on the CPU,"
PluginForm = Literal["none", "channels-last", "channels-first"]
_WITHOUT: Final = "without the plugin"
_NO_INT8_LAYOUT: Final = (
    f"built {_WITHOUT}: TensorRT's 3D format for int8, CDHW32, is not channels-last"
)


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
            plan = _kept(context, candidate, graphs, plugins.get(candidate), Path(work))
            if candidate.precision == "int8" and int8 is not None:
                plan = _judged_by_its_graph(plan, int8, context.accept)
            built.append(plan if half is None else half.noted(plan))
    return built, rejected


class _Graphs:
    """The ONNX files that plans are built from, each made when first used."""

    def __init__(
        self, context: BuildContext, work: Path, int8: Int8 | None, half: Float16Range | None
    ) -> None:
        self._source, self._work, self._int8 = context.source, work, int8
        self._in_float32 = () if half is None else half.in_float32
        self._half: ModelProto | None = None

    def file(self, candidate: Candidate, plugin: PluginForm) -> Path:
        precision = candidate.precision
        form: Form = "s8" if plugin == "none" else "plugin"
        name: str = form if precision == "int8" else precision
        if plugin == "channels-first":
            name = f"{name}-{plugin}"
        file = self._work / f"{name}-{MODEL_FILE}"
        if not file.exists():
            graph = self._graph(precision, form)
            write_graph(channels_first(graph) if plugin == "channels-first" else graph, file)
        return file

    def _graph(self, precision: Precision, form: Form) -> ModelProto:
        if precision == "int8":
            return self._quantized(form)
        if precision == "fp16":
            return self._float16()
        return self._source.float32 if precision == "fp32" else self._source.graph(precision)

    def _quantized(self, form: Form) -> ModelProto:
        assert self._int8 is not None
        base = self._source.float32 if self._in_float32 else self._float16()
        return self._int8.graph(base, form)

    def _float16(self) -> ModelProto:
        if self._half is None:
            self._half = self._source.graph("fp16", self._in_float32)
        return self._half


def _kept(
    context: BuildContext, candidate: Candidate, graphs: _Graphs, plugin: Plugin | None, work: Path
) -> Artifact:
    """Build a plan in each form that may be the fastest, and keep that one."""
    forms = _forms(context, candidate, plugin)
    built: dict[str, tuple[Artifact, Path]] = {}
    tables: dict[str, Sequence[Layer]] = {}
    refused = []
    for name, form in forms.items():
        graph = graphs.file(candidate, form)
        try:
            plan, tables[name] = _built(
                context, candidate, graph, None if form == "none" else plugin
            )
        except BuildError as error:
            if not built and name == list(forms)[-1]:
                raise
            refused.append(f"{name}: {error.what}")
            continue
        file = _file(context, candidate)
        built[name] = plan, file.replace(work / f"{form}-{file.name}")
    if len(built) > 1:
        choice = choose(built, context.scans.inputs[0][None])
    else:
        choice = Choice(name := next(iter(built)), f"built {name}")
    plan, file = built[choice.name]
    file = file.replace(_file(context, candidate))
    table = hashes(context.folder, *write_table(file, tables[choice.name]))
    plan = plan.model_copy(update={"files": plan.files | table})
    if len(forms) > 1:
        note = "; ".join((choice.why, *refused))
    elif plugin is not None and _WITHOUT in forms:
        note = _NO_INT8_LAYOUT
    else:
        return plan
    context.log(f"{candidate.name}: {note}")
    return plan.model_copy(update={"notes": (*plan.notes, note)})


def _forms(
    context: BuildContext, candidate: Candidate, plugin: Plugin | None
) -> dict[str, PluginForm]:
    """Return what a plan does with the plugin, by name, the form without it last."""
    without: dict[str, PluginForm] = {_WITHOUT: "none"}
    if plugin is None:
        return without
    forms: dict[str, PluginForm] = {"with the plugin": "channels-last"}
    if candidate.backend == "tensorrt":
        if candidate.precision == "int8":
            return without
        if candidate.precision == "fp32" or context.source.checkpoint.network.width % PADS_TO == 0:
            forms["with the plugin in TensorRT's format"] = "channels-first"
    return forms if context.plugin == "on" else forms | without


def _file(context: BuildContext, candidate: Candidate) -> Path:
    return context.folder / candidate.backend / f"{candidate.target}-{candidate.precision}.plan"


def _plugins(context: BuildContext, candidates: Sequence[Candidate]) -> dict[Candidate, Plugin]:
    """Choose the plugin of each plan that gets one."""
    if context.source.checkpoint.network.attention == "none":
        return {}  # the plugin is the attention
    targets: dict[str, list[str]] = {}
    for candidate in candidates:
        targets.setdefault(candidate.backend, []).append(candidate.target)
    chosen = {
        backend: choose_plugin(
            context.plugin, cast(TensorRTBackend, backend), list(dict.fromkeys(its)), context.log
        )
        for backend, its in targets.items()
    }
    return {c: chosen[c.backend][c.target] for c in candidates if c.target in chosen[c.backend]}


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
) -> tuple[Artifact, Sequence[Layer]]:
    """Build one form of a plan; return it and its table of layers."""
    backend, options = cast(TensorRTBackend, candidate.backend), context.plan_options
    plan = _file(context, candidate)
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
    if candidate.precision == "int8" and "int8" not in result.kernels.get("convolution", ("int8",)):
        notes.append(f"TensorRT computes no convolution in int8 on {candidate.target}")
    artifact = candidate.artifact(
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
    return artifact, result.layers
