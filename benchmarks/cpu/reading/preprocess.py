"""Time the way from a series on disk to the network's input: this toolkit against SimpleITK.

    python -m benchmarks.cpu.reading.preprocess [--slices 300] [--rounds 5] [--json FILE]

It writes one CT series of 512×512 slices (an elliptic chest with noise; the header of a scanner,
with some 250 elements), uncompressed and in lossless JPEG 2000. Then it measures in turns:

- ours: `find_studies` → `choose` → `load_input`: read, sort and judge every header; decode the
  needed slices, window them, resample them with anti-aliasing, and check that they show a chest;
- half: the same at half resolution;
- SimpleITK: `ImageSeriesReader` over the sorted files → linear `Resample` to the same 64×224×224
  grid → window. Sorting the files (its GetGDCMSeriesFileNames) is timed separately, not counted.

File caches are warm. Peak memory is that of a fresh child process that runs ours once. Processor
time is given too: on a busy machine it is the fairer figure, but it does not show the gain of a
second core.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.bench.targets import Target, judged, table
from darnet_trt.machine.cpus import usable_cpus
from darnet_trt.scan.preprocessing import Resolution

SIZE = (64, 224, 224)
EXPLICIT, JPEG_2000 = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4.90"
SERIES = (("raw", EXPLICIT, 0.5), ("JPEG 2000 lossless", JPEG_2000, 0.25))
"""With the largest ratio to SimpleITK's time."""
JPEG = "1.2.840.10008.1.2.4.70"


def chest(slices: int) -> np.ndarray[Any, Any]:
    """Return stored values (slices, 512, 512): 12 bits, HU + 1024, noise as JPEG 2000 needs."""
    rng = np.random.default_rng(0)
    h, w = np.mgrid[-1:1:512j, -1:1:512j]
    body = (h / 0.65) ** 2 + (w / 0.9) ** 2 < 1
    texture = rng.normal(0, 12, (8, 512, 512))
    volume = np.empty((slices, 512, 512), np.uint16)
    for index, z in enumerate(np.linspace(-1, 1, slices)):
        size = max(1 - (z / 0.9) ** 2, 0) ** 0.5
        lungs = ((h / 0.45) ** 2 + ((np.abs(w) - 0.4) / 0.32) ** 2) < size**2
        hu = np.where(body, np.where(lungs, -850, 40), -1000) + texture[index % 8]
        volume[index] = np.clip(hu + 1024, 0, 4095)
    return volume


def header(index: int, slices: int) -> Any:
    """Return pydicom's example of a CT scanner's header, for one slice of the series."""
    from pydicom import examples

    ds = examples.ct
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = f"{ds.SeriesInstanceUID}.{index}"
    ds.InstanceNumber = slices - index
    ds.ImagePositionPatient = [-180.0, -180.0, -300.0 + index]
    ds.SliceThickness, ds.SliceLocation = "1", str(-300.0 + index)
    ds.Rows, ds.Columns, ds.PixelSpacing = 512, 512, [0.703125, 0.703125]
    ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 12, 11, 0
    return ds


def write_series(folder: Path, volume: np.ndarray[Any, Any], syntax: str) -> None:
    """Write one file a slice; the order of names is not the order of positions."""
    import imagecodecs
    from pydicom.encaps import encapsulate
    from pydicom.uid import UID

    folder.mkdir()
    for index, stored in enumerate(volume):
        ds = header(index, len(volume))
        ds.file_meta.TransferSyntaxUID = UID(syntax)
        if syntax == JPEG_2000:
            code = imagecodecs.jpeg2k_encode(
                stored, level=0, codecformat="j2k", bitspersample=12, reversible=True
            )
            ds.PixelData = encapsulate([code])
        elif syntax == JPEG:
            ds.PixelData = encapsulate([imagecodecs.ljpeg_encode(stored, bitspersample=16)])
        else:
            ds.PixelData = stored.tobytes()
        ds.save_as(folder / f"IM{(index * 7919) % 100000:05d}.dcm", enforce_file_format=True)


def ours(
    folder: Path, *, identify: bool = False, resolution: Resolution = "full"
) -> np.ndarray[Any, Any]:
    """Run this toolkit from a folder to the network's input; hash the slices too, to identify."""
    from darnet_trt.scan import Preprocessing, find_studies, load_study

    (study,) = find_studies(folder)
    spec = Preprocessing(size=SIZE, resolution=resolution)
    return load_study(study, spec, identify=identify)[1].array


def simpleitk(files: list[str]) -> np.ndarray[Any, Any]:
    """Run SimpleITK: read everything, resample linearly, window."""
    import SimpleITK

    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(files)
    image = reader.Execute()
    size = SIZE[::-1]
    spacing = [n * s / m for n, s, m in zip(image.GetSize(), image.GetSpacing(), size, strict=True)]
    first = [(m / s - 1) / 2 for m, s in zip(spacing, image.GetSpacing(), strict=True)]
    grid = SimpleITK.Image(size, SimpleITK.sitkFloat32)
    grid.SetSpacing(spacing)
    grid.SetDirection(image.GetDirection())
    grid.SetOrigin(image.TransformContinuousIndexToPhysicalPoint(first))
    small = SimpleITK.Resample(
        image, grid, SimpleITK.Transform(), SimpleITK.sitkLinear, -1024, SimpleITK.sitkFloat32
    )
    values = SimpleITK.GetArrayFromImage(small)
    return np.clip((values + 1350) / 1500, 0, 1)[None]


def timed(work: Callable[[], Any]) -> tuple[float, float]:
    """Return the wall and processor seconds that `work` takes."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def measure(folder: Path, rounds: int) -> dict[str, Any]:
    """Measure both on one series, in turns."""
    import SimpleITK

    start = time.perf_counter()
    files = list(SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder)))
    sorting = time.perf_counter() - start
    difference = np.abs(ours(folder) - simpleitk(files))
    candidates: dict[str, Callable[[], Any]] = {
        "ours": lambda: ours(folder),
        "half": lambda: ours(folder, resolution="half"),
        "identified": lambda: ours(folder, identify=True),
        "simpleitk": lambda: simpleitk(files),
    }
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in candidates}
    for _ in range(rounds):
        for name, work in candidates.items():
            times[name].append(timed(work))
    child = subprocess.run(
        [sys.executable, "-m", "benchmarks.cpu.reading.preprocess", "--child", str(folder)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    result: dict[str, Any] = {}
    for name, pairs in times.items():
        walls, cpus = zip(*pairs, strict=True)
        result[name] = {
            "wall_min_s": min(walls),
            "wall_median_s": statistics.median(walls),
            "cpu_min_s": min(cpus),
        }
    ratios = [a[0] / b[0] for a, b in zip(times["ours"], times["simpleitk"], strict=True)]
    return {
        **result,
        "ratio": result["ours"]["wall_min_s"] / result["simpleitk"]["wall_min_s"],
        "ratio_median": statistics.median(ratios),
        "cpu_ratio": result["ours"]["cpu_min_s"] / result["simpleitk"]["cpu_min_s"],
        "hashing_ms": 1e3 * (result["identified"]["cpu_min_s"] - result["ours"]["cpu_min_s"]),
        "simpleitk_sorting_s": sorting,
        "mean_difference": float(difference.mean()),
        "child": json.loads(child.stdout),
    }


def child(folder: Path) -> None:
    """Run ours once, in a process that has done nothing else."""
    start = time.perf_counter()
    ours(folder)
    seconds = time.perf_counter() - start
    # Not getrusage: its maximum survives exec and would include the parent process.
    status = Path("/proc/self/status").read_text().splitlines()
    peak_kb = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
    print(json.dumps({"peak_mb": peak_kb / 1024, "with_imports_s": seconds}))


def main(words: list[str] | None = None) -> list[Target]:
    """Write the series, measure and print; return the targets."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--slices", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args(words)
    if arguments.child:
        child(arguments.child)
        return []
    results: dict[str, Any] = {
        "machine": platform.processor() or platform.machine(),
        "cores": usable_cpus(),
        "slices": arguments.slices,
        "rounds": arguments.rounds,
        "load_average": os.getloadavg()[0],
    }
    table(
        ["series", "ours s", "half s", "SimpleITK s", "ratio", "CPU ratio", "peak MB", "hash ms"],
        rows(arguments.slices, arguments.rounds, results),
    )
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1))
    return [
        Target(f"{name}, ours / SimpleITK", results[name]["ratio"], limit, unit="×")
        for name, _, limit in SERIES
    ]


def rows(slices: int, rounds: int, results: dict[str, Any]) -> Iterator[list[str]]:
    """Measure each series, keep its result, and yield its row."""
    volume = chest(slices)
    with tempfile.TemporaryDirectory() as scratch:
        for name, syntax, _ in SERIES:
            folder = Path(scratch) / name.replace(" ", "-")
            write_series(folder, volume, syntax)
            result = results[name] = measure(folder, rounds)
            times = (result[who]["wall_min_s"] for who in ("ours", "half", "simpleitk"))
            yield [
                name,
                *(f"{time:.3f}" for time in times),
                f"{result['ratio']:.2f}",
                f"{result['cpu_ratio']:.2f}",
                f"{result['child']['peak_mb']:.0f}",
                f"{result['hashing_ms']:.0f}",
            ]


if __name__ == "__main__":
    sys.exit(not judged(main()))
