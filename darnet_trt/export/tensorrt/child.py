"""The child process of `builder`: build one plan, then exit.

`python -m darnet_trt.export.tensorrt.child` reads a `Job` as JSON from stdin and prints a
`BuiltPlan` as JSON. TensorRT's messages go to stderr, and progress as lines that start with
`PROGRESS`.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel

from darnet_trt.bundle.plan import Work
from darnet_trt.errors import BuildError, DarnetError
from darnet_trt.export.tensorrt import timing_cache
from darnet_trt.export.tensorrt.layer_table import Kernels, Layer, kernels_of, read_layers, work_of
from darnet_trt.export.tensorrt.options import PlanOptions
from darnet_trt.export.tensorrt.versions import load
from darnet_trt.runtime.engines.tensorrt.package import PORTABLE, RTX_TARGETS, TensorRTBackend

PROGRESS: Final = "progress: "
_PROGRESS_EVERY_S: Final = 2.0


class Job(BaseModel):
    """A plan to build.

    Attributes:
        backend: The package that builds.
        onnx: The graph; its types become the plan's types.
        plan: Where to write the plan.
        target: One of `RTX_TARGETS`; for `tensorrt` a name of the GPU at hand.
        options: Other options.
        plugin: The library whose plugins run the attention; None: standard operators.
        embed: Put the library into the plan.
    """

    backend: TensorRTBackend
    onnx: Path
    plan: Path
    target: str
    options: PlanOptions = PlanOptions()
    plugin: Path | None = None
    embed: bool = False


class BuiltPlan(BaseModel):
    """The outcome of a build.

    Attributes:
        version: Of the package; empty if it did not load.
        seconds: Time for parsing and building.
        kernels: Of all profiles together; empty if the builder printed no table of them.
        work: What a run costs; None if the builder printed no table.
        layers: That table.
        note: A problem that did no harm to the plan.
        error: Why there is no plan; None if there is one.
        unwritable: The system's error number if the plan could not be written.
    """

    version: str = ""
    seconds: float = 0.0
    kernels: Kernels = {}
    work: Work | None = None
    layers: tuple[Layer, ...] = ()
    note: str | None = None
    error: str | None = None
    unwritable: int | None = None


def _logger(trt: Any) -> Any:
    class Logger(trt.ILogger):  # type: ignore[misc]
        """Keep the builder's errors and its table of layers."""

        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []
            self.layers: tuple[Layer, ...] = ()

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                self.errors.append(message)
            if severity == trt.ILogger.VERBOSE:
                # Thousands come while TensorRT times kernels; one, at the end, has the table.
                if message.startswith("Layers:\n"):
                    self.layers = read_layers(message)
            else:
                print(message, file=sys.stderr, flush=True)  # noqa: T201

    return Logger()


def _progress(trt: Any) -> Any:
    class Progress(trt.IProgressMonitor):  # type: ignore[misc]
        """Print the steps of the outermost phases, at most one line every two seconds."""

        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.steps: dict[str, int] = {}
            self.last = time.monotonic()

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            if parent_phase is None:
                self.steps[phase_name] = num_steps

        def step_complete(self, phase_name: str, step: int) -> bool:
            now = time.monotonic()
            if phase_name in self.steps and now - self.last > _PROGRESS_EVERY_S:
                self.last = now
                done = f"{step + 1} of {self.steps[phase_name]}"
                print(f"{PROGRESS}{phase_name}, {done}", file=sys.stderr, flush=True)  # noqa: T201
            return True

        def phase_finish(self, phase_name: str) -> None:
            self.steps.pop(phase_name, None)

    return Progress()


def build(job: Job) -> BuiltPlan:
    """Build in this process.

    Raises:
        BuildError: The package or the plugin's library does not load, or the parser or builder
            refused; carries their first error.
    """
    trt = load(job.backend)
    started = time.monotonic()
    messages = _logger(trt)
    builder = trt.Builder(messages)
    if job.plugin is not None and trt.get_plugin_registry().load_library(str(job.plugin)) is None:
        raise BuildError(f"{job.backend} {trt.__version__} does not load the plugin {job.plugin}")
    # A network with the graph's precisions, the only kind in TensorRT-RTX and TensorRT 11.
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, messages)
    if not parser.parse(_graph(job)):
        found = [parser.get_error(i) for i in range(parser.num_errors)]
        reasons = [f"{e.node_operator()} {e.node_name()}: {e.desc()}" for e in found]
        raise BuildError(
            f"TensorRT rejects the graph: {(reasons or messages.errors or ['no reason given'])[0]}"
        )
    config = builder.create_builder_config()
    configure(trt, config, job)
    _set_batch(builder, config, network.get_input(0), job.options)
    monitor = _progress(trt)  # a name here, because the config keeps no reference
    config.progress_monitor = monitor
    cache = timing_cache.file_for(trt.__version__, job.target)
    if job.backend == "tensorrt":
        timing_cache.load(config, cache)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise BuildError((messages.errors or ["TensorRT gave no reason"])[0])
    job.plan.write_bytes(plan)
    return BuiltPlan(
        version=trt.__version__,
        seconds=round(time.monotonic() - started, 2),
        kernels=kernels_of(messages.layers),
        work=work_of(messages.layers),
        layers=messages.layers,
        note=timing_cache.store(config, cache) if job.backend == "tensorrt" else None,
    )


def configure(trt: Any, config: Any, job: Job) -> None:
    """Set all options except the batch; `portable` and the GPU at hand need no target.

    Raises:
        BuildError: The package has no such target.
    """
    options = job.options
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED  # prints the table of layers
    if job.backend == "tensorrt-rtx" and job.target != PORTABLE:
        capability = getattr(trt.ComputeCapability, job.target.upper(), None)
        if capability is None:
            raise BuildError(
                f"{job.backend} {trt.__version__} has no target {job.target}",
                do=f"choose one of {', '.join(RTX_TARGETS)}",
            )
        config.num_compute_capabilities = 1
        config.set_compute_capability(capability, 0)
    if job.backend == "tensorrt-rtx":
        # Else the plan may allocate memory while it runs, and then no CUDA graph can be captured.
        config.set_flag(trt.BuilderFlag.REQUIRE_USER_ALLOCATION)
    # TF32 is on by default and keeps 10 of float32's 23 bits; an fp32 plan must keep all.
    config.clear_flag(trt.BuilderFlag.TF32)
    if options.workspace_mib is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace_mib << 20)
    if options.version_compatible:
        config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
    if options.hardware_compatible:
        config.hardware_compatibility_level = trt.HardwareCompatibilityLevel.SAME_COMPUTE_CAPABILITY
    if options.optimization_level is not None:
        config.builder_optimization_level = options.optimization_level
    if job.plugin is not None and job.embed:
        config.plugins_to_serialize = [str(job.plugin)]


def _graph(job: Job) -> bytes:
    """Return the ONNX file; with a plugin, drop the functions that could replace it unnoticed.

    TensorRT-RTX 1.7 prefers a function of the file to a plugin unless the call names the plugin's
    namespace, as the exported graph does; earlier versions of TensorRT may ignore the namespace.
    """
    if job.plugin is None:
        return job.onnx.read_bytes()
    import onnx

    model = onnx.load(job.onnx)
    del model.functions[:]
    return bytes(model.SerializeToString())


def _set_batch(builder: Any, config: Any, volume: Any, options: PlanOptions) -> None:
    size = tuple(volume.shape)[1:]
    if not options.profiles:
        volume.shape = (options.batch[0], *size)
    for batches in options.profiles:
        profile = builder.create_optimization_profile()
        profile.set_shape(volume.name, *((n, *size) for n in batches))
        config.add_optimization_profile(profile)


def _main() -> None:
    # The libraries print to stdout too; keep it for the result.
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    job = Job.model_validate_json(sys.stdin.read())
    try:
        result = build(job)
    except DarnetError as error:
        result = BuiltPlan(error=str(error))
    except OSError as error:
        result = BuiltPlan(error=str(error), unwritable=error.errno)
    answer.write(result.model_dump_json())
    answer.close()


if __name__ == "__main__":
    _main()
