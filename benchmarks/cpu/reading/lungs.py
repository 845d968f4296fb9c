"""Time the search for the lungs: the whole scan as input (extent scan) against the lungs alone.

    python -m benchmarks.cpu.reading.lungs [--slices 300] [--body 1000] [--rounds 7]

It writes one chest of 512×512 slices, uncompressed, in lossless JPEG 2000 and in lossless JPEG,
and the same chest with a body below and above it. Both extents run from a folder to the network's
input in turns. For the body the time to read the headers is given too: only that may grow.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cpu.reading.preprocess import EXPLICIT, JPEG, JPEG_2000, chest, write_series
from darnet_trt.machine.cpus import usable_cpus
from darnet_trt.scan import LoadedInput, Preprocessing, choose, find_studies, load_input
from darnet_trt.scan.preprocessing import NEW

SPECS = {"scan": Preprocessing(), "lungs": NEW}


def whole_body(lungs: np.ndarray[Any, Any], slices: int) -> np.ndarray[Any, Any]:
    """Return the chest with a third of the other slices above it and the rest below."""
    above = (slices - len(lungs)) // 3
    below = slices - len(lungs) - above
    return np.concatenate([np.repeat(lungs[:1], below, 0), lungs, np.repeat(lungs[:1], above, 0)])


Run = tuple[float, float, float, LoadedInput]
"""Seconds for the headers and for the rest, processor time of both, and the input."""


def once(folder: Path, extent: str) -> Run:
    """Read a series once."""
    start, processor = time.perf_counter(), time.process_time()
    (study,) = find_studies(folder)
    series = choose(study).series
    found = time.perf_counter()
    loaded = load_input(series, SPECS[extent])
    rest = time.perf_counter() - found
    return found - start, rest, time.process_time() - processor, loaded


def measure(folder: Path, rounds: int) -> dict[str, list[Run]]:
    """Run both extents in turns."""
    runs: dict[str, list[Run]] = {extent: [] for extent in SPECS}
    for _ in range(rounds):
        for extent, found in runs.items():
            found.append(once(folder, extent))
    return runs


def main() -> None:
    """Write the series, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--slices", type=int, default=300)
    parser.add_argument("--body", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    volume = chest(arguments.slices)
    body = whole_body(volume, arguments.body)
    print(f"{usable_cpus()} CPUs, load {os.getloadavg()[0]:.1f}, {arguments.rounds} rounds")
    print(
        "series              scan s  lungs s  ratio  processor  "
        "of which headers  decoded  looked at"
    )
    with tempfile.TemporaryDirectory() as scratch:
        for name, syntax in (("raw", EXPLICIT), ("JPEG 2000", JPEG_2000), ("JPEG", JPEG)):
            for what, slices in (("chest", volume), ("body", body)):
                folder = Path(scratch) / f"{what}-{syntax}"
                write_series(folder, slices, syntax)
                report(f"{what} {name}", measure(folder, arguments.rounds))


def report(name: str, runs: dict[str, list[Run]]) -> None:
    """Print one row of the table."""
    fastest = {extent: min(run[0] + run[1] for run in found) for extent, found in runs.items()}
    pairs = list(zip(runs["scan"], runs["lungs"], strict=True))
    seconds = statistics.median(sum(new[:2]) / sum(old[:2]) for old, new in pairs)
    processor = statistics.median(new[2] / old[2] for old, new in pairs)
    loaded = runs["lungs"][0][3]
    print(
        f"{name:<16} {fastest['scan']:9.3f} {fastest['lungs']:8.3f} {seconds:6.2f} "
        f"{processor:10.2f} {min(run[0] for run in runs['lungs']):17.3f} {loaded.decoded:8d} "
        f"{loaded.probed:10d}",
        flush=True,
    )


if __name__ == "__main__":
    main()
