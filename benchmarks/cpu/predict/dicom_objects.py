"""Time the DICOM objects of a study on one core, while an engine keeps the other cores busy.

    python -m benchmarks.cpu.predict.dicom_objects [--slices 300] [--rounds 7]

The study is a phantom; the evidence has the size of the paper's network. The engine runs
convolutions of that network's first stage in OpenVINO, over and over. Where there is one core
alone, both share it.
"""

from __future__ import annotations

import argparse
import datetime
import multiprocessing
import os
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.synchronize import Event
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import numpy as np

from darnet_trt.bundle.manifest import ModelCard
from darnet_trt.machine.hardware import cpu
from darnet_trt.phantom.files.dicom import write_dicom
from darnet_trt.phantom.synthesis import synthesize_scan
from darnet_trt.runtime.delivery.objects.make import make_objects
from darnet_trt.runtime.delivery.source import Source, source_of
from darnet_trt.runtime.engines.openvino.package import import_openvino
from darnet_trt.runtime.prediction.results.result import (
    OBJECTS,
    Evidence,
    Result,
    SeriesUsed,
    SlicesUsed,
    StageTimes,
    now,
)
from darnet_trt.scan import Series, find_studies
from darnet_trt.scan.cohorts import PAPER_CLASSES
from darnet_trt.scan.preprocessing import Preprocessing, preprocess

SPEC: Final = Preprocessing()
CAM: Final = (len(PAPER_CLASSES), 8, 14, 14)
ABOUT: Final = ModelCard(
    attention="both", width=64, parameters=0, checkpoint_sha256="0" * 64, trained_on="nothing"
)


def keep_busy(cores: set[int], started: Event) -> None:
    """Run the engine until this process is ended."""
    ov = import_openvino()
    from openvino import opset13 as ops

    os.sched_setaffinity(0, cores)
    shape, kernel = (1, 64, 32, 112, 112), (64, 64, 3, 3, 3)
    volume = ops.parameter(shape, np.float32)
    last = volume
    for seed in range(4):
        weight = np.random.default_rng(seed).normal(0, 0.02, kernel).astype(np.float32)
        ones = [1, 1, 1]
        last = ops.relu(ops.convolution(last, ops.constant(weight), ones, ones, ones, ones))
    options = {"INFERENCE_NUM_THREADS": len(cores)}
    engine = ov.Core().compile_model(ov.Model([last], [volume]), "CPU", options)
    array = np.ones(shape, np.float32)
    while True:
        engine(array)
        started.set()


@contextmanager
def busy_engine(cores: set[int]) -> Iterator[None]:
    """Keep the engine running on some cores."""
    context = multiprocessing.get_context("spawn")
    started = context.Event()
    process = context.Process(target=keep_busy, args=(cores, started), daemon=True)
    process.start()
    if not started.wait(300):
        raise SystemExit("the engine did not start within 300 s")
    try:
        yield
    finally:
        process.kill()
        process.join()


def study(folder: Path, slices: int) -> tuple[Series, Result, Evidence]:
    """Write a phantom, and make a result of it with evidence here and there for each class."""
    scan = synthesize_scan("covid-19", 1, matrix=128, slices=(slices, slices))
    write_dicom(scan, folder, "phantom", 0, "benchmark")
    (found,) = find_studies(folder)
    (series,) = found.series
    cam = np.random.default_rng(0).normal(0, 1, CAM).astype(np.float32)
    uids = tuple(str(header.get("SOPInstanceUID")) for header in series.headers)
    result = Result(
        scan="phantom", key=f"study:{found.uid}", content="0", study_uid=found.uid, status="ok",
        reason="", code="", predicted=PAPER_CLASSES[0],
        probabilities=dict(zip(PAPER_CLASSES, (0.7, 0.2, 0.1), strict=True)),
        series=SeriesUsed(
            uid=series.uid, number=series.number, description=series.description,
            slices=series.slices, matrix=series.matrix, spacing_mm=series.spacing_mm, why="",
            sampled=SlicesUsed(
                indices=tuple(range(slices)), positions_mm=(), sop_uids=uids, lungs=None,
                covered=(0, slices - 1), left_out=0, left_out_mm=0,
            ),
        ),
        warnings=(), stages_ms=StageTimes(), bundle_sha256="0" * 64, artifact="openvino-int8",
        precision="int8", trained_on="nothing", finished=now(),
    )  # fmt: skip
    return series, result, Evidence(preprocess(SPEC, scan.volume)[0], cam, series.oriented)


def timed(call: Callable[[], object], rounds: int) -> str:
    """Return the median time of a call, and its processor time."""
    walls, processor = [], []
    for _ in range(rounds):
        wall, used = time.perf_counter(), time.process_time()
        call()
        walls.append(time.perf_counter() - wall)
        processor.append(time.process_time() - used)
    return (
        f"{statistics.median(walls):.2f} s ({min(walls):.2f} to {max(walls):.2f}), "
        f"processor {statistics.median(processor):.2f} s"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--slices", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    cores = sorted(os.sched_getaffinity(0))
    with TemporaryDirectory(prefix="darnet-trt-objects-") as folder:
        series, result, evidence = study(Path(folder), arguments.slices)
        print(f"{datetime.date.today()}, {cpu().name}, {len(cores)} cores\n")
        print(f"| {arguments.slices} slices, one core | time | to reach |\n| --- | --- | --- |")
        with busy_engine(set(cores[1:] or cores)):
            os.sched_setaffinity(0, {cores[0]})

            def source() -> Source:
                found = source_of(series, SPEC, (0, series.slices))
                assert isinstance(found, Source)
                return found

            def objects(*kinds: str) -> None:
                make_objects(result, evidence, source(), kinds, ABOUT, {})

            def row(what: str, call: Callable[[], object], rounds: int, reach: str = "") -> None:
                print(f"| {what} | {timed(call, rounds)} | {reach} |")

            row("first of a process, with imports", lambda: objects(*OBJECTS), 1)
            row("what objects need of the series", source, arguments.rounds)
            for kind in OBJECTS:
                row(kind, lambda kind=kind: objects(kind), arguments.rounds)
            row(" + ".join(OBJECTS), lambda: objects(*OBJECTS), arguments.rounds, "≤ 1.5 s")


if __name__ == "__main__":
    main()
