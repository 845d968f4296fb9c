"""Load a TensorRT plan."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from darnet_trt.bundle.manifest import Artifact, Precision
from darnet_trt.errors import BundleError
from darnet_trt.kernels.driver import driver_cuda_version
from darnet_trt.runtime.engines.tensorrt.gpu import open_device
from darnet_trt.runtime.engines.tensorrt.kernel_cache import RuntimeCache, file_for
from darnet_trt.runtime.engines.tensorrt.messages import Messages
from darnet_trt.runtime.engines.tensorrt.package import TensorRTBackend, import_tensorrt
from darnet_trt.runtime.engines.tensorrt.preflight import (
    check_target,
    check_version,
    needed_library,
)


class LoadedPlan:
    """An engine with its runtime, until `close`.

    Args:
        trt: The package.
        backend: "tensorrt" or "tensorrt-rtx".
        plan: The plan's bytes.
        library: The plugin's library, to register first.
        cache: The file of TensorRT-RTX's runtime cache; None: no cache.
        host_code: Allow CPU code in the plan: a plugin library, or the runtime of a
            version-compatible plan. TensorRT refuses it by default.

    Attributes:
        trt: The package.
        backend: "tensorrt" or "tensorrt-rtx".
        engine: The `ICudaEngine`.
        messages: Errors of the engine and its contexts.

    Raises:
        BundleError: TensorRT refuses the library or the plan; has its reason.
    """

    def __init__(
        self,
        trt: Any,
        backend: TensorRTBackend,
        plan: bytes,
        *,
        library: Path | None = None,
        cache: Path | None = None,
        host_code: bool = False,
    ) -> None:
        self.trt = trt
        self.backend = backend
        self.messages = Messages(trt)
        self._runtime: Any = trt.Runtime(self.messages.logger)
        self._runtime.error_recorder = self.messages.recorder
        if library is not None:
            # The runtime's own registry: that of the process would refuse a second library.
            registered = self._runtime.get_plugin_registry().load_library(str(library))
            if registered is None:
                raise BundleError(
                    f"{backend} refuses the plugin ({self.messages.reason()})", where=library
                )
        if host_code:
            self._runtime.engine_host_code_allowed = True
        self.engine: Any = self._runtime.deserialize_cuda_engine(plan)
        if self.engine is None:
            raise BundleError(
                f"{backend} {trt.__version__} cannot load the plan ({self.messages.reason()})",
                do="build the bundle again on this machine with: darnet-trt build",
            )
        self._profiler: Any = None
        self._config = self._runtime_config()
        self._cache = None if cache is None else RuntimeCache(self._config, cache)

    def _runtime_config(self) -> Any:
        """Return the `IRuntimeConfig` of all contexts.

        The caller supplies the memory for activations: TensorRT-RTX then lets it capture a
        context's work as a CUDA graph. Its own graphs stay off: it drops them where a plan has
        plugins.
        """
        config = self.engine.create_runtime_config()
        strategies = self.trt.ExecutionContextAllocationStrategy
        config.set_execution_context_allocation_strategy(strategies.USER_MANAGED)
        if self.backend == "tensorrt-rtx":
            config.cuda_graph_strategy = self.trt.CudaGraphStrategy.DISABLED
            # Compile a shape's kernels at its first run. By default others run meanwhile, and a
            # captured graph would keep those.
            specialization = self.trt.DynamicShapesKernelSpecializationStrategy
            config.dynamic_shapes_kernel_specialization_strategy = specialization.EAGER
        return config

    def activations(self, profile: int) -> int:
        """Return the bytes of GPU memory that a context on a profile needs for activations."""
        return int(self.engine.get_device_memory_size_for_profile_v2(profile))

    def profile(self, heard: Callable[[str, float], None]) -> str:
        """Have contexts that are created from now on call `heard` with each layer's name and ms.

        Returns:
            What the engine's inspector says of its layers, as JSON.
        """
        self._profiler = _profiler(self.trt, heard)
        inspector = self.engine.create_engine_inspector()
        return str(inspector.get_engine_information(self.trt.LayerInformationFormat.JSON))

    def create_context(self) -> Any:
        """Create an `IExecutionContext`; its memory for activations is not set.

        Raises:
            BundleError: TensorRT cannot create one.
        """
        context = self.engine.create_execution_context(self._config)
        if context is None:
            raise BundleError(f"{self.backend} cannot create a context ({self.messages.reason()})")
        context.error_recorder = self.messages.recorder
        if self._profiler is not None:
            context.profiler = self._profiler  # which enqueuing then waits for and tells
        # The plans have details of their layers, with which NVTX would slow each run.
        context.nvtx_verbosity = self.trt.ProfilingVerbosity.NONE
        return context

    def capturable(self, context: Any, stream: int) -> bool:
        """Return whether a context's work can be captured; TensorRT finds out at the capture.

        TensorRT-RTX says no where the plan allocates memory while it runs.
        """
        return self.backend == "tensorrt" or bool(context.is_stream_capturable(stream))

    def close(self) -> None:
        """Free the engine; its contexts are freed."""
        if self._cache is not None:
            self._cache.store()
        # Each uses the next.
        del self._cache, self._config, self.engine, self._runtime, self.messages


def _profiler(trt: Any, heard: Callable[[str, float], None]) -> Any:
    class Profiler(trt.IProfiler):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProfiler.__init__(self)

        def report_layer_time(self, layer_name: str, ms: float) -> None:
            heard(layer_name, ms)

    return Profiler()


def load_plan(artifact: Artifact, file: Path) -> LoadedPlan:
    """Check that the plan fits this machine, and load it.

    Raises:
        MissingPackageError: A package to run it is not installed.
        DeviceError: There is no GPU or no driver.
        BundleError: The plan is for another version, GPU or plugin, or cannot be loaded.
    """
    backend = cast(TensorRTBackend, artifact.backend)
    trt = import_tensorrt(backend)
    check_version(artifact, trt.__version__)
    device = open_device(backend)
    check_target(artifact, device.name, device.capability)
    library = needed_library(artifact, device.capability, driver_cuda_version())
    plan = artifact.plan
    sha256 = next(iter(artifact.files.values()))
    carries_plugin = plan is not None and plan.plugin is not None and plan.plugin.embedded
    with device.current():
        return LoadedPlan(
            trt,
            backend,
            file.read_bytes(),
            library=library,
            cache=file_for(sha256) if backend == "tensorrt-rtx" else None,
            host_code=carries_plugin or (plan is not None and plan.version_compatible),
        )


def read_back(artifact: Artifact) -> Precision:
    """Return the precision of the plan's convolutions, from the table that the builder printed.

    If one is in int8, the plan is int8, as for engines on the CPU: int8 is what may change
    decisions. Without a table it is the precision of the artifact: the network is strongly typed,
    so that TensorRT cannot choose another.
    """
    kernels = {} if artifact.plan is None else artifact.plan.kernels
    convolutions = kernels.get("convolution")
    if not convolutions:
        return artifact.precision
    if "int8" in convolutions:
        return "int8"
    return cast(Precision, max(convolutions, key=lambda precision: convolutions[precision]))
