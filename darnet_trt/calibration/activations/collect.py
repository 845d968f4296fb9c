"""Runs the float32 graph on calibration scans, one at a time, and gathers its activations' ranges.

ONNX Runtime runs a copy of the graph whose activations are outputs, too: the exact smallest and
largest element of each, and for its histogram the element itself, or of large maps every second
slice and every second row of those. A scan's statistics are kept in the user's cache under the
hash of the graph and of the preprocessed scan: an interrupted calibration goes on, and another one
with some of the same scans runs only the new ones. Nothing can be mistaken there, because the
key is all that the numbers depend on.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx
from onnx import ModelProto, NodeProto
from onnx.helper import make_empty_tensor_value_info, make_node
from onnx.inliner import inline_local_functions
from onnx.numpy_helper import from_array

from darnet_trt.calibration.activations.histogram import BINS, Statistics, merge, statistics_of
from darnet_trt.errors import OutputError, UsageError
from darnet_trt.machine.cache import cache_folder
from darnet_trt.machine.files import whole_file
from darnet_trt.runtime.engines.onnxruntime.package import import_onnxruntime

__all__ = ["Collector", "magnitudes", "merged", "peak_bytes"]

_SAMPLED_FROM: Final = 1 << 22  # elements; smaller maps are taken whole
_SCHEMA: Final = 1  # of what is cached
_ERRORS_ONLY: Final = 3


class Collector:
    """Gathers one graph's statistics; close it to free the session.

    Args:
        model: The float32 graph that `export_onnx` writes.
        tensors: Activations to watch, `quantized_tensors`.
        threads: CPU threads; None leaves the number to ONNX Runtime.
    """

    def __init__(
        self, model: ModelProto, tensors: Sequence[str], *, threads: int | None = None
    ) -> None:
        self.tensors = tuple(tensors)
        digest = hashlib.sha256(model.SerializeToString(deterministic=True))
        digest.update(json.dumps([_SCHEMA, BINS, self.tensors]).encode())
        self._key = digest.hexdigest()[:32]
        self._input = model.graph.input[0].name
        self._model = model
        self._threads = threads
        self._session: Any = None

    def statistics(self, volume: npt.NDArray[np.float32]) -> dict[str, Statistics]:
        """Of one preprocessed scan, (1, d, h, w), from the cache where it is there.

        Raises:
            UsageError: The scan holds NaN or infinite values.
        """
        array = np.ascontiguousarray(volume, np.float32)
        file = self.cached(array)
        # What was cut off or is none of ours: zip, zlib and numpy each have their own errors.
        with suppress(Exception):
            return _read(file, self.tensors)
        found = self._run(array)
        with suppress(OSError, OutputError):  # no cache: the next run is slower
            file.parent.mkdir(parents=True, exist_ok=True)
            _write(file, found)
        return found

    def cached(self, volume: npt.NDArray[np.float32]) -> Path:
        """Where the statistics of a scan are kept."""
        digest = hashlib.sha256(np.ascontiguousarray(volume, np.float32).tobytes()).hexdigest()
        return cache_folder("calibration") / self._key / f"{digest[:32]}.npz"

    def close(self) -> None:
        """Free the session."""
        self._session = None

    def _run(self, volume: npt.NDArray[np.float32]) -> dict[str, Statistics]:
        if not np.isfinite(volume).all():
            raise UsageError("a calibration scan holds NaN or infinite values")
        if self._session is None:
            self._session = open_session(_watched(self._model, self.tensors), self._threads)
        names = [name for t in self.tensors for name in _outputs(t)]
        values = dict(
            zip(names, self._session.run(names, {self._input: volume[None]}), strict=True)
        )
        return {t: _found(*(values.pop(name) for name in _outputs(t))) for t in self.tensors}


def _found(
    smallest: npt.NDArray[np.float32],
    largest: npt.NDArray[np.float32],
    total: npt.NDArray[np.float32],
    sample: npt.NDArray[np.float32],
) -> Statistics:
    """From what a tensor's outputs gave; the extremes alone do not tell of NaN, their sum does."""
    if np.isfinite([smallest, largest, total]).all():
        return statistics_of(sample, float(smallest), float(largest))
    finite = sample[np.isfinite(sample)]
    limits = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    return statistics_of(finite, *limits, not_finite=max(1, sample.size - finite.size))


def merged(
    collector: Collector,
    volumes: Iterable[npt.NDArray[np.float32]],
    done: Callable[[int], None] = lambda count: None,
) -> dict[str, Statistics]:
    """Of all scans together; `done` is told how many after each.

    Raises:
        UsageError: There are none.
    """
    found: dict[str, Statistics] = {}
    for count, volume in enumerate(volumes, 1):
        one = collector.statistics(volume)
        found = {t: merge(found[t], one[t]) for t in one} if found else one
        done(count)
    if not found:
        raise UsageError("no scan to calibrate with")
    return found


def peak_bytes(model: ModelProto, tensors: Sequence[str]) -> int:
    """About how much memory a scan takes: the graph, its largest maps, and what is watched."""
    shapes = onnx.shape_inference.infer_shapes(inline_local_functions(model))
    sizes = {v.name: _elements(v) for v in (*shapes.graph.input, *shapes.graph.value_info)}
    sampled = sum(
        sizes[t] // 4 if sizes[t] > _SAMPLED_FROM else sizes[t] for t in tensors if t in sizes
    )
    weights = sum(int(np.prod(t.dims)) for t in model.graph.initializer)
    live = 5 * max(sizes.values())  # x, residual, the convolution's result, copies in its order
    return 4 * (sampled + 2 * weights + live) + _LIBRARIES


_LIBRARIES: Final = 250_000_000  # Python, numpy, ONNX Runtime


def _elements(value: onnx.ValueInfoProto) -> int:
    """Of one volume."""
    return int(np.prod([d.dim_value or 1 for d in value.type.tensor_type.shape.dim]))


def _outputs(tensor: str) -> tuple[str, str, str, str]:
    return f"{tensor}.smallest", f"{tensor}.largest", f"{tensor}.sum", f"{tensor}.sample"


def _watched(model: ModelProto, tensors: Sequence[str]) -> ModelProto:
    """The graph with its activations' extremes, sums and samples as outputs."""
    watched = inline_local_functions(model)
    graph = watched.graph
    inferred = onnx.shape_inference.infer_shapes(watched).graph
    sizes = {v.name: _elements(v) for v in (*inferred.input, *inferred.value_info)}
    every_second = {"starts": [0, 0], "ends": [2**31 - 1] * 2, "axes": [2, 3], "steps": [2, 2]}
    graph.initializer.extend(
        from_array(np.array(v, np.int64), f"watched.{k}") for k, v in every_second.items()
    )
    nodes = list(graph.node)
    del graph.node[:]
    for made, node in [((graph.input[0].name,), None), *((n.output, n) for n in nodes)]:
        if node is not None:
            graph.node.append(node)
        for tensor in (name for name in made if name in tensors):
            whole = sizes[tensor] <= _SAMPLED_FROM
            graph.node.extend(
                _watching(tensor, [] if whole else [f"watched.{k}" for k in every_second])
            )
            graph.output.extend(make_empty_tensor_value_info(name) for name in _outputs(tensor))
    return watched


def _watching(tensor: str, slicing: Sequence[str]) -> list[NodeProto]:
    smallest, largest, total, sample = _outputs(tensor)
    return [
        make_node("ReduceMin", [tensor], [smallest], keepdims=0),
        make_node("ReduceMax", [tensor], [largest], keepdims=0),
        make_node("ReduceSum", [tensor], [total], keepdims=0),
        make_node("Slice" if slicing else "Identity", [tensor, *slicing], [sample]),
    ]


def open_session(model: ModelProto, threads: int | None) -> Any:
    """ONNX Runtime on the CPU, for a graph that puts out what is watched of its activations."""
    onnxruntime = import_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    # What watches a map comes right behind it, so that no map has to wait for the graph's end.
    options.execution_order = onnxruntime.ExecutionOrder.PRIORITY_BASED
    options.enable_cpu_mem_arena = False  # it would keep each map's memory, about twice as much
    if threads is not None:
        options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def _read(file: Path, tensors: Sequence[str]) -> dict[str, Statistics]:
    with file.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
        limits, integers, counts = (stored[k] for k in ("limits", "integers", "counts"))
    n = len(tensors)
    if (limits.shape, integers.shape, counts.shape) != ((n, 2), (n, 2), (n, BINS)):
        raise ValueError("another schema")
    return {
        tensor: Statistics(
            float(limits[i, 0]),
            float(limits[i, 1]),
            int(integers[i, 0]),
            int(integers[i, 1]),
            counts[i].astype(np.int64),
        )
        for i, tensor in enumerate(tensors)
    }


def _write(file: Path, found: dict[str, Statistics]) -> None:
    values = tuple(found.values())
    with whole_file(file) as stream:
        np.savez_compressed(
            stream,
            limits=np.array([(s.smallest, s.largest) for s in values], np.float64),
            integers=np.array([(s.not_finite, s.exponent) for s in values], np.int64),
            counts=np.stack([s.counts for s in values]),
        )


def magnitudes(
    model: ModelProto, volumes: Iterable[npt.NDArray[np.float32]], *, threads: int | None = None
) -> dict[str, float]:
    """Run scans through the float32 graph.

    What is not watched is never larger than something that is: ReLU's results, means, what a gate
    has scaled.

    Args:
        model: As `export.graph.build_graph` made it.
        volumes: Preprocessed scans, each (1, d, h, w).
        threads: CPU threads; None leaves the number to ONNX Runtime.

    Returns:
        Tensor, for a convolution or a block; layer, for one of a gate's → the largest magnitude of
        any element in any scan. Infinite or NaN where float32 does not hold it.
    """
    watched = inline_local_functions(model)
    graph = watched.graph
    names: dict[str, str] = {}
    nodes = list(graph.node)
    del graph.node[:], graph.output[:]
    for node in nodes:
        graph.node.append(node)
        if name := _watched_name(node):
            names[node.output[0]] = name
            for reduce in ("ReduceMin", "ReduceMax"):
                limit = f"{node.output[0]}.{reduce}"
                graph.node.append(make_node(reduce, [node.output[0]], [limit], keepdims=0))
                graph.output.append(make_empty_tensor_value_info(limit))
    session = open_session(watched, threads)
    largest = np.zeros(len(names), np.float32)
    for volume in volumes:
        limits = np.array(session.run(None, {graph.input[0].name: volume[None]}))
        largest = np.maximum(largest, np.abs(limits).reshape(-1, 2).max(1))
    return dict(zip(names.values(), map(float, largest), strict=True))


def _watched_name(node: NodeProto) -> str:
    """Empty for what need not be watched."""
    if node.op_type == "Gemm":  # inside the attention, where only its weight tells which it is
        return str(node.input[1]).removesuffix(".weight")
    tensor = str(node.output[0])
    return tensor if node.op_type == "Conv" or _BLOCK.fullmatch(tensor) else ""


_BLOCK: Final = re.compile(r"stages\.\d\.\d\.out")
