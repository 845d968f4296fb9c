"""A whole benchmark of a bundle: which engines, on which machine, and what came out."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from darnet_trt import __version__
from darnet_trt.bundle.reading import Bundle
from darnet_trt.machine.hardware import cpu, gpus, package_version
from darnet_trt.runtime.bench.measures import Fresh, batch_ms_per_scan, fresh_process, scan_in_turns
from darnet_trt.runtime.bench.timing import Latency, in_turns
from darnet_trt.runtime.engines.loading import Engine
from darnet_trt.runtime.engines.runner import Runner

__all__ = ["BenchReport", "Measured", "OnScan", "benchmark"]

_PACKAGES = ("openvino", "onnxruntime", "onnxruntime-gpu", "torch", "numpy", "pydicom", "SimpleITK")
_OF_A_SCAN = (
    "file_to_result",
    "stages_ms",
    "batch_ms_per_scan",
    "startup_ms",
    "first_result_ms",
    "peak_memory_mb",
)


@dataclass(frozen=True)
class OnScan:
    """What an engine of the bundle does with one scan.

    Attributes:
        file: Scan files to result, warm.
        stages_ms: Medians of its stages.
        batch_ms: Wall time a scan when several come in one run.
        fresh: A `predict` process of its own.
        startup_ms: From its start to its first result, over the engine's own (warm) time.
    """

    file: Latency
    stages_ms: dict[str, float]
    batch_ms: float
    fresh: Fresh
    startup_ms: float


@dataclass(frozen=True)
class Measured:
    """One configuration.

    Attributes:
        name: An artifact of the bundle, or what it is compared against.
        warnings: The artifact's, from `load_engine`.
        precision: What really ran.
        provenance: The engine's.
        engine: One volume through the engine.
        speed: Median engine time of the first configuration over this one's: above 1 is faster.
        on_scan: None without a scan or for a comparison.
    """

    name: str
    warnings: tuple[str, ...]
    precision: str
    provenance: dict[str, str]
    engine: Latency
    speed: float
    on_scan: OnScan | None


@dataclass(frozen=True)
class BenchReport:
    """What was measured, where, and on what.

    Attributes:
        bundle: The bundle's folder.
        bundle_sha256: Of its manifest.
        scan: What file-to-result was measured on; None without.
        rounds: Timed turns of each configuration.
        environment: Machine, versions, load.
        measured: The first one is the reference of every ratio.
    """

    bundle: str
    bundle_sha256: str
    scan: str | None
    rounds: int
    environment: dict[str, Any]
    measured: tuple[Measured, ...]

    def as_json(self) -> dict[str, Any]:
        """The whole report, ready for `json.dumps`."""
        return {
            "bundle": self.bundle,
            "bundle_sha256": self.bundle_sha256,
            "scan": self.scan,
            "rounds": self.rounds,
            "environment": self.environment,
            "configurations": [_as_json(m) for m in self.measured],
        }


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
    """Measure a bundle's engines and what they are compared against.

    Args:
        bundle: From `open_bundle`.
        loaded: Its engines; the first is the reference of the ratios.
        against: Other engines on the same network; engine time only.
        scan: One scan, for file-to-result, start-up and memory.
        rounds: Timed turns of each configuration.
        threads: What the engines were loaded with, for the fresh processes.
        notify: Told what is being measured.

    Raises:
        ScanError: The scan cannot be classified.
        UsageError: It is more than one scan.
        BundleError: A fresh process gave no result.
    """
    artifacts = {engine.artifact.name: engine for engine in loaded}
    runners = {name: engine.runner for name, engine in artifacts.items()} | dict(against or {})
    environment = _environment(threads)
    notify(f"engines, {_turns(rounds)} of {', '.join(runners)}")
    size = bundle.manifest.preprocessing.size
    volume = np.random.default_rng(0).random((1, 1, *size), np.float32)
    engines = in_turns({n: partial(r.infer, volume) for n, r in runners.items()}, rounds)
    reference_ms = next(iter(engines.values())).median_ms
    on_scan: dict[str, OnScan] = {}
    if scan is not None:
        on_scan = _on_scan(bundle, scan, artifacts, engines, rounds, threads, notify)
    measured = tuple(
        Measured(
            name=name,
            warnings=artifacts[name].warnings if name in artifacts else (),
            precision=runner.precision,
            provenance=runner.provenance,
            engine=engines[name],
            speed=reference_ms / engines[name].median_ms,
            on_scan=on_scan.get(name),
        )
        for name, runner in runners.items()
    )
    return BenchReport(
        bundle=os.path.abspath(bundle.path),  # noqa: PTH100 (resolve follows links)
        bundle_sha256=bundle.sha256,
        scan=None if scan is None else os.path.abspath(scan),  # noqa: PTH100
        rounds=rounds,
        environment=environment,
        measured=measured,
    )


def _on_scan(
    bundle: Bundle,
    scan: Path,
    loaded: Mapping[str, Engine],
    engines: Mapping[str, Latency],
    rounds: int,
    threads: int | None,
    notify: Callable[[str], None],
) -> dict[str, OnScan]:
    notify(f"file to result, {_turns(rounds)} of {', '.join(loaded)}")
    found = {}
    for name, (file, stages_ms) in scan_in_turns(bundle, scan, loaded, rounds).items():
        notify(f"a batch, and a fresh process: {name}")
        batch_ms = batch_ms_per_scan(bundle, scan, loaded[name])
        fresh = fresh_process(bundle, name, scan, threads)
        startup_ms = fresh.first_result_ms - engines[name].median_ms
        found[name] = OnScan(file, stages_ms, batch_ms, fresh, startup_ms)
    return found


def _turns(rounds: int) -> str:
    return f"{rounds} round{'s' * (rounds != 1)}"


def _environment(threads: int | None) -> dict[str, Any]:
    return {
        "darnet_trt": __version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "cpu": asdict(cpu()),
        "gpus": [asdict(gpu) for gpu in gpus()],
        "threads": threads,
        "load_1min": round(os.getloadavg()[0], 2),
        "packages": {p: v for p in _PACKAGES if (v := package_version(p)) is not None},
    }


def _as_json(measured: Measured) -> dict[str, Any]:
    content = {
        "name": measured.name,
        "warnings": list(measured.warnings),
        "precision": measured.precision,
        "provenance": measured.provenance,
        "engine": measured.engine.summary(),
        "speed": round(measured.speed, 4),
    }
    on_scan = measured.on_scan
    if on_scan is None:
        return content | dict.fromkeys(_OF_A_SCAN)
    values = (
        on_scan.file.summary(),
        {stage: round(value, 3) for stage, value in on_scan.stages_ms.items()},
        round(on_scan.batch_ms, 3),
        round(on_scan.startup_ms, 1),
        round(on_scan.fresh.first_result_ms, 1),
        round(on_scan.fresh.peak_memory_mb, 1),
    )
    return content | dict(zip(_OF_A_SCAN, values, strict=True))
