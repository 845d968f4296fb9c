"""Classify phantoms whose scan goes on below and above the chest.

    python -m benchmarks.scans.long_scan BUNDLE COHORT

COHORT holds phantoms that the bundle's network has not seen: `make demo` leaves both in
demo/bundle and demo/held-back. Each phantom gets slices below, above and at both ends: copies of
its lowest slices, and a rough body with bowel gas, stool, legs, neck and head
(`benchmarks/scans/bodies.py`). The table counts the phantoms whose class changes, and gives the
largest change of a probability.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.scans.bodies import above, below, longer, repeated
from darnet_trt.bundle.reading import open_bundle
from darnet_trt.machine.hardware import cpu
from darnet_trt.runtime.engines.loading import load_engine
from darnet_trt.scan import Volume, choose, find_studies, preprocess, read_volume
from darnet_trt.scan.cohorts import read_cohort

ADDED_MM = (60, 120, 240, 400, 800, 1400)
HEAD_MM = 370

CASES: dict[str, Callable[[Volume, float, int], Volume]] = {
    "below, copies": lambda v, mm, seed: longer(v, feet=repeated(v, mm)),
    "below, a body": lambda v, mm, seed: longer(v, feet=below(v, mm, seed)),
    "above, a head": lambda v, mm, seed: longer(v, head=above(v, mm, seed)),
    "both": lambda v, mm, seed: longer(v, feet=below(v, mm, seed), head=above(v, HEAD_MM, seed)),
}


def main() -> None:
    """Classify each phantom with and without added slices, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("cohort", type=Path)
    arguments = parser.parse_args()
    bundle = open_bundle(arguments.bundle)
    spec = bundle.manifest.preprocessing
    engine = load_engine(bundle, "openvino-fp32")

    def classify(volume: Volume) -> np.ndarray:
        return engine.runner.infer(preprocess(spec, volume)[None]).probabilities[0]

    volumes = [
        read_volume(choose(find_studies(entry.scan)[0]).series)
        for entry in read_cohort(arguments.cohort).entries
    ]
    alone = [classify(volume) for volume in volumes]
    print(f"{len(volumes)} phantoms, extent {spec.extent}, {cpu().name}, {cpu().cores} cores")
    print(f"{'added slices':<16}" + "".join(f"{mm:>7} mm" for mm in ADDED_MM))
    for name, case in CASES.items():
        cells = []
        for mm in ADDED_MM:
            found = [classify(case(v, mm, seed)) for seed, v in enumerate(volumes)]
            changed = sum(a.argmax() != b.argmax() for a, b in zip(alone, found, strict=True))
            most = max(np.abs(a - b).max() for a, b in zip(alone, found, strict=True))
            cells.append(f"{changed:>4} {most:.3f}")
        print(f"{name:<16}" + " ".join(cells), flush=True)


if __name__ == "__main__":
    main()
