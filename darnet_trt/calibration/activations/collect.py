"""Run the float32 graph on calibration scans and collect statistics of its activations.

ONNX Runtime runs a copy of the graph that also puts out, of each activation, the exact smallest and
largest element and, for a histogram, its elements. Of large maps it puts out every second row of
every second slice. A scan's statistics are kept in the user's cache under the hash of all that they
depend on, the graph and the preprocessed scan: an interrupted calibration continues where it
stopped, and one with some of the same scans runs only the new ones.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx
from onnx import ModelProto, NodeProto
from onnx.helper import make_empty_tensor_value_info, make_node
from onnx.numpy_helper import from_array

from darnet_trt.calibration.activations.histogram import BINS, Statistics, merge, statistics_of
from darnet_trt.errors import OutputError, UsageError
from darnet_trt.kernels.onnx_inline import inlined
from darnet_trt.machine.cache import cache_folder, digest, drop_unused, used
from darnet_trt.machine.files import whole_file
from darnet_trt.runtime.engines.onnxruntime.package import import_onnxruntime

_ROOM: Final = "calibration"
_SAMPLED_FROM: Final = 1 << 22  # elements; smaller maps are taken whole
_EVERY_SECOND: Final = {"starts": [0, 0], "ends": [2**31 - 1] * 2, "axes": [2, 3], "steps": [2, 2]}
_EXTREMES: Final = ("ReduceMin", "ReduceMax")
_WATCHED: Final = (*_EXTREMES, "ReduceSum", "sample")
_SCHEMA: Final = 1  # of the cached files
_ERRORS_ONLY: Final = 3
_LIBRARIES: Final = 250_000_000  # bytes of Python, numpy, ONNX Runtime
_BLOCK: Final = re.compile(r"stages\.\d\.\d\.out")


class Collector:
    """Collects the statistics of one graph's activations.

    Args:
        model: The float32 graph that `export_onnx` writes.
        tensors: Activations to watch, `quantized_tensors`.
        threads: CPU threads; None leaves the number to ONNX Runtime.
    """

    def __init__(
        self, model: ModelProto, tensors: Sequence[str], *, threads: int | None = None
    ) -> None:
        self._tensors = tuple(tensors)
        graph = model.SerializeToString(deterministic=True)
        self._key = digest(graph, _SCHEMA, BINS, self._tensors)
        self._model = model
        self._threads = threads
        self._session: Any = None
        drop_unused(_ROOM)

    def statistics(self, volume: npt.NDArray[np.float32], hash: str) -> dict[str, Statistics]:
        """Return the statistics of one scan, from the cache if they are there.

        Args:
            volume: The preprocessed scan, (1, d, h, w).
            hash: `hashed` of it.

        Raises:
            UsageError: The scan holds NaN or infinite values.
        """
        file = self.cached(hash)
        used(file)
        # A damaged file: zip, zlib and numpy each raise their own errors.
        with suppress(Exception):
            return _read(file, self._tensors)
        found = self._run(volume)
        with suppress(OSError, OutputError):  # without a cache the next run is slower
            file.parent.mkdir(parents=True, exist_ok=True)
            _write(file, found)
        return found

    def cached(self, hash: str) -> Path:
        """Return the file that keeps the statistics of a scan."""
        return cache_folder(_ROOM) / self._key / f"{hash[:32]}.npz"

    def _run(self, volume: npt.NDArray[np.float32]) -> dict[str, Statistics]:
        if not np.isfinite(volume).all():
            raise UsageError("a calibration scan holds NaN or infinite values")
        if self._session is None:
            self._session = _open_session(_with_samples(self._model, self._tensors), self._threads)
        names = [output.name for output in self._session.get_outputs()]
        values = dict(zip(names, _outputs(self._session, volume), strict=True))
        return {t: _found(*(values.pop(f"{t}.{name}") for name in _WATCHED)) for t in self._tensors}


def _found(
    smallest: npt.NDArray[np.float32],
    largest: npt.NDArray[np.float32],
    total: npt.NDArray[np.float32],
    sample: npt.NDArray[np.float32],
) -> Statistics:
    """Return the statistics of one tensor; NaN shows in its sum, not always in its extremes."""
    if np.isfinite([smallest, largest, total]).all():
        return statistics_of(sample, float(smallest), float(largest))
    finite = sample[np.isfinite(sample)]
    limits = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    return statistics_of(finite, *limits, not_finite=max(1, sample.size - finite.size))


def merged(
    collector: Collector,
    volumes: Iterable[npt.NDArray[np.float32]],
    hashes: Iterable[str],
    done: Callable[[int], None] = lambda count: None,
) -> dict[str, Statistics]:
    """Return the statistics of all scans together.

    Args:
        collector: Gives those of each scan.
        volumes: The preprocessed scans.
        hashes: `hashed` of each.
        done: Called after each scan with the number of scans so far.
    """
    found: dict[str, Statistics] = {}
    for count, (volume, hash) in enumerate(zip(volumes, hashes, strict=True), 1):
        one = collector.statistics(volume, hash)
        found = {t: merge(found[t], one[t]) for t in one} if found else one
        done(count)
    return found


def magnitudes(
    model: ModelProto, volumes: Iterable[npt.NDArray[np.float32]], *, threads: int | None = None
) -> dict[str, float]:
    """Return the largest magnitude of each convolution, block and layer of a gate over all scans.

    Other tensors are never larger than one of these: ReLU's results, means, what a gate scaled.

    Args:
        model: As `export.graph.build_graph` made it.
        volumes: Preprocessed scans, each (1, d, h, w).
        threads: CPU threads; None leaves the number to ONNX Runtime.

    Returns:
        Output tensor of a convolution or a block, or name of a gate's layer → magnitude; infinite
        or NaN where float32 overflows.
    """
    plain = inlined(model)
    names = {node.output[0]: name for node in plain.graph.node if (name := _name(node))}
    watchers = {tensor: _reductions(tensor, _EXTREMES) for tensor in names}
    session = _open_session(_watching(plain, watchers), threads)
    largest = np.zeros(len(names), np.float32)
    for volume in volumes:
        limits = np.array(_outputs(session, volume))  # in the graph's order, as `names`
        largest = np.maximum(largest, np.abs(limits).reshape(-1, 2).max(1))
    return dict(zip(names.values(), map(float, largest), strict=True))


def _name(node: NodeProto) -> str:
    """Return what `magnitudes` calls a node; empty if it is not watched."""
    if node.op_type == "Gemm":  # its outputs' names do not say which layer of which gate it is
        return str(node.input[1]).removesuffix(".weight")
    tensor = str(node.output[0])
    return tensor if node.op_type == "Conv" or _BLOCK.fullmatch(tensor) else ""


def peak_bytes(model: ModelProto, tensors: Sequence[str]) -> int:
    """Estimate the memory that a scan takes: the graph, its largest maps, and the samples."""
    sizes = _sizes(inlined(model))
    sampled = sum(sizes[t] // 4 if sizes[t] > _SAMPLED_FROM else sizes[t] for t in tensors)
    weights = sum(int(np.prod(t.dims)) for t in model.graph.initializer)
    live = 5 * max(sizes.values())  # x, residual, the convolution's result, copies in its order
    return 4 * (sampled + 2 * weights + live) + _LIBRARIES


def _sizes(plain: ModelProto) -> dict[str, int]:
    """Return the number of elements of each tensor, for one volume."""
    graph = onnx.shape_inference.infer_shapes(plain).graph
    return {
        value.name: int(np.prod([d.dim_value or 1 for d in value.type.tensor_type.shape.dim]))
        for value in (*graph.input, *graph.value_info)
    }


def _with_samples(model: ModelProto, tensors: Sequence[str]) -> ModelProto:
    """Return the graph with the extremes, sums and samples of tensors as its outputs."""
    plain = inlined(model)
    sizes = _sizes(plain)
    plain.graph.initializer.extend(
        from_array(np.array(value, np.int64), f"sampling.{name}")
        for name, value in _EVERY_SECOND.items()
    )
    slicing = [f"sampling.{name}" for name in _EVERY_SECOND]
    watchers = {}
    for tensor in tensors:
        whole = sizes[tensor] <= _SAMPLED_FROM
        operator, inputs = ("Identity", [tensor]) if whole else ("Slice", [tensor, *slicing])
        sample = make_node(operator, inputs, [f"{tensor}.sample"])
        watchers[tensor] = [*_reductions(tensor, (*_EXTREMES, "ReduceSum")), sample]
    return _watching(plain, watchers)


def _reductions(tensor: str, operators: Sequence[str]) -> list[NodeProto]:
    return [make_node(o, [tensor], [f"{tensor}.{o}"], keepdims=0) for o in operators]


def _watching(plain: ModelProto, watchers: Mapping[str, Sequence[NodeProto]]) -> ModelProto:
    """Put nodes behind the tensors that they watch; their results become the only outputs."""
    graph = plain.graph
    nodes = list(graph.node)
    del graph.node[:], graph.output[:]

    def watch(tensors: Iterable[str]) -> None:
        for watcher in (w for tensor in tensors for w in watchers.get(tensor, ())):
            graph.node.append(watcher)
            graph.output.extend(map(make_empty_tensor_value_info, watcher.output))

    watch(given.name for given in graph.input)
    for node in nodes:
        graph.node.append(node)
        watch(node.output)
    return plain


def _open_session(model: ModelProto, threads: int | None) -> Any:
    """Open a watched graph in ONNX Runtime on the CPU."""
    onnxruntime = import_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    # A watcher runs right behind its map, so that no map is kept until the graph's end.
    options.execution_order = onnxruntime.ExecutionOrder.PRIORITY_BASED
    options.enable_cpu_mem_arena = False  # it would keep each map's memory, about twice as much
    if threads is not None:
        options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def _outputs(session: Any, volume: npt.NDArray[np.float32]) -> list[npt.NDArray[np.float32]]:
    found: list[npt.NDArray[np.float32]] = session.run(
        None, {session.get_inputs()[0].name: volume[None]}
    )
    return found


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
