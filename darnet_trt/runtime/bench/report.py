"""Benchmark a bundle: which engines, on which machine, with which results."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Final, Literal

import numpy as np
import psutil
from pydantic import BaseModel, ConfigDict, PlainSerializer

from darnet_trt import __version__
from darnet_trt.bundle.reading import Bundle
from darnet_trt.machine.hardware import Cpu, Gpu, cpu, gpus, package_version
from darnet_trt.runtime.bench.load import busy
from darnet_trt.runtime.bench.measures import batch_ms_per_scan, fresh_process, scan_in_turns
from darnet_trt.runtime.bench.timing import (
    GPU_TURN_MS,
    PAUSE_MS,
    WARM_UP_MS,
    Latency,
    in_turns,
)
from darnet_trt.runtime.engines.loading import Engine
from darnet_trt.runtime.engines.runner import Runner, runs_on_gpu
from darnet_trt.runtime.engines.tensorrt.runner import GpuTimes, TensorRTRunner

SCHEMA_VERSION: Final = 1

_PACKAGES: Final = (
    "openvino", "onnxruntime", "onnxruntime-gpu", "torch", "numpy", "pydicom", "SimpleITK",
)  # fmt: skip

Times = Annotated[Latency, PlainSerializer(Latency.summary)]
Rounded = Annotated[float, PlainSerializer(lambda value: round(value, 4))]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class OnScan(_Part):
    """An engine of the bundle on one scan.

    Attributes:
        file_to_result: Scan files to result, with the engine loaded.
        stages_ms: Median of each stage of it.
        batch_ms_per_scan: Wall time per scan when several are predicted in one run.
        startup_ms: `first_result_ms` minus the loaded engine's median time.
        first_result_ms: From the start of a `predict` process to its first result.
        peak_memory_mb: Largest resident memory of such a process and of the one that reads its
            scans, in units of 10^6 bytes.
    """

    file_to_result: Times
    stages_ms: dict[str, Rounded]
    batch_ms_per_scan: Rounded
    startup_ms: Rounded
    first_result_ms: Rounded
    peak_memory_mb: Rounded


class OnGpu(_Part):
    """Split the GPU's time of a plan: medians of all timed runs, between CUDA events.

    Attributes:
        to_gpu_ms: Copy of the volume from pinned host memory.
        compute_ms: The engine.
        to_host_ms: Copy of the logits and the class activation map.
    """

    to_gpu_ms: Rounded
    compute_ms: Rounded
    to_host_ms: Rounded


class Measured(_Part):
    """One engine.

    Attributes:
        name: An artifact of the bundle, or a name of --against.
        warnings: The artifact's, from `load_engine`.
        precision: The one that ran.
        provenance: The engine's.
        engine: One volume through the engine.
        speed: Median engine time of the first engine over this one's: above 1 is faster.
        on_scan: None without a scan, and for engines that are not of the bundle.
        on_gpu: None except for TensorRT plans.
    """

    name: str
    warnings: tuple[str, ...]
    precision: str
    provenance: dict[str, str]
    engine: Times
    speed: Rounded
    on_scan: OnScan | None
    on_gpu: OnGpu | None = None


class Environment(_Part):
    """The machine of the measurement.

    Attributes:
        load_1min: Load average of the minute before the start.
        steal_percent: CPU time during the measurement that the hypervisor gave to others.
    """

    darnet_trt: str
    python: str
    system: str
    cpu: Cpu
    gpus: tuple[Gpu, ...]
    threads: int | None
    load_1min: float
    steal_percent: Rounded
    packages: dict[str, str]


class BenchReport(_Part):
    """A benchmark: its engines, machine, scan and times.

    Attributes:
        schema_version: Of this format.
        bundle: The bundle's folder.
        bundle_sha256: Of its manifest.
        scan: The scan of `OnScan`; None without.
        rounds: Timed turns of each engine.
        pause_ms: Pause before each of them.
        gpu_warm_up_ms: Untimed runs of an engine on a GPU at the start of its turn.
        gpu_turn_ms: Timed runs of its turn.
        environment: Machine, versions, load.
        busy: Reasons not to trust the ratios; empty on an idle machine.
        configurations: The first one is the reference of every ratio.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    bundle: str
    bundle_sha256: str
    scan: str | None
    rounds: int
    pause_ms: int = PAUSE_MS
    gpu_warm_up_ms: int = WARM_UP_MS
    gpu_turn_ms: int = GPU_TURN_MS
    environment: Environment
    busy: tuple[str, ...]
    configurations: tuple[Measured, ...]


def benchmark(
    bundle: Bundle,
    loaded: Sequence[Engine],
    *,
    against: Mapping[str, Runner] | None = None,
    scan: Path | None = None,
    rounds: int,
    threads: int | None = None,
    notify: Callable[[str], None] = lambda line: None,
) -> BenchReport:
    """Measure a bundle's engines and those they are compared with.

    Args:
        bundle: From `open_bundle`.
        loaded: Its engines; the first is the reference of the ratios.
        against: Other engines on the same network; engine time only.
        scan: One scan, for file-to-result, start-up and memory.
        rounds: Timed turns of each configuration.
        threads: As the engines were loaded; the fresh processes use as many.
        notify: Called with what is measured next.

    Raises:
        ScanError: The scan cannot be classified.
        UsageError: `scan` holds more than one scan.
        BundleError: A fresh process gave no result.
    """
    artifacts = {engine.artifact.name: engine for engine in loaded}
    runners = {name: engine.runner for name, engine in artifacts.items()} | dict(against or {})
    load_1min = round(os.getloadavg()[0], 2)
    psutil.cpu_times_percent()  # the next call counts from here
    notify(f"timing {_turns(rounds)} of the engines: {', '.join(runners)}")
    size = bundle.manifest.preprocessing.size
    volume = np.random.default_rng(0).random((1, 1, *size), np.float32)
    plans = {n: r for n, r in runners.items() if isinstance(r, TensorRTRunner)}
    gpu_times: dict[str, list[GpuTimes]] = {name: [] for name in plans}

    def keep_gpu_times(name: str) -> None:
        if name in plans:
            gpu_times[name].append(plans[name].gpu_times())

    engines = in_turns(
        {n: partial(r.infer, volume) for n, r in runners.items()},
        rounds,
        on_gpu=[name for name, runner in runners.items() if runs_on_gpu(runner)],
        after=keep_gpu_times,
    )
    reference_ms = next(iter(engines.values())).median_ms
    on_scan: dict[str, OnScan] = {}
    if scan is not None:
        on_scan = _on_scan(bundle, scan, artifacts, engines, rounds, threads, notify)
    environment = Environment(
        darnet_trt=__version__,
        python=platform.python_version(),
        system=platform.platform(),
        cpu=cpu(),
        gpus=gpus(),
        threads=threads,
        load_1min=load_1min,
        steal_percent=getattr(psutil.cpu_times_percent(), "steal", 0.0),  # only Linux counts it
        packages={p: v for p in _PACKAGES if (v := package_version(p)) is not None},
    )
    return BenchReport(
        bundle=os.path.abspath(bundle.path),  # noqa: PTH100 (resolve follows links)
        bundle_sha256=bundle.sha256,
        scan=None if scan is None else os.path.abspath(scan),  # noqa: PTH100
        rounds=rounds,
        environment=environment,
        busy=busy(load_1min, os.cpu_count() or 1, environment.steal_percent),
        configurations=tuple(
            Measured(
                name=name,
                warnings=artifacts[name].warnings if name in artifacts else (),
                precision=runner.precision,
                provenance=runner.provenance,
                engine=engines[name],
                speed=reference_ms / engines[name].median_ms,
                on_scan=on_scan.get(name),
                on_gpu=_medians(gpu_times[name]) if name in plans else None,
            )
            for name, runner in runners.items()
        ),
    )


def _medians(times: Sequence[GpuTimes]) -> OnGpu:
    to_gpu, compute, to_host = np.median(times, axis=0).tolist()
    return OnGpu(to_gpu_ms=to_gpu, compute_ms=compute, to_host_ms=to_host)


def _on_scan(
    bundle: Bundle,
    scan: Path,
    loaded: Mapping[str, Engine],
    engines: Mapping[str, Latency],
    rounds: int,
    threads: int | None,
    notify: Callable[[str], None],
) -> dict[str, OnScan]:
    notify(f"timing {_turns(rounds)} from file to result: {', '.join(loaded)}")
    found = {}
    for name, (file, stages_ms) in scan_in_turns(bundle, scan, loaded, rounds).items():
        notify(f"a batch and three fresh processes of {name}")
        batch_ms = batch_ms_per_scan(bundle, scan, loaded[name])
        first_result_ms, peak_memory_mb = fresh_process(bundle, name, scan, threads)
        found[name] = OnScan(
            file_to_result=file,
            stages_ms=stages_ms,
            batch_ms_per_scan=batch_ms,
            startup_ms=first_result_ms - engines[name].median_ms,
            first_result_ms=first_result_ms,
            peak_memory_mb=peak_memory_mb,
        )
    return found


def _turns(rounds: int) -> str:
    return f"{rounds} round{'s' * (rounds != 1)}"
