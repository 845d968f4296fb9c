"""Measure `predict` over archives that it writes itself, and print a Markdown table.

    python benchmarks/cpu/predict/pipeline.py [--part first] [--part memory] … [--full]

Every part compares, in turns in one run, so that ratios hold on a busy machine. The parts:

first   Time to the first result at 100, 1,000 and 10,000 studies, without the engine's own time.
memory  Peak memory at 10,000 studies against 100, a second run over the 10,000 finished ones, and
        peak memory at 100,000 studies that are refused by their headers (20,000 without --full).
int8    OpenVINO INT8 at full size over 40 studies: processor time against engine and reading
        alone, how busy the cores are, peak memory. Without --bundle it builds one (minutes).
stub    An engine that takes 3 ms: studies a second and core, against reading alone.

Archives lie in a temporary folder (TMPDIR, about 3 GB at once), which is removed.
"""

from __future__ import annotations

import argparse
import datetime
import json
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

if __name__ == "__main__" and not __package__:  # run by its path
    sys.path[0] = str(Path(__file__).parents[3])

from benchmarks.cpu.predict.archive import (
    Template,
    encoded,
    headers_only,
    phantom_slices,
    read_slices,
    template,
    write_archive,
)
from benchmarks.cpu.predict.processes import ROOT, Ran, run
from darnet_trt.bundle.manifest import Artifact, Manifest, ModelCard
from darnet_trt.bundle.writing import hashes, write_manifest
from darnet_trt.machine.cpus import usable_cpus
from darnet_trt.machine.hardware import cpu
from darnet_trt.scan.cohorts import PAPER_CLASSES
from darnet_trt.scan.preprocessing import Preprocessing

ONE_RUN: Final = "benchmarks.cpu.predict.one_run"
STUB_MS: Final = 3
REAL: Final = ROOT.parent / "shared" / "data" / "chest-8mm"
Row = tuple[str, str, str]
"""Holds what was measured, the figures, and the figure to reach."""


def stub_bundle(folder: Path, preprocessing: Preprocessing) -> Path:
    """Write a bundle without a network, for engines that are stubs."""
    folder.mkdir()
    nothing = folder / "nothing"
    nothing.write_bytes(b"no network")
    engine = Artifact(
        name="openvino-int8", files=hashes(folder, nothing), backend="openvino", precision="int8",
        effective_precision="int8", target="cpu", batch=(1, 1), producer={}, executed=True,
        parity=None, latency_ms=STUB_MS,
    )  # fmt: skip
    model = ModelCard(
        attention="none", width=4, parameters=0, checkpoint_sha256="0" * 64, trained_on="nothing"
    )
    manifest = Manifest(
        toolkit="benchmark", created="2026-01-01T00:00:00Z", intended_use="Timing only.",
        model=model, classes=PAPER_CLASSES, preprocessing=preprocessing, artifacts=(engine,),
        default=engine.name, built_on={},
    )  # fmt: skip
    write_manifest(folder, manifest)
    return folder


class Bench:
    """Holds what the parts share: a folder, the bundle of stubs, and small studies."""

    def __init__(self, folder: Path, arguments: argparse.Namespace) -> None:
        self.folder = folder
        self.full = arguments.full
        self.rounds = arguments.rounds
        self.given = arguments.bundle and arguments.bundle.resolve()
        self.stub = stub_bundle(folder / "stub", Preprocessing())
        self.small = template(phantom_slices(64, 30))
        self.cores = usable_cpus()

    @contextmanager
    def archive(self, templates: list[Template], studies: int) -> Iterator[Path]:
        """Give an archive, and remove it."""
        folder = self.folder / "archive"
        try:
            yield write_archive(folder, templates, studies)
        finally:
            shutil.rmtree(folder)

    def stubbed(self, archive: Path, studies: int, *more: object) -> Ran:
        """Run the pipeline with the stub."""
        words = ("--stub-ms", STUB_MS, "--studies", studies, *more)
        return run(ONE_RUN, "predict", self.stub, archive, *words)


def first(bench: Bench) -> Iterator[Row]:
    """Yield the time to the first result by the size of the archive."""
    for studies in (100, 1_000, 10_000):
        with bench.archive([bench.small], studies) as archive:
            found = []
            for _ in range(bench.rounds):
                ran = bench.stubbed(archive, studies, "--stop-after", 1)
                got = ran.printed["moments"]["1"]
                without = got["time"] - got["engine"]
                found.append((without - ran.printed["started"]["time"], without - ran.began))
        call, process = (statistics.median(column) for column in zip(*found, strict=True))
        yield (
            f"first result of {studies:,} studies, without the engine's time",
            f"{call:.2f} s after the call, {process:.2f} s after the process began",
            "≤ 2 s",
        )


def memory(bench: Bench) -> Iterator[Row]:
    """Yield peak memory by the size of the archive, and the time of a second run."""
    peaks = {}
    out = bench.folder / "out"
    for studies in (100, 10_000):
        with bench.archive([bench.small], studies) as archive:
            words = ("command", bench.stub, archive, "--stub-ms", 0, "--out", out)
            peaks[studies] = run(ONE_RUN, *words).peak_mb
            if studies == 10_000:
                again = run(ONE_RUN, *words)
        shutil.rmtree(out)
    few, many = peaks.values()
    yield (
        "peak memory of all processes at 10,000 studies against 100",
        f"{many:.0f} / {few:.0f} MB = {many / few:.2f}",
        "≤ 1.10",
    )
    yield (
        "second run over 10,000 finished studies of 30 files",
        f"{again.wall_s:.1f} s, {len(again.said.splitlines())} lines",
        "≤ 10 s, 10 lines",
    )
    studies = 100_000 if bench.full else 20_000
    with bench.archive([headers_only(bench.small, 3)], studies) as archive:
        walked = bench.stubbed(archive, studies)
    few = peaks[100]
    yield (
        f"peak memory at {studies:,} studies refused by their headers, against 100 classified",
        f"{walked.peak_mb:.0f} / {few:.0f} MB = {walked.peak_mb / few:.2f}",
        "≤ 1.10",
    )


def int8(bench: Bench) -> Iterator[Row]:
    """Yield how the pipeline does with the real engine."""
    bundle = bench.given or build_int8(bench.folder)
    thick = template(read_slices(REAL) if REAL.is_dir() else phantom_slices(512, 30))
    thin = template(phantom_slices(512, 300))
    studies, engine = 40, ("--artifact", "openvino-int8")
    ratios, shares, peaks = [], [], []
    with bench.archive([thick, thick, thick, thick, thin], studies) as archive:
        for _ in range(bench.rounds):
            together = run(
                ONE_RUN, "predict", bundle, archive, *engine, "--studies", studies, "--workers", 2
            )
            alone = run(ONE_RUN, "engine", bundle, *engine, "--studies", studies)
            reading = run(ONE_RUN, "read", bundle, archive)
            ratios.append(together.busy_s / (alone.busy_s + reading.busy_s))
            start, end = (together.printed["moments"][str(n)] for n in (1, studies))
            shares.append(_busy(start, end))
            peaks.append(together.peak_mb)
    what = f"{studies} studies, a fifth of 300×512×512, OpenVINO INT8"
    yield (
        f"{what}: processor time against engine and reading alone, whole processes",
        f"{statistics.median(ratios):.3f} ({', '.join(f'{r:.3f}' for r in ratios)})",
        "≤ 1.03",
    )
    yield (
        f"{what}: cores busy between first and last result (idle time against our own)",
        f"{100 * statistics.median(shares):.1f} %",
        "≥ 97 %",
    )
    yield f"{what}: peak memory at 2 workers", f"{max(peaks):.0f} MB", "≤ 1,500 MB"


def stub(bench: Bench) -> Iterator[Row]:
    """Yield how near the pipeline comes to what the cores can decode."""
    slices = read_slices(REAL / "soft") if REAL.is_dir() else phantom_slices(512, 30)
    forms: dict[str, tuple[Template, Path]] = {"raw": (template(slices), bench.stub)}
    half = stub_bundle(bench.folder / "half", Preprocessing(resolution="half"))
    for name in ("JPEG 2000", "HTJ2K"):
        packed = template(encoded(slices, name))
        forms[name] = (packed, bench.stub)
        forms[f"{name}, half resolution"] = (packed, half)
    for name, (study, bundle) in forms.items():
        with bench.archive([study], 40) as archive:
            times = 1 if name == "JPEG 2000" and not bench.full else 5
            yield _against_reading(bench, name, bundle, archive, times)


def _against_reading(bench: Bench, name: str, bundle: Path, archive: Path, times: int) -> Row:
    ratios, rates, where = [], [], []
    for _ in range(bench.rounds):
        words = ("--stub-ms", STUB_MS, "--studies", 40, "--times", times)
        ran = run(ONE_RUN, "predict", bundle, archive, *words).printed
        start, end = (ran["moments"][str(round(s * 40 * times))] for s in (0.1, 0.9))
        rate = round(0.8 * 40 * times) / _had(start, end)
        alone = _read_in_parallel(bench, bundle, archive, times)
        rates.append(rate)
        ratios.append(rate / alone)
        where.append(_bottleneck(start, end, bench.cores))
    return (
        f"{name}, engine of {STUB_MS} ms: studies/s per core, against reading alone",
        f"{statistics.median(rates):.2f} = {100 * statistics.median(ratios):.0f} %; {where[-1]}",
        "≥ 90 %",
    )


def _read_in_parallel(bench: Bench, bundle: Path, archive: Path, times: int) -> float:
    """Return studies a second and core where each core reads its share and nothing else."""
    words = [sys.executable, "-m", ONE_RUN, "read", bundle, archive, "--times", times]
    words += ["--shares", bench.cores, "--share"]
    started = [
        subprocess.Popen(
            [*map(str, words), str(share)], stdout=subprocess.PIPE, text=True, cwd=ROOT
        )
        for share in range(bench.cores)
    ]
    rates = []
    for process in started:
        ran: dict[str, Any] = json.loads(process.communicate()[0].splitlines()[-1])
        rates.append(ran["studies"] / (ran["ended"]["busy"] - ran["started"]["busy"]))
    return statistics.mean(rates)


def _had(start: dict[str, float], end: dict[str, float]) -> float:
    """Return the core seconds that the run used or left idle; other programs' are none of it."""
    return end["busy"] - start["busy"] + end["idle"] - start["idle"]


def _busy(start: dict[str, float], end: dict[str, float]) -> float:
    return (end["busy"] - start["busy"]) / _had(start, end)


def _bottleneck(start: dict[str, float], end: dict[str, float], cores: int) -> str:
    """Name what held the run up, and the share of its time that each took."""
    wall, had = end["time"] - start["time"], _had(start, end)
    parent = (end["parent"] - start["parent"]) / wall
    engine = (end["engine"] - start["engine"]) / wall
    workers = (end["busy"] - start["busy"] - end["parent"] + start["parent"]) / had
    shares = {"decoding in the workers": workers, "the parent": parent, "the engine": engine}
    name = max(shares, key=shares.__getitem__)
    shares["idle"] = (end["idle"] - start["idle"]) / had
    listed = ", ".join(f"{what} {100 * share:.0f} %" for what, share in shares.items())
    return f"bottleneck: {name} ({listed} of its time; {cores} cores)"


def build_int8(folder: Path) -> Path:
    """Build an INT8 engine of the untrained network at full size."""
    from benchmarks.cpu.network.full_size import write_run

    write_run(folder / "run")
    words = ["build", folder / "run", "-o", folder / "int8", "--target", "openvino"]
    words += ["--precision", "int8", "--calibration", "random", "--calibration-scans", "1"]
    words += ["--method", "minmax", "--seconds", "0", "--accept", "untrained, for timing only"]
    subprocess.run([sys.executable, "-m", "darnet_trt", *map(str, words)], check=True)
    return folder / "int8"


PARTS: Final[dict[str, Callable[[Bench], Iterator[Row]]]] = {
    "first": first,
    "memory": memory,
    "int8": int8,
    "stub": stub,
}


def main() -> None:
    """Print the table, a row as soon as it is measured."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--part", action="append", choices=PARTS, help="default: all")
    parser.add_argument("--full", action="store_true", help="also what takes over ten minutes")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--bundle", type=Path, help="with openvino-int8 at full size")
    arguments = parser.parse_args()
    print(f"{datetime.date.today()}, {cpu().name}, {usable_cpus()} cores\n")
    print("| measured | found | to reach |\n| --- | --- | --- |")
    with TemporaryDirectory(prefix="darnet-trt-pipeline-") as folder:
        bench = Bench(Path(folder), arguments)
        for part in arguments.part or PARTS:
            for row in PARTS[part](bench):
                print(f"| {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
