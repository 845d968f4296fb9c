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
from darnet_trt.runtime.benchmark import (
    Fresh,
    Latency,
    batch_ms_per_scan,
    fresh_process,
    in_turns,
    scan_in_turns,
)
from darnet_trt.runtime.bundle import Bundle, Engine, pick_artifact
from darnet_trt.runtime.environment import cpu, gpus, package_version
from darnet_trt.runtime.runner import Runner

__all__ = ["BenchReport", "Measured", "benchmark"]

_PACKAGES = ("openvino", "onnxruntime", "onnxruntime-gpu", "torch", "numpy", "pydicom", "SimpleITK")


@dataclass(frozen=True)
class Measured:
    """One configuration.

    Attributes:
        name: An artifact of the bundle, or what it is compared against.
        precision: What really ran.
        provenance: The engine's.
        engine: One volume through the engine.
        speed: Median engine time of the first configuration over this one's: above 1 is faster.
        file: Scan files to result, warm; None without a scan or for a comparison.
        stages_ms: Medians of the stages of `file`.
        batch_ms: Wall time a scan when several come in one run.
        fresh: A `predict` process of its own.
    """

    name: str
    precision: str
    provenance: dict[str, str]
    engine: Latency
    speed: float
    file: Latency | None = None
    stages_ms: dict[str, float] | None = None
    batch_ms: float | None = None
    fresh: Fresh | None = None

    @property
    def startup_ms(self) -> float | None:
        """Process start to first result, over the engine's own (warm) time."""
        return None if self.fresh is None else self.fresh.first_result_ms - self.engine.median


@dataclass(frozen=True)
class BenchReport:
    """What was measured, where, and on what.

    Attributes:
        bundle: The bundle's folder.
        bundle_sha256: Of its manifest.
        scan: What file-to-result was measured on; None without.
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
    artifacts: Mapping[str, Runner],
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
        artifacts: Its engines, loaded, by name; the first is the reference of the ratios.
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
    runners = {**artifacts, **(against or {})}
    environment = _environment(threads)
    notify(f"engines, {rounds} rounds of {', '.join(runners)}")
    size = bundle.manifest.preprocessing.size
    volume = np.random.default_rng(0).random((1, 1, *size), np.float32)
    engines = in_turns({n: partial(r.infer, volume) for n, r in runners.items()}, rounds)
    reference = next(iter(engines.values())).median
    files: dict[str, tuple[Latency, dict[str, float]]] = {}
    batches: dict[str, float] = {}
    fresh: dict[str, Fresh] = {}
    if scan is not None:
        notify(f"file to result, {rounds} rounds of {', '.join(artifacts)}")
        loaded = {n: Engine(pick_artifact(bundle, n), r) for n, r in artifacts.items()}
        files = scan_in_turns(bundle, scan, loaded, rounds)
        for name, engine in loaded.items():
            notify(f"a batch, and a fresh process: {name}")
            batches[name] = batch_ms_per_scan(bundle, scan, engine)
            fresh[name] = fresh_process(bundle, name, scan, threads)
    measured = tuple(
        Measured(
            name=name,
            precision=runner.precision,
            provenance=runner.provenance,
            engine=engines[name],
            speed=reference / engines[name].median,
            file=files[name][0] if name in files else None,
            stages_ms=files[name][1] if name in files else None,
            batch_ms=batches.get(name),
            fresh=fresh.get(name),
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
    fresh, startup = measured.fresh, measured.startup_ms
    stages: Sequence[tuple[str, float]] = list((measured.stages_ms or {}).items())
    return {
        "name": measured.name,
        "precision": measured.precision,
        "provenance": measured.provenance,
        "engine": measured.engine.summary(),
        "speed": round(measured.speed, 4),
        "file_to_result": None if measured.file is None else measured.file.summary(),
        "stages_ms": {stage: round(value, 3) for stage, value in stages} or None,
        "batch_ms_per_scan": None if measured.batch_ms is None else round(measured.batch_ms, 3),
        "startup_ms": None if startup is None else round(startup, 1),
        "first_result_ms": None if fresh is None else round(fresh.first_result_ms, 1),
        "peak_memory_mb": None if fresh is None else round(fresh.peak_memory_mb, 1),
    }
