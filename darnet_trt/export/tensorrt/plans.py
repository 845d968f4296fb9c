"""TensorRT plans, which are built here for this GPU or for others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, cast

import onnx

from darnet_trt.bundle.manifest import MODEL_FILE, Artifact, Decisions, Plan, Precision
from darnet_trt.bundle.writing import hashes
from darnet_trt.calibration.qdq import Form
from darnet_trt.calibration.search.search import Int8
from darnet_trt.export.gates.float16_range import Float16Range
from darnet_trt.export.onnx.writing import Source, export_onnx
from darnet_trt.export.targets import Candidate
from darnet_trt.export.tensorrt.builder import build_tensorrt
from darnet_trt.export.tensorrt.layer_table import counted
from darnet_trt.export.tensorrt.options import PlanOptions
from darnet_trt.export.tensorrt.plugin_choice import Plugin, PluginMode, choose_plugin
from darnet_trt.runtime.engines.tensorrt.package import PACKAGES, TensorRTBackend

__all__ = ["Plans", "build_plans"]

# A machine without the plan's GPU cannot run it; this it can.
_STAND_IN: Final = "int8 in the plan's form, run on the CPU,"


@dataclass(frozen=True)
class Plans:
    """What came of the candidates.

    Attributes:
        built: With their files in the bundle's folder.
        rejected: Int8, not built: the same graph did not keep the decisions.
    """

    built: list[Artifact]
    rejected: list[Artifact]


def build_plans(
    source: Source,
    folder: Path,
    candidates: Sequence[Candidate],
    options: PlanOptions,
    plugin: PluginMode,
    int8: Int8 | None,
    half: Float16Range | None,
    accept: str | None,
    log: Callable[[str], None],
) -> Plans:
    """Build TensorRT plans into a bundle's folder, which holds `MODEL_FILE` already.

    What is not quantized in an int8 plan is float16. Where the scans show that float16 cannot hold
    all activations (`half`), an fp16 plan keeps the parts concerned in float32, and an int8 plan
    all that is not quantized. `int8` is there if a candidate needs it; where its decisions are not
    kept, int8 candidates are only built if somebody accepts that.

    Raises:
        MissingPackageError: A candidate's package is not installed.
        BuildError: A plan cannot be built, or not with the plugin that shall be on.
        OSError: It cannot be written.
    """
    rejected = []
    if int8 is not None and not int8.decisions.passed and accept is None:
        rejected = [_refused(c, options, int8, log) for c in candidates if c.precision == "int8"]
        candidates = [c for c in candidates if c.precision != "int8"]
    if not candidates:
        return Plans([], rejected)
    plugins = _plugins(source, candidates, plugin, log)
    artifacts = []
    with TemporaryDirectory(dir=folder) as work:
        graphs = _Graphs(source, folder, Path(work), int8, half)
        for candidate in candidates:
            library = plugins[candidate.backend]
            graph = graphs.file(candidate.precision, plugin=library is not None)
            its = int8 if candidate.precision == "int8" else None
            plan = _build(folder, graph, candidate, options, library, its, accept, log)
            artifacts.append(plan if half is None else half.noted(plan))
    return Plans(artifacts, rejected)


class _Graphs:
    """The ONNX files that plans are built from, written when they are first asked for."""

    def __init__(
        self,
        source: Source,
        folder: Path,
        work: Path,
        int8: Int8 | None,
        half: Float16Range | None,
    ) -> None:
        self._source, self._folder, self._work, self._int8 = source, folder, work, int8
        self._in_float32 = () if half is None else half.in_float32

    def file(self, precision: Precision, *, plugin: bool) -> Path:
        if precision == "fp32":
            return self._folder / MODEL_FILE
        if precision == "fp16":
            return self._half()
        assert self._int8 is not None
        form: Form = "plugin" if plugin else "s8"
        quantized = self._work / f"{form}-{MODEL_FILE}"
        if not quantized.exists():
            base = self._folder / MODEL_FILE if self._in_float32 else self._half()
            onnx.save(self._int8.graph(onnx.load(base), form), quantized)
        return quantized

    def _half(self) -> Path:
        file = self._work / f"fp16-{MODEL_FILE}"
        if not file.exists():
            export_onnx(self._source, file, "fp16", self._in_float32)
        return file


def _plugins(
    source: Source,
    candidates: Sequence[Candidate],
    mode: PluginMode,
    log: Callable[[str], None],
) -> dict[str, Plugin | None]:
    """Backend → its plugin."""
    backends = dict.fromkeys(candidate.backend for candidate in candidates)
    if source.checkpoint.network.attention == "none":
        return dict.fromkeys(backends)  # the plugin is the attention
    return {
        backend: choose_plugin(
            mode,
            cast(TensorRTBackend, backend),
            {c.target for c in candidates if c.backend == backend},
            log,
        )
        for backend in backends
    }


def _refused(
    candidate: Candidate, options: PlanOptions, int8: Int8, log: Callable[[str], None]
) -> Artifact:
    log(f"{candidate.name}: not built: {_STAND_IN} changes decisions")
    return Artifact(
        name=candidate.name,
        files={},
        backend=candidate.backend,
        precision=candidate.precision,
        effective_precision=None,
        target=candidate.target,
        batch=options.batch,
        producer={},
        executed=False,
        parity=None,
        latency_ms=None,
        notes=("not built",),
        quantization=int8.report,
        decisions=_stand_in(int8.decisions),
    )


def _stand_in(decisions: Decisions) -> Decisions:
    """With a note that they are not the plan's own."""
    note = f"{_STAND_IN} was judged, not the plan itself"
    return decisions.model_copy(update={"notes": (note, *decisions.notes)})


def _build(
    folder: Path,
    graph: Path,
    candidate: Candidate,
    options: PlanOptions,
    plugin: Plugin | None,
    int8: Int8 | None,
    accept: str | None,
    log: Callable[[str], None],
) -> Artifact:
    backend = cast(TensorRTBackend, candidate.backend)
    plan = folder / backend / f"{candidate.target}-{candidate.precision}.plan"
    plan.parent.mkdir(exist_ok=True)
    result = build_tensorrt(
        backend,
        graph,
        plan,
        candidate.target,
        options=options,
        plugin=None if plugin is None else plugin.path,
        embed=plugin is not None and plugin.card.embedded,
        log=log,
    )
    built = f"built in {result.seconds:.1f} s"
    log(f"{candidate.name}: {built}")
    if result.note is not None:
        log(f"{candidate.name}: the timing cache is not kept: {result.note}")
    notes = [built]
    if plugin is not None and not plugin.card.embedded:
        notes.append("needs the plugin for CUDA")
    return Artifact(
        name=candidate.name,
        files=hashes(folder, plan),
        backend=backend,
        precision=candidate.precision,
        effective_precision=None,
        target=candidate.target,
        batch=options.batch,
        producer={PACKAGES[backend][0]: result.version},
        executed=False,
        parity=None,
        latency_ms=None,
        notes=tuple(notes),
        plan=Plan(
            kernels=counted(result.layers),
            plugin=None if plugin is None else plugin.card,
            profiles=options.profiles,
            version_compatible=options.version_compatible,
            hardware_compatible=options.hardware_compatible,
        ),
        quantization=None if int8 is None else int8.report,
        decisions=None if int8 is None else _stand_in(int8.decisions),
        accepted=None if int8 is None or int8.decisions.passed else accept,
    )
