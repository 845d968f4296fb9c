"""Profile an engine: which part of the network takes how much of its time, and what bounds it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, get_args

import numpy as np

from darnet_trt.bundle.manifest import Artifact
from darnet_trt.bundle.reading import Bundle
from darnet_trt.machine.hardware import cpu
from darnet_trt.runtime.bench.layers.layers import Group, Layer, Layers
from darnet_trt.runtime.bench.layers.peaks import TRIAD, Peaks
from darnet_trt.runtime.bench.layers.places import FORMAT, OTHER, Executed, places
from darnet_trt.runtime.bench.layers.profilers.onnxruntime import OnnxRuntimeProfiler
from darnet_trt.runtime.bench.layers.profilers.openvino import OpenVINOProfiler
from darnet_trt.runtime.bench.layers.profilers.profiler import Profiler, Run
from darnet_trt.runtime.bench.layers.profilers.tensorrt import TensorRTProfiler
from darnet_trt.runtime.bench.layers.work import Kind, Work, work_of
from darnet_trt.runtime.bench.subject import Subject, Trace
from darnet_trt.runtime.bench.turns import in_turns
from darnet_trt.runtime.engines.loading import Engine
from darnet_trt.runtime.engines.runner import runs_on_gpu

_BYTES: Final = {"fp32": 4, "bf16": 2, "fp16": 2, "int8": 1}
_LAST_PARTS: Final = ("head", FORMAT.part, OTHER.part)


def profile(bundle: Bundle, engine: Engine, threads: int | None, seconds: float) -> Layers:
    """Profile one of a bundle's engines.

    It is loaded again with its profiler, and the two take turns.

    Args:
        bundle: From `open_bundle`.
        engine: From `load_engine`; it stays open.
        threads: CPU threads, as it was loaded; None: the engine chooses.
        seconds: Time for the turns, except that there are three rounds at least.

    Raises:
        UsageError: It has no profiler on this device.
        DeviceError: As `load_engine`.
    """
    runner, manifest = engine.runner, bundle.manifest
    on_gpu = runs_on_gpu(runner)
    volume = np.random.default_rng(0).random((1, 1, *manifest.preprocessing.size), np.float32)
    traces: dict[str, Trace] = {}
    with TemporaryDirectory() as folder:
        profiler = _profiler(bundle, engine.artifact, threads)
        try:
            peaks = Peaks(Path(folder), threads or cpu().cores, on_gpu=on_gpu)
            peaks.read()
            timed = partial(runner.infer, volume)
            watched = partial(profiler.runner.infer, volume)
            in_turns(
                [
                    Subject("timed", timed, on_gpu=on_gpu),
                    Subject("watched", watched, on_gpu=on_gpu, after=profiler.after_run),
                ],
                traces,
                seconds=seconds,
            )
            peaks.read()
        finally:
            runs = profiler.runs()
    layers = layers_of(runs[1:])
    work = work_of(
        manifest.model.attention,
        manifest.model.width,
        manifest.preprocessing.size,
        len(manifest.classes),
        fused=any(layer.kind == "fused attention" for layer in layers),
    )
    peak, bandwidth = peaks.best.get(runner.precision), peaks.best.get(TRIAD)
    profiled_ms = float(np.median([sum(ms for _, ms in run) for run in runs[1:]]))
    unprofiled_ms = float(np.median(traces["timed"].latencies_ms))
    return Layers(
        artifact=engine.artifact.name,
        precision=runner.precision,
        runs=len(runs) - 1,
        unprofiled_ms=unprofiled_ms,
        profiled_ms=profiled_ms,
        ratio=profiled_ms / unprofiled_ms,
        peak_gmac_per_s=peak,
        peak_gb_per_s=bandwidth,
        no_peak=peaks.missing(runner.precision),
        groups=groups_of(layers, work, _BYTES[runner.precision], peak, bandwidth),
        layers=layers,
    )


def _profiler(bundle: Bundle, artifact: Artifact, threads: int | None) -> Profiler:
    file = bundle.path / next(iter(artifact.files))
    if artifact.backend == "openvino":
        return OpenVINOProfiler(artifact, file, threads)
    if artifact.backend == "onnxruntime":
        return OnnxRuntimeProfiler(artifact, file, threads)
    return TensorRTProfiler(artifact, file)


def layers_of(runs: Sequence[Run]) -> tuple[Layer, ...]:
    """Return the layers in the order in which they run, with the medians of their times."""
    seen: dict[str, Executed] = {}
    times: list[dict[str, float]] = []
    for run in runs:
        times.append({})
        for layer, ms in run:
            seen.setdefault(layer.name, layer)
            times[-1][layer.name] = times[-1].get(layer.name, 0.0) + ms
    executed = list(seen.values())
    return tuple(
        Layer(
            name=layer.name,
            kernel=layer.kernel,
            part=place.part,
            kind=place.kind,
            ms=float(np.median([run.get(layer.name, 0.0) for run in times])),
        )
        for layer, place in zip(executed, places(executed), strict=True)
    )


def groups_of(
    layers: Sequence[Layer],
    work: Sequence[Work],
    item_bytes: int,
    peak: float | None,
    bandwidth: float | None,
) -> tuple[Group, ...]:
    """Add up the layers of each group, in the network's order.

    Args:
        layers: From `layers_of`.
        work: From `work_of`.
        item_bytes: Size of a number in the engine's precision.
        peak: GMAC/s of the CPU.
        bandwidth: GB/s of its memory.
    """
    times: dict[tuple[str, Kind], float] = {}
    for layer in layers:
        key = (layer.part, layer.kind)
        times[key] = times.get(key, 0.0) + layer.ms
    total = sum(times.values())
    to_do = {(one.part, one.kind): one for one in work}
    return tuple(
        Group(
            part=part,
            kind=kind,
            ms=ms,
            share=ms / total if total else 0.0,
        ).model_copy(update=_roofline(to_do.get((part, kind)), ms, item_bytes, peak, bandwidth))
        for (part, kind), ms in sorted(times.items(), key=lambda item: _rank(*item[0]))
    )


def _roofline(
    work: Work | None, ms: float, item_bytes: int, peak: float | None, bandwidth: float | None
) -> Mapping[str, float | str | None]:
    if work is None:
        return {}
    gmac, mb = work.macs / 1e9, work.elements * item_bytes / 1e6
    found: dict[str, float | str | None] = {"gmac": gmac, "mb": mb}
    if ms:  # a profiler may count less than its step as nothing
        found |= {"gmac_per_s": gmac / (ms / 1e3), "gb_per_s": mb / ms}
    if peak is not None and bandwidth is not None:
        found["of_peak"] = gmac / (ms / 1e3) / peak if ms else None
        found["bound"] = "memory" if mb / 1e3 / bandwidth > gmac / peak else "compute"
    return found


def _rank(part: str, kind: Kind) -> tuple[int, str, int]:
    place = _LAST_PARTS.index(part) + 2 if part in _LAST_PARTS else int(part != "stem")
    return place, part, get_args(Kind).index(kind)
