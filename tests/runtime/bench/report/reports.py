"""Reports of known samples."""

from itertools import pairwise

import numpy as np

from darnet_trt.machine.hardware import Cpu
from darnet_trt.runtime.bench.report.building import configuration
from darnet_trt.runtime.bench.report.schema import BenchReport, Environment, MeasuredEngine
from darnet_trt.runtime.bench.subject import Query, Trace
from tests.runtime.bench.signs.test_doubts import QUIET

ENVIRONMENT = Environment(
    darnet_trt="0.1.0",
    python="3.11.7",
    system="Linux",
    command="darnet-trt bench bundle",
    cpu=Cpu("AMD EPYC", 2, 23.5, ("avx2",)),
    cpus_allowed=2,
    memory_free_mb=20000,
    gpus=(),
    threads=None,
    packages={"openvino": "2026.4.1"},
)


def steady(median_ms, count=300, seed=2):
    """Times around a median, with noise of 2 %; other seeds may drift by chance."""
    return (median_ms * np.random.default_rng(seed).lognormal(0, 0.02, count)).tolist()


def trace(name, samples_ms, *, settled=True, scans=1, per_turn=5):
    """One after the other, with one query of warm-up."""
    ends = np.cumsum([0, *samples_ms]) * 1e6
    queries = [
        Query(index // per_turn, int(start), int(start), int(end))
        for index, (start, end) in enumerate(pairwise(ends))
    ]
    return Trace(name, scans, [Query(0, -1, -1, 0)], settled, queries)


def report(*traces, **changes):
    """A report of engines in float32 of these traces; a name's first word is the engine's."""
    engines = dict.fromkeys(one.subject.split()[0] for one in traces)
    whole = {
        "bundle": "/bundle",
        "bundle_sha256": "0" * 64,
        "scan": None,
        "started": "2026-01-01T00:00:00+00:00",
        "interrupted": False,
        "pause_ms": 50,
        "turn_ms": 500,
        "gpu_warm_up_ms": 200,
        "environment": ENVIRONMENT,
        "conditions": QUIET,
        "doubts": (),
        "yardstick_ms": (1.0,),
        "engines": tuple(
            MeasuredEngine(name=name, warnings=(), precision="fp32", provenance={})
            for name in engines
        ),
        "configurations": tuple(
            configuration(one, traces[0], engine=one.subject.split()[0], way="engine")
            for one in traces
        ),
    }
    return BenchReport(**whole | changes)
