"""Run a plan of TensorRT or TensorRT-RTX on the GPU, and copy while it computes.

A batch that is larger than the plan's is divided into parts. One part is copied to the GPU while
the part before it is computed. Each part goes the same way:

    host ─► pinned memory ─► staging ─► the engine's input ─► outputs ─► pinned memory ─► host
                    (copies' stream)  (the engine's stream, in order)

The engine's input and outputs have one fixed address each, because a captured CUDA graph keeps
addresses. There are two sets of all other buffers.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from itertools import cycle, pairwise
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from darnet_trt.bundle.manifest import Artifact
from darnet_trt.errors import DeviceError, UsageError
from darnet_trt.runtime.engines.cuda.device import Event, Stream
from darnet_trt.runtime.engines.runner import Outputs
from darnet_trt.runtime.engines.tensorrt.gpu import CudaDevice, open_device
from darnet_trt.runtime.engines.tensorrt.lane import Graphs, Lane
from darnet_trt.runtime.engines.tensorrt.plan import LoadedPlan, load_plan, read_back
from darnet_trt.runtime.engines.tensorrt.shapes import parts, read_shapes

MAX_BATCH: Final = 64
"""Largest batch of a runner. It is divided into parts of the plan's largest batch; a part below the
plan's smallest batch is filled up."""

_FLOAT_BYTES: Final = 4


@dataclass(eq=False)
class _Slot:
    """One of the two sets of buffers, for the largest part.

    Attributes:
        volume: Pinned host memory, (n, 1, d, h, w).
        staging: Address of GPU memory of the same size.
        outputs: Name → pinned host memory.
        begun: Event: the copy to the GPU begins.
        uploaded: Event: the staging memory is filled.
        computed: Event: the engine's outputs are there.
        done: Event: the outputs are on the host.
    """

    volume: npt.NDArray[np.float32]
    staging: int
    outputs: dict[str, npt.NDArray[np.float32]]
    begun: Event
    uploaded: Event
    computed: Event
    done: Event


class GpuTimes(NamedTuple):
    """Split the GPU's time of one part, between CUDA events, in ms.

    Attributes:
        to_gpu: Copy of the volumes from pinned host memory.
        compute: Copy to the engine's input, and the engine.
        to_host: Copy of the outputs.
    """

    to_gpu: float
    compute: float
    to_host: float


class TensorRTRunner:
    """A plan with its contexts, streams and buffers. Use it from one thread at a time.

    If a CUDA graph cannot be captured, `provenance["cuda_graph"]` has the reason, and the kernels
    are queued one by one.

    Args:
        plan: The loaded plan, which `close` frees.
        precision: From `plan.read_back`.

    Raises:
        MissingPackageError: The package for GPU memory is not installed.
        DeviceError: There is no GPU, or too little memory.
        BundleError: The plan is of another network.
    """

    def __init__(self, plan: LoadedPlan, *, precision: str) -> None:
        self.backend: str = plan.backend
        self.precision = precision
        self._plan: LoadedPlan | None = plan
        self._graphs = Graphs(state="not captured yet")
        self._lanes: dict[int, Lane] = {}
        self._slots: list[_Slot] = []
        self._last: _Slot | None = None  # whose part came back last
        self._streams: tuple[Stream, ...] = ()
        self._device: CudaDevice | None = None
        try:
            self._shapes = read_shapes(plan.engine)
            device = self._device = open_device(plan.backend)
            with device.current():
                self._allocate(device)
        except BaseException:
            self.close()
            raise
        self.batch = (1, max(MAX_BATCH, self._shapes.batch[1]))
        self.input_size = self._shapes.size
        self.classes = self._shapes.classes
        self.provenance = {
            plan.backend: plan.trt.__version__,
            "device": device.name,
            "compute_capability": "{}.{}".format(*device.capability),
            **device.provenance,
            "cuda_graph": self._graphs.state,
        }

    def _allocate(self, device: CudaDevice) -> None:
        self._streams = self._copies, self._compute = device.stream(), device.stream()
        shapes = self._shapes
        largest = shapes.batch[1]
        volume = (largest, 1, *shapes.size)
        outputs = {name: (largest, *shape) for name, shape in shapes.outputs.items()}
        self._addresses = {
            name: device.allocate(_FLOAT_BYTES * math.prod(shape))
            for name, shape in {shapes.volume: volume, **outputs}.items()
        }
        self._slots = [
            _Slot(
                device.pinned(volume),
                device.allocate(_FLOAT_BYTES * math.prod(volume)),
                {name: device.pinned(shape) for name, shape in outputs.items()},
                *(device.event() for _ in range(4)),
            )
            for _ in range(2)
        ]

    def infer(self, batch: npt.NDArray[np.float32]) -> Outputs:
        """Run volumes of shape (n, 1, d, h, w), n within `batch`.

        Raises:
            UsageError: The volumes have another size than the plan's.
            DeviceError: The GPU failed.
        """
        if batch.shape[1:] != (1, *self.input_size):
            raise UsageError(f"expected volumes (n, 1, *{self.input_size}), found {batch.shape}")
        plan, device = self._opened()
        results = {
            name: np.empty((len(batch), *shape), np.float32)
            for name, shape in self._shapes.outputs.items()
        }
        running: deque[tuple[_Slot, slice]] = deque()

        def collect() -> None:
            slot, part = running.popleft()
            device.synchronize(slot.done)
            self._last = slot
            for name, result in results.items():
                result[part] = slot.outputs[name][: part.stop - part.start]

        slots = cycle(self._slots)
        with device.current():
            try:
                smallest, largest = self._shapes.batch
                for part in parts(len(batch), smallest, largest):
                    if len(running) == len(self._slots):
                        collect()  # the part in the next slot
                    size = max(part.stop - part.start, smallest)
                    lane = self._lane(plan, device, size)
                    shape = (size, 1, *self.input_size)
                    if lane.shape != shape:
                        while running:  # no work may run while the shape changes
                            collect()
                        lane.reshape(self._shapes.volume, shape)
                    slot = next(slots)
                    self._start(device, slot, lane, batch[part])
                    running.append((slot, part))
                while running:
                    collect()
            except BaseException:
                self._settle(device)
                raise
        return Outputs(**results)

    def gpu_times(self) -> GpuTimes:
        """Return the times of the last part of the last `infer`.

        Raises:
            DeviceError: The GPU failed.
        """
        _, device = self._opened()
        assert self._last is not None, "nothing was inferred"
        slot = self._last
        events = (slot.begun, slot.uploaded, slot.computed, slot.done)
        with device.current():
            return GpuTimes(*(device.elapsed_ms(*pair) for pair in pairwise(events)))

    def without_graphs(self) -> None:
        """Queue the kernels one by one from the first run on."""
        self._graphs.wanted, self._graphs.state = False, "off: as asked"
        self.provenance["cuda_graph"] = self._graphs.state

    def profile(self, heard: Callable[[str, float], None]) -> str:
        """Call `heard` with each layer's name and ms after a run, and queue kernels one by one.

        Call it before the first run. Each run then waits for its end.

        Returns:
            The plan's layers as JSON.
        """
        self.without_graphs()
        plan, _ = self._opened()
        return plan.profile(heard)

    def _opened(self) -> tuple[LoadedPlan, CudaDevice]:
        assert self._plan is not None, "the runner is closed"
        assert self._device is not None
        return self._plan, self._device

    def _start(
        self, device: CudaDevice, slot: _Slot, lane: Lane, volumes: npt.NDArray[np.float32]
    ) -> None:
        """Queue all work of one part in the streams.

        If the part has fewer volumes than the plan's smallest batch, the rest are left-overs in the
        memory, and their results are dropped.
        """
        size = lane.shape[0]
        pinned = slot.volume[:size]
        pinned[: len(volumes)] = volumes
        device.record(slot.begun, self._copies)
        device.upload(slot.staging, pinned, self._copies)
        device.record(slot.uploaded, self._copies)
        device.wait(self._compute, slot.uploaded)
        device.move(
            self._addresses[self._shapes.volume], slot.staging, pinned.nbytes, self._compute
        )
        lane.enqueue()
        device.record(slot.computed, self._compute)
        self.provenance["cuda_graph"] = self._graphs.state
        for name, output in slot.outputs.items():
            device.download(output[:size], self._addresses[name], self._compute)
        device.record(slot.done, self._compute)

    def _lane(self, plan: LoadedPlan, device: CudaDevice, size: int) -> Lane:
        """Return the lane on the narrowest profile for a part of that size."""
        index = self._shapes.profile_for(size)
        if index not in self._lanes:
            memory = plan.activations(index)
            self._lanes[index] = Lane(
                plan,
                index,
                self._addresses,
                device.allocate(memory) if memory else 0,  # pycuda refuses 0 bytes
                device.handle(self._compute),
                self._graphs,
            )
        return self._lanes[index]

    def _settle(self, device: CudaDevice) -> None:
        """Wait until the buffers are not in use, after a failure that is already being raised."""
        for stream in self._streams:
            with suppress(DeviceError):
                device.finish(stream)

    def close(self) -> None:
        """Free graphs, contexts, the engine, buffers and streams.

        It raises nothing if the GPU has failed: the failed call has raised that.
        """
        plan, self._plan = self._plan, None
        if plan is None:
            return
        if self._device is None:
            plan.close()
            return
        with suppress(DeviceError), ExitStack() as current:
            with suppress(DeviceError):  # free the rest even if the GPU has failed
                current.enter_context(self._device.current())
            self._settle(self._device)
            while self._lanes:
                _, lane = self._lanes.popitem()
                lane.close()
            self._slots.clear()
            self._last = None
            plan.close()
            self._device.close()


def open_plan(artifact: Artifact, file: Path) -> TensorRTRunner:
    """Load a plan.

    Raises:
        MissingPackageError: A package to run it is not installed.
        DeviceError: There is no GPU or no driver, or too little memory.
        BundleError: The plan is for another version, GPU or plugin, or cannot be loaded.
    """
    return TensorRTRunner(load_plan(artifact, file), precision=read_back(artifact))
