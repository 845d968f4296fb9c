"""A GPU that the host simulates, with its order of events, and a TensorRT that runs ONNX files.

Work in a stream runs when something waits for it, as late as allowed: code that relies on an order
without waiting for it finds buffers that were overwritten or never filled. With `late=False` work
runs at once.
"""

from __future__ import annotations

import ctypes
import json
import time
import weakref
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import ClassVar

import numpy as np

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
    happened: float | None = None


class HostDevice:
    """A `CudaDevice` in the host's memory."""

    name = "Host"
    open = 0

    def __init__(self, capability=(8, 9), late=True, extra=""):
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
        assert size > 0
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
        event.happened = None

        def happen():
            event.happened = time.perf_counter()

        stream.add(happen)
        event.stream, event.position = stream, stream.added

    def elapsed_ms(self, start, end):
        assert self.inside
        assert None not in (start.happened, end.happened), "device not ready"
        return 1000 * (end.happened - start.happened)

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
CALLS: list[str] = []
"""What was called of contexts and graphs, in order."""


class HostGraph:
    """A `CudaGraph`; `refuse` makes it fail as a capture does that CUDA does not allow."""

    refuse = False
    launches = 0

    def __init__(self, stream, enqueue):
        self.stream = STREAMS[stream]
        self.stream.capture = self.work = []
        CALLS.append("begin capture")
        try:
            if not enqueue():
                raise DeviceError("the engine cannot be captured")
        finally:
            self.stream.capture = None
            CALLS.append("end capture")
        if self.refuse:
            raise cuda_failed("operation not permitted when stream is capturing")

    def launch(self):
        HostGraph.launches += 1
        CALLS.append("launch graph")
        for work in self.work:
            self.stream.add(work)

    def close(self):
        assert not self.stream.waiting, "it may be running"
        self.work.clear()


LAYERS = {
    "__myl_Move_myl0_0": 0.5,
    "stem.0_myl0_1": 1.0,
    "stages.0.0.conv1_myl0_2": 2.0,
    "__myl_TranMean_myl0_4": 0.25,
    "__myl_ReshMulReshMulAddRelu_myl0_10": 0.75,
    "stages.0.1.conv1_myl0_11": 2.5,
}
"""The layers of a plan, and the ms that each takes; TensorRT-RTX 1.7's names."""
INSPECTED = {
    "json": json.dumps(
        {
            "Layers": [
                {"Name": "__myl_Move_myl0_0", "LayerType": "kgen"},
                {
                    "Name": "stem.0_myl0_1",
                    "LayerType": "correlation",
                    "TacticName": "sm89_xmma",
                    "Metadata": "[ONNX Layer: stem.0][ONNX Layer: stem.1.relu]",
                },
                {
                    "Name": "__myl_TranMean_myl0_4",
                    "LayerType": "kgen",
                    "Metadata": "[ONNX Layer: x_fp32_ndhwc__1]\x1f[ONNX Layer: z_ndc__1]",
                },
                {
                    "Name": "__myl_ReshMulReshMulAddRelu_myl0_10",
                    "LayerType": "kgen",
                    "Metadata": "[ONNX Layer: depth_gates__1][ONNX Layer: x_gated__1]",
                },
            ],
            "Bindings": ["volume", "cam"],
        }
    )
}
"""What the engine's inspector says, by format."""
BYTES_OF_A_VOLUME = 4096  # of activations


class _Context:
    alive: ClassVar[weakref.WeakSet] = weakref.WeakSet()

    def __init__(self, engine):
        self.engine = engine
        self.profile = 0
        self.memory, self.size = 0, 0
        _Context.alive.add(self)
        self.addresses = {}
        self.n = None
        self.error_recorder = None
        self.profiler = None

    def set_optimization_profile_async(self, index, stream):
        assert stream in STREAMS
        CALLS.append("set_optimization_profile_async")
        self.profile = index
        return True

    def set_device_memory(self, memory, size):
        CALLS.append("set_device_memory")
        self.memory, self.size = memory, size

    def is_stream_capturable(self, stream):
        CALLS.append("is_stream_capturable")
        assert STREAMS[stream].capture is None
        return not self.engine.allocates

    def set_tensor_address(self, name, address):
        CALLS.append("set_tensor_address")
        self.addresses[name] = address
        return True

    def set_input_shape(self, name, shape):
        CALLS.append("set_input_shape")
        low, _, high = self.engine.get_tensor_profile_shape(name, self.profile)
        if not low[0] <= shape[0] <= high[0]:
            return False
        self.n = shape[0]
        return True

    def execute_async_v3(self, stream):
        CALLS.append("execute_async_v3")
        if self.engine.broken or (self.engine.uncapturable and STREAMS[stream].capture is not None):
            self.error_recorder.report_error("code", "the plugin's own words")
            self.engine.logger.log("error", "an internal fault")
            return False
        n = self.n
        assert n * BYTES_OF_A_VOLUME <= self.size

        def run():
            if self.size:
                ctypes.memset(self.memory, 0xFF, self.size)
            d, h, w = self.engine.size
            volume = _floats(self.addresses["volume"], (n, 1, d, h, w)).copy()
            for name, value in zip(
                self.engine.outputs,
                self.engine.session.run(self.engine.outputs, {"volume": volume}),
                strict=True,
            ):
                _floats(self.addresses[name], value.shape)[...] = value

        STREAMS[stream].add(run)
        if self.profiler is not None:
            STREAMS[stream].run_to(STREAMS[stream].added)
            for name, ms in self.engine.layers.items():
                self.profiler.report_layer_time(name, ms)
        return True


def _floats(address, shape):
    block = (ctypes.c_float * int(np.prod(shape))).from_address(address)
    return np.frombuffer(block, np.float32).reshape(shape)


class _Engine:
    alive: ClassVar[weakref.WeakSet] = weakref.WeakSet()

    def __init__(self, logger, content, profiles):
        import onnx  # here, because `make gpu` uses the streams and events without these packages
        import onnxruntime

        self.logger = logger
        self.session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        graph = onnx.load_from_string(content).graph
        self.size = tuple(d.dim_value for d in graph.input[0].type.tensor_type.shape.dim)[2:]
        self.profiles = profiles
        self.broken = False
        self.uncapturable = False
        self.layers = LAYERS
        self.allocates = False  # memory while it runs, as plans without REQUIRE_USER_ALLOCATION do
        self.outputs = [o.name for o in graph.output]
        self.features = graph.output[-1].type.tensor_type.shape.dim[1].dim_value
        self.num_io_tensors = 1 + len(self.outputs)
        self.num_optimization_profiles = len(profiles) or 1
        _Engine.alive.add(self)

    def get_tensor_name(self, index):
        return ("cam", "volume", "logits", "features")[index]

    def get_tensor_dtype(self, name):
        return SimpleNamespace(name="FLOAT")

    def get_tensor_shape(self, name):
        d, h, w = self.size
        n = -1 if self.profiles else 1
        shapes = {
            "volume": (1, d, h, w),
            "logits": (3,),
            "cam": (3, d // 8, h // 16, w // 16),
            "features": (self.features,),
        }
        return (n, *shapes[name])

    def get_tensor_profile_shape(self, name, index):
        ranges = self.profiles or ((1, 1, 1),)
        return [(n, 1, *self.size) for n in ranges[index]]

    def largest_batch(self, index):
        return self.get_tensor_profile_shape("volume", index)[2][0]

    def get_device_memory_size_for_profile_v2(self, index):
        return BYTES_OF_A_VOLUME * self.largest_batch(index)

    def create_execution_context(self, config):
        CALLS.append("create_execution_context")
        assert config.strategy == "user managed"
        assert getattr(config, "cuda_graph_strategy", "disabled") == "disabled"
        if config.cache is not None:
            config.cache.kernels.add("compiled for a context")
        return _Context(self)

    def create_runtime_config(self):
        return _RuntimeConfig()

    def create_engine_inspector(self):
        return SimpleNamespace(get_engine_information=lambda kind: INSPECTED[kind])


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

    class IProfiler:
        def __init__(self):
            self.ready = True

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
        IProfiler=IProfiler,
        LayerInformationFormat=SimpleNamespace(JSON="json"),
        Runtime=Runtime,
        ExecutionContextAllocationStrategy=SimpleNamespace(USER_MANAGED="user managed"),
        CudaGraphStrategy=SimpleNamespace(DISABLED="disabled"),
        DynamicShapesKernelSpecializationStrategy=SimpleNamespace(EAGER="eager"),
        ProfilingVerbosity=SimpleNamespace(NONE="none"),
    )


def activations():
    """Of how many volumes each context has memory for the activations."""
    return sorted(context.size // BYTES_OF_A_VOLUME for context in _Context.alive)


def engines_alive():
    """How many engines were not freed."""
    return len(_Engine.alive)
