"""An execution context of a TensorRT plan, and the CUDA graph of what it enqueues."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from darnet_trt.errors import DeviceError, MissingPackageError
from darnet_trt.runtime.engines.cuda.graph import CudaGraph
from darnet_trt.runtime.engines.tensorrt.plan import LoadedPlan

__all__ = ["Graphs", "Lane"]


@dataclass(eq=False)
class Graphs:
    """What one worker's lanes do about CUDA graphs.

    Attributes:
        wanted: They launch them; no more after one that could not be captured.
        state: In words: captured, by whom, or why not.
    """

    wanted: bool
    state: str


class Lane:
    """A context on one optimization profile, with the engine's input and outputs at fixed places.

    Args:
        plan: It belongs to.
        profile: Index of it; None where the plan has only one.
        addresses: By tensor.
        stream: Handle of the stream that it runs in.
        graphs: Shared with the worker's other lanes.

    Raises:
        BundleError: TensorRT gives no context.
        DeviceError: It refuses something, as do the methods.
    """

    def __init__(
        self,
        plan: LoadedPlan,
        profile: int | None,
        addresses: Mapping[str, int],
        stream: int,
        graphs: Graphs,
    ) -> None:
        self._plan = plan
        self._stream = stream
        self._graphs = graphs
        self._runs = 0  # with the present shape
        self._graph: CudaGraph | None = None
        self.shape: tuple[int, ...] = ()
        self._context: Any = plan.create_context(graph=graphs.wanted)
        if profile is not None:
            taken = self._context.set_optimization_profile_async(profile, stream)
            self._take(taken, "its own profile")
        for name, address in addresses.items():
            self._take(self._context.set_tensor_address(name, address), f"an address of {name}")

    def reshape(self, name: str, shape: tuple[int, ...]) -> None:
        """Set the input's shape; nothing may be running."""
        if self._graph is not None:
            self._graph.close()
            self._graph = None
        self.shape, self._runs = (), 0
        self._take(self._context.set_input_shape(name, shape), f"the shape {shape}")
        self.shape = shape

    def enqueue(self) -> None:
        """The kernels; from the second run with the same shape on as one graph.

        The first run does what a capture must not see: it loads kernels and takes memory.
        """
        if self._runs == 1 and self._graphs.wanted and not self._plan.captures_itself:
            self._graph = self._capture()
        self._runs += 1
        if self._graph is not None:
            self._graph.launch()
        else:
            self._take(self._execute(), "the batch")

    def _execute(self) -> bool:
        return bool(self._context.execute_async_v3(self._stream))

    def _capture(self) -> CudaGraph | None:
        try:
            graph = CudaGraph(self._stream, self._execute)
        except (DeviceError, MissingPackageError) as error:
            # Asked for now, TensorRT's part in it is not taken for a later failure's reason.
            reasons = filter(None, [error.what, self._plan.messages.told()])
            self._graphs.wanted, self._graphs.state = False, f"off: {' | '.join(reasons)}"
            return None
        self._graphs.state = "captured"
        return graph

    def _take(self, taken: bool, what: str) -> None:
        """Raise where TensorRT refused something."""
        if not taken:
            reason = self._plan.messages.reason()
            raise DeviceError(f"{self._plan.backend} does not take {what} ({reason})")

    def close(self) -> None:
        """Free the graph and the context; nothing may be running."""
        if self._graph is not None:
            self._graph.close()
        self._graph = self._context = None
