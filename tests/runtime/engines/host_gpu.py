"""A GPU that the host simulates, with its order of events, and a TensorRT that runs ONNX files.

Work in a stream runs when something waits for it, as late as allowed: code that relies on an order
without waiting for it finds buffers that were overwritten or never filled. With `late=False` work
runs at once.
"""

from __future__ import annotations

import ctypes
import json
import weakref
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import onnx
import onnxruntime

from darnet_trt.errors import DeviceError
from darnet_trt.runtime.engines.cuda.device import cuda_failed


@dataclass(eq=False)
class HostStream:
    late: bool
    waiting: list[Callable[[], None]] = field(default_factory=list)
    added: int = 0
    ran: int = 0
    capture: list[Callable[[], None]] | None = None

    def add(self, work: Callable[[], None]) -> None:
        if self.capture is not None:
            self.capture.append(work)
            return
        self.waiting.append(work)
        self.added += 1
        if not self.late:
            self.run_to(self.added)

    def run_to(self, position: int) -> None:
        while self.ran < position:
            self.waiting.pop(0)()
            self.ran += 1


@dataclass(eq=False)
class HostEvent:
    stream: HostStream | None = None
    position: int = 0


class HostDevice:
    """A `CudaDevice` in the host's memory."""

    name = "Host"
    open = 0

    def __init__(self, capability=(8, 9), late=True):
        self.capability = capability
        self.provenance = {"host": "1"}
        self.late = late
        self.memory = []
        self.inside = 0
        self.failed = False

    @contextmanager
    def current(self):
        if self.failed:
            raise cuda_failed("an illegal memory access was encountered")
        self.inside += 1
        yield
        self.inside -= 1

    def allocate(self, size):
        assert self.inside
        return self.pinned(size // 4).ctypes.data

    def pinned(self, shape):
        if not self.memory:
            HostDevice.open += 1
        self.memory.append(np.full(shape, np.nan, np.float32))
        return self.memory[-1]

    def stream(self):
        stream = HostStream(self.late)
        STREAMS[id(stream)] = stream
        return stream

    def event(self):
        return HostEvent()

    def handle(self, stream):
        return id(stream)

    def _copy(self, target, source, size, stream):
        assert self.inside
        stream.add(lambda: ctypes.memmove(target, source, size))

    def upload(self, target, source, stream):
        assert source.flags.c_contiguous
        self._copy(target, source.ctypes.data, source.nbytes, stream)

    def move(self, target, source, size, stream):
        self._copy(target, source, size, stream)

    def download(self, target, source, stream):
        assert target.flags.c_contiguous
        self._copy(target.ctypes.data, source, target.nbytes, stream)

    def record(self, event, stream):
        event.stream, event.position = stream, stream.added

    def wait(self, stream, event):
        other, position = event.stream, event.position
        stream.add(lambda: other.run_to(position))

    def synchronize(self, event):
        event.stream.run_to(event.position)

    def finish(self, stream):
        stream.run_to(stream.added)

    def close(self):
        with self.current():
            pass
        if self.memory:
            HostDevice.open -= 1
        for array in self.memory:
            array[...] = np.nan
        self.memory.clear()


STREAMS: dict[int, HostStream] = {}


class HostGraph:
    """A `CudaGraph`; `refuse` makes it fail as a capture does that CUDA does not allow."""

    refuse = False
    launches = 0

    def __init__(self, stream, enqueue):
        self.stream = STREAMS[stream]
        self.stream.capture = self.work = []
        try:
            if not enqueue():
                raise DeviceError("the engine cannot be captured")
        finally:
            self.stream.capture = None
        if self.refuse:
            raise cuda_failed("operation not permitted when stream is capturing")

    def launch(self):
        HostGraph.launches += 1
        for work in self.work:
            self.stream.add(work)

    def close(self):
        assert not self.stream.waiting, "it may be running"
        self.work.clear()


class _Context:
    alive: ClassVar[weakref.WeakSet] = weakref.WeakSet()

    def __init__(self, engine, strategy):
        self.engine = engine
        self.strategy = strategy
        self.profile = 0
        # Of how many volumes it has the activations; on a change of profile those of that profile.
        indices = range(engine.num_optimization_profiles) if strategy == "static" else ()
        self.activations = max((engine.largest_batch(index) for index in indices), default=0)
        _Context.alive.add(self)
        self.addresses = {}
        self.n = None
        self.error_recorder = None

    def set_optimization_profile_async(self, index, stream):
        assert stream in STREAMS
        self.profile = index
        if self.strategy == "on profile change":
            self.activations = self.engine.largest_batch(index)
        return True

    def set_tensor_address(self, name, address):
        self.addresses[name] = address
        return True

    def set_input_shape(self, name, shape):
        low, _, high = self.engine.get_tensor_profile_shape(name, self.profile)
        if not low[0] <= shape[0] <= high[0]:
            return False
        self.n = shape[0]
        return True

    def execute_async_v3(self, stream):
        if self.engine.broken or (self.engine.uncapturable and STREAMS[stream].capture is not None):
            self.error_recorder.report_error("code", "the plugin's own words")
            self.engine.logger.log("error", "an internal fault")
            return False
        n = self.n
        assert n <= self.activations

        def run():
            d, h, w = self.engine.size
            volume = _floats(self.addresses["volume"], (n, 1, d, h, w)).copy()
            for name, value in zip(
                ("logits", "cam"),
                self.engine.session.run(["logits", "cam"], {"volume": volume}),
                strict=True,
            ):
                _floats(self.addresses[name], value.shape)[...] = value

        STREAMS[stream].add(run)
        return True


def _floats(address, shape):
    block = (ctypes.c_float * int(np.prod(shape))).from_address(address)
    return np.frombuffer(block, np.float32).reshape(shape)


class _Engine:
    alive: ClassVar[weakref.WeakSet] = weakref.WeakSet()

    def __init__(self, logger, content, profiles):
        self.logger = logger
        self.session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        graph = onnx.load_from_string(content).graph
        self.size = tuple(d.dim_value for d in graph.input[0].type.tensor_type.shape.dim)[2:]
        self.profiles = profiles
        self.broken = False
        self.uncapturable = False
        self.num_io_tensors = 3
        self.num_optimization_profiles = len(profiles) or 1
        _Engine.alive.add(self)

    def get_tensor_name(self, index):
        return ("cam", "volume", "logits")[index]

    def get_tensor_dtype(self, name):
        return SimpleNamespace(name="FLOAT")

    def get_tensor_shape(self, name):
        d, h, w = self.size
        n = -1 if self.profiles else 1
        shapes = {"volume": (1, d, h, w), "logits": (3,), "cam": (3, d // 8, h // 16, w // 16)}
        return (n, *shapes[name])

    def get_tensor_profile_shape(self, name, index):
        ranges = self.profiles or ((1, 1, 1),)
        return [(n, 1, *self.size) for n in ranges[index]]

    def largest_batch(self, index):
        return self.get_tensor_profile_shape("volume", index)[2][0]

    def create_execution_context(self, how):
        if not isinstance(how, _RuntimeConfig):
            return _Context(self, how)
        if how.cache is not None:
            how.cache.kernels.add("compiled for a context")
        return _Context(self, how.strategy)

    def create_runtime_config(self):
        return _RuntimeConfig()


class _RuntimeConfig:
    cache = None
    strategy = "static"

    def set_execution_context_allocation_strategy(self, strategy):
        self.strategy = strategy

    def create_runtime_cache(self):
        return HostRuntimeCache()

    def set_runtime_cache(self, cache):
        self.cache = cache


class HostRuntimeCache:
    """An `IRuntimeCache`; `taken` says what came of each that was read."""

    taken: ClassVar[list[bool]] = []

    def __init__(self):
        self.kernels = set()

    def serialize(self):
        return memoryview(json.dumps(sorted(self.kernels)).encode())

    def deserialize(self, blob):
        try:
            self.kernels.update(json.loads(blob))
        except ValueError:
            self.taken.append(False)
            return False
        self.taken.append(True)
        return True


def tensorrt(version="10.13.2", profiles=()):
    """A module like `tensorrt`, whose plans are ONNX files."""

    class ILogger:
        ERROR, INTERNAL_ERROR = "error", "internal"

    class IErrorRecorder:
        pass

    class Runtime:
        def __init__(self, logger):
            self.logger = logger

        def deserialize_cuda_engine(self, plan):
            try:
                return _Engine(self.logger, plan, profiles)
            except Exception as error:
                self.logger.log("error", f"no plan:\n{type(error).__name__}")
                return None

    return SimpleNamespace(
        __version__=version,
        ILogger=ILogger,
        IErrorRecorder=IErrorRecorder,
        Runtime=Runtime,
        ExecutionContextAllocationStrategy=SimpleNamespace(
            STATIC="static", ON_PROFILE_CHANGE="on profile change"
        ),
        CudaGraphStrategy=SimpleNamespace(WHOLE_GRAPH_CAPTURE=1),
    )


def activations():
    """Of how many volumes each context has memory for the activations."""
    return sorted(context.activations for context in _Context.alive)


def engines_alive():
    """How many engines were not freed."""
    return len(_Engine.alive)
