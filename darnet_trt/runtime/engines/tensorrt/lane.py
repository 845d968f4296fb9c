"""An execution context of a TensorRT plan, and the CUDA graph of its work."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from darnet_trt.errors import DeviceError, MissingPackageError
from darnet_trt.runtime.engines.cuda.graph import CudaGraph
from darnet_trt.runtime.engines.tensorrt.plan import LoadedPlan


@dataclass(eq=False)
class Graphs:
    """The use of CUDA graphs by the lanes of a runner.

    Attributes:
        state: In words: captured, or why not.
        wanted: Whether to capture; false after one that could not be captured.
    """

    state: str
    wanted: bool = True


class Lane:
    """A context on one optimization profile, with input and outputs at fixed addresses.

    Args:
        plan: The plan.
        profile: Index of the profile.
        addresses: Tensor → address on the GPU.
        activations: Address of `plan.activations(profile)` bytes on the GPU.
        stream: Handle of the stream to run in.
        graphs: Shared with the runner's other lanes.

    Raises:
        BundleError: TensorRT cannot create the context.
        DeviceError: TensorRT refuses a setting; the methods raise it too.
    """

    def __init__(
        self,
        plan: LoadedPlan,
        profile: int,
        addresses: Mapping[str, int],
        activations: int,
        stream: int,
        graphs: Graphs,
    ) -> None:
        self._plan = plan
        self._stream = stream
        self._graphs = graphs
        self._runs = 0  # with the present shape
        self._graph: CudaGraph | None = None
        self.shape: tuple[int, ...] = ()
        self._context: Any = plan.create_context()
        if plan.engine.num_optimization_profiles > 1:
            taken = self._context.set_optimization_profile_async(profile, stream)
            self._take(taken, "its own profile")
        self._context.set_device_memory(activations, plan.activations(profile))
        for name, address in addresses.items():
            self._take(self._context.set_tensor_address(name, address), f"an address of {name}")

    def reshape(self, name: str, shape: tuple[int, ...]) -> None:
        """Set the input's shape; no work may be running."""
        if self._graph is not None:
            self._graph.close()
            self._graph = None
        self.shape, self._runs = (), 0
        self._take(self._context.set_input_shape(name, shape), f"the shape {shape}")
        self.shape = shape

    def enqueue(self) -> None:
        """Queue the kernels, from the second run with the same shape on as one graph.

        The first run cannot be captured, because it loads kernels and allocates memory.
        """
        if self._runs == 1 and self._graphs.wanted:
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
            if not self._plan.capturable(self._context, self._stream):
                raise DeviceError(f"{self._plan.backend} says that this plan cannot be captured")
            graph = CudaGraph(self._stream, self._execute)
        except (DeviceError, MissingPackageError) as error:
            # Take TensorRT's messages now, so that no later failure is explained with them.
            reasons = filter(None, [error.what, self._plan.messages.take()])
            self._graphs.wanted, self._graphs.state = False, f"off: {' | '.join(reasons)}"
            return None
        self._graphs.state = "captured"
        return graph

    def _take(self, taken: bool, what: str) -> None:
        """Raise if TensorRT refused something."""
        if not taken:
            reason = self._plan.messages.reason()
            raise DeviceError(f"{self._plan.backend} refused {what} ({reason})")

    def close(self) -> None:
        """Free the graph and the context; no work may be running."""
        if self._graph is not None:
            self._graph.close()
        self._graph = self._context = None
